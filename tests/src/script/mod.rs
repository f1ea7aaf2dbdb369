//! Command scripts: commands, `---`, and the exact replies.
//!
//! ```text
//! # Comments and options stand above the commands of a block.
//! @unordered
//! SADD s a b
//! SMEMBERS s
//! ---
//! (integer) 2
//! 1) "a"
//! 2) "b"
//! ```
//!
//! A blank line ends a block. A first paragraph without commands holds what applies to the whole
//! file. Words are quoted as in `redis-cli`; three forms spare typing:
//! - `$(64*x)` within a word is 64 times `x`;
//! - `$(e1..e129)` as a word is the 129 words `e1` to `e129`;
//! - `x129 RPUSH l e$i` sends the command 129 times, with `$i` from 1, and shows the last reply.
//!
//! Further connections are named by a number: `2: GET k` calls, `2: & BLPOP l 0` sends and leaves
//! the reply, `2: <` reads a reply that is due, `2: raw "PING\r\n"` sends bytes and reads a reply.
//! `await-blocked 2` waits until the server counts two blocked clients.
//!
//! A line of `MONITOR` is shown without its time and address.
//!
//! Options: `@resp3` (a file: every connection begins with `HELLO 3`), `@args --port 7000` (a file:
//! further arguments of the server), `@unordered` (a block:
//! arrays, sets and maps are sorted before comparison), `@skip-redis <reason>` (a file or a block:
//! Redis 7.0 does not answer so, with the reason), `@skip-ballast <reason>` (a block: a deliberate
//! difference, named).

mod parse;
mod render;
mod run;
mod words;

pub use parse::{Action, Block, Script, Step};
pub use render::render;
pub use run::{Asked, Failure, Runner};
pub use words::split_words;
