//! What the whole-server tests stand on: a small client, servers to talk to, and the runner of
//! command scripts (`tests/scripts/`), which are the definition of "answers as Redis does".

#![forbid(unsafe_code)]

pub mod fuzz;
pub mod script;
pub mod support;
