//! `MONITOR`: shows a connection the commands that all connections have executed.
//!
//! The thread that has executed a command shows it, before anything else can happen to the slots
//! of its keys. As long as somebody looks, a connection has one command under way at a time, so its
//! commands are shown in their order whichever shards execute them.

use std::io::Write;
use std::sync::Arc;

use ballast_protocol::{Args, CommandError, Reply};

use super::context::SessionContext;
use super::redaction;
use super::table::{Command, CommandResult, Definition, Group, Run, flag};
use crate::engine::Engine;
use crate::ids::ClientId;
use crate::node::modes::Mode;

/// Commands that are too dangerous, or of no interest, to be shown.
const NOT_SHOWN: u32 = flag::ADMIN | flag::SKIP_MONITOR;

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "monitor",
    arity: 1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    run: Run::Session(monitor),
    group: Group::Server,
    summary: "Listens for all requests received by the server in real-time.",
    ..Definition::BASE
}];

fn monitor(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    if cx.session.is_executing {
        return Err(CommandError::other("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // As in Redis, the second call has no reply.
    if !cx.session.is_monitor() {
        cx.session.begin_monitoring(&cx.shard.node);
        cx.shard.modes = cx.shard.node.modes.load();
        reply.ok();
    }
    Ok(())
}

impl Engine {
    /// Shows a command that has been executed for `client` to all who want to see it.
    #[cold]
    #[inline(never)]
    pub(crate) fn show(&self, command: &Command, args: Args<'_>, client: ClientId, db: u8) {
        if command.flags & NOT_SHOWN != 0 || self.modes.has(Mode::Loading) {
            return;
        }
        let limits = &self.config.client_output_buffer_limits;
        self.node.monitors.show(&self.node.channels, limits, || {
            let now_us = self.node.clock.wall_us();
            let address = self.node.clients.address(client);
            let address = address.map_or_else(String::new, |address| address.to_string());
            Arc::from(line(now_us, db, &address, command, args))
        });
    }
}

/// What a monitor reads: `+seconds.microseconds [db address] "word" …`.
fn line(now_us: i64, db: u8, address: &str, command: &Command, args: Args<'_>) -> Vec<u8> {
    let (seconds, us) = (now_us.div_euclid(1_000_000), now_us.rem_euclid(1_000_000));
    let mut line = format!("+{seconds}.{us:06} [{db} {address}]").into_bytes();
    let secrets = redaction::secrets(command, args);
    for (at, arg) in args.iter().enumerate() {
        line.push(b' ');
        quote(if secrets.contains(&at) { redaction::REDACTED } else { arg }, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Writes a word in quotes, so that whatever its bytes are it stays in one line of ASCII.
fn quote(word: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in word {
        match byte {
            b'\\' | b'"' => line.extend([b'\\', *byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            7 => line.extend(b"\\a"),
            8 => line.extend(b"\\b"),
            b' '..=b'~' => line.push(*byte),
            // Writing to a vector cannot fail.
            other => drop(write!(line, "\\x{other:02x}")),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use ballast_protocol::ArgsBuf;

    fn line(words: &[&[u8]]) -> String {
        let args = ArgsBuf::new(words);
        let command = crate::commands::table().find(words[0]).expect("a command");
        let line = super::line(1_700_000_000_000_123, 9, "[::1]:1234", command, args.view());
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn a_line_is_as_redis_writes_it() {
        let start = "+1700000000.000123 [9 [::1]:1234] ";
        let words: [&[u8]; 3] = [b"sEt", b"", b"a\n\x01 \"uo\\te\xff\xc3\xa9\t\x07\x08\r\x7f~"];
        let shown = r#""sEt" "" "a\n\x01 \"uo\\te\xff\xc3\xa9\t\a\b\r\x7f~""#;
        assert_eq!(line(&words), format!("{start}{shown}\r\n"));
        let shown = r#""auth" "(redacted)""#;
        assert_eq!(line(&[b"auth", b"secret"]), format!("{start}{shown}\r\n"));
    }
}
