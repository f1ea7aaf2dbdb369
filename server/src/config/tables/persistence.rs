//! Snapshots and the append-only file.

use super::INT_MAX;
use crate::config::directive::{Directive, Kind};
use crate::config::settings::Settings;
use crate::config::value::Value;

const SNAPSHOTS: &str = "snapshots are not taken yet";
const APPEND_ONLY: &str = "there is no append-only file yet";
const DEBUGGING: &str = "it is a switch of Redis's own test suite";

pub(super) const PERSISTENCE: &[Directive] = &[
    Directive::text("dir", ".", "Working directory, where files are kept.")
        .protected()
        .field(|s, v| s.dir = v.text().into()),
    Directive::text("dbfilename", "dump.rdb", "Name of the snapshot file.")
        .protected()
        .check(|value| no_path(value, "dbfilename can't be a path, just a filename"))
        .field(|s, v| s.dbfilename = v.text().to_owned()),
    Directive::of(
        "save",
        Kind::SavePoints,
        "3600 1 300 100 60 10000",
        "Snapshots after so many seconds if so many writes happened; empty = never.",
    )
    .no_effect(SNAPSHOTS)
    .field(store_save_points),
    Directive::yes_no("rdbcompression", "yes", "Compresses strings in snapshots.")
        .no_effect(SNAPSHOTS),
    Directive::yes_no("rdbchecksum", "yes", "Ends snapshots with a checksum.")
        .startup()
        .no_effect(SNAPSHOTS),
    Directive::yes_no("rdb-del-sync-files", "no", "Deletes snapshots made for replicas.")
        .no_effect(SNAPSHOTS),
    Directive::yes_no("rdb-save-incremental-fsync", "yes", "Flushes snapshots piece by piece.")
        .no_effect(SNAPSHOTS),
    Directive::yes_no(
        "stop-writes-on-bgsave-error",
        "yes",
        "Refuses writes after a snapshot failed.",
    )
    .no_effect(SNAPSHOTS),
    Directive::one_of(
        "sanitize-dump-payload",
        &["no", "yes", "clients"],
        "no",
        "Checks the inside of restored values.",
    )
    .no_effect("restored values are always checked"),
    Directive::int("rdb-key-save-delay", (i32::MIN as i64, INT_MAX), "0", "Slows saving down.")
        .hidden()
        .no_effect(DEBUGGING),
    Directive::int("key-load-delay", (i32::MIN as i64, INT_MAX), "0", "Slows loading down.")
        .hidden()
        .no_effect(DEBUGGING),
    Directive::int(
        "loading-process-events-interval-bytes",
        (1024, INT_MAX),
        "2097152",
        "How often loading looks at clients.",
    )
    .hidden()
    .no_effect(DEBUGGING),
    Directive::yes_no("appendonly", "no", "Logs every write to the append-only file.")
        .no_effect(APPEND_ONLY)
        .field(|s, v| s.appendonly = v.flag()),
    Directive::text("appendfilename", "appendonly.aof", "Name of the append-only file.")
        .startup()
        .check(|value| no_path(value, "appendfilename can't be a path, just a filename"))
        .no_effect(APPEND_ONLY),
    Directive::text("appenddirname", "appendonlydir", "Directory of the append-only files.")
        .startup()
        .check(|value| no_path(value, "appenddirname can't be a path, just a dirname"))
        .no_effect(APPEND_ONLY),
    Directive::one_of(
        "appendfsync",
        &["everysec", "always", "no"],
        "everysec",
        "When the append-only file is flushed to disk.",
    )
    .no_effect(APPEND_ONLY),
    Directive::yes_no("no-appendfsync-on-rewrite", "no", "Does not flush during a rewrite.")
        .no_effect(APPEND_ONLY),
    Directive::int(
        "auto-aof-rewrite-percentage",
        (0, INT_MAX),
        "100",
        "Growth after which the file is rewritten; 0 = never.",
    )
    .unit("percent")
    .no_effect(APPEND_ONLY),
    Directive::bytes(
        "auto-aof-rewrite-min-size",
        (0, i64::MAX as u64),
        "64mb",
        "Size below which the file is not rewritten.",
    )
    .no_effect(APPEND_ONLY),
    Directive::yes_no("aof-load-truncated", "yes", "Loads a file whose end is missing.")
        .no_effect(APPEND_ONLY),
    Directive::yes_no("aof-use-rdb-preamble", "yes", "Starts the file with a snapshot.")
        .no_effect(APPEND_ONLY),
    Directive::yes_no("aof-timestamp-enabled", "no", "Writes times into the file.")
        .no_effect(APPEND_ONLY),
    Directive::yes_no("aof-rewrite-incremental-fsync", "yes", "Flushes rewrites piece by piece.")
        .no_effect(APPEND_ONLY),
    Directive::yes_no("aof-disable-auto-gc", "no", "Keeps old append-only files.")
        .no_effect(APPEND_ONLY),
];

fn store_save_points(settings: &mut Settings, value: &Value) {
    if let Value::SavePoints(points) = value {
        settings.save.clone_from(points);
    }
}

fn no_path(value: Value, reason: &str) -> Result<Value, String> {
    if value.text().contains(std::path::is_separator) { Err(reason.into()) } else { Ok(value) }
}
