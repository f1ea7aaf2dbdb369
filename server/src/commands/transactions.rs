//! Transactions. The connection itself runs them: see `connection::transaction`.

use super::table::{Access, Definition, Group, REST, Run, flag};
use crate::commands::table::Step;

const FLAGS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::AT_ONCE;

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "multi",
        arity: 1,
        flags: FLAGS | flag::FAST | flag::ALLOW_BUSY,
        run: Run::Transaction(Step::Multi),
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Starts a transaction.",
        ..Definition::BASE
    },
    Definition {
        name: "exec",
        arity: 1,
        flags: FLAGS | flag::SKIP_SLOWLOG,
        run: Run::Transaction(Step::Exec),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Executes all commands in a transaction.",
        ..Definition::BASE
    },
    Definition {
        name: "discard",
        arity: 1,
        flags: FLAGS | flag::FAST | flag::ALLOW_BUSY,
        run: Run::Transaction(Step::Discard),
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Discards a transaction.",
        ..Definition::BASE
    },
    Definition {
        name: "watch",
        syntax: "key [key ...]",
        arity: -2,
        flags: FLAGS | flag::FAST | flag::ALLOW_BUSY,
        keys: REST,
        access: &[Access::to("RO")],
        run: Run::Transaction(Step::Watch),
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        ..Definition::BASE
    },
    Definition {
        name: "unwatch",
        arity: 1,
        flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
        run: Run::Transaction(Step::Unwatch),
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        ..Definition::BASE
    },
];
