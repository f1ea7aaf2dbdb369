//! Snapshots and the append-only file.

use super::INT_MAX;
use crate::config::directive::{Directive, Kind};
use crate::config::error::system_reason;
use crate::config::settings::FlushPolicy;
use crate::config::value::Value;

const NO_REPLICAS: &str = "there are no replicas yet";
const AT_THE_END: &str = "a snapshot is flushed at its end, by a thread that nobody waits for";
const DEBUGGING: &str = "it is a switch of Redis's own test suite";

pub(super) const PERSISTENCE: &[Directive] = &[
    Directive::text("dir", ".", "Directory of the snapshot, and of relative paths like `logfile`.")
        .protected()
        .check(directory)
        .field(|s, v| s.dir = v.text().into()),
    Directive::text("dbfilename", "dump.rdb", "Name of the snapshot file.")
        .protected()
        .check(|value| no_path(value, "dbfilename can't be a path, just a filename"))
        .field(|s, v| s.dbfilename = v.text().into()),
    Directive::of(
        "save",
        Kind::SavePoints,
        SAVE_DEFAULT,
        "Snapshots after so many seconds if so many writes happened; empty = never.",
    )
    .field(|s, v| s.save_points = v.save_points()),
    Directive::yes_no("rdbcompression", "yes", "Compresses strings in snapshots.")
        .field(|s, v| s.rdbcompression = v.flag()),
    Directive::yes_no("rdbchecksum", "yes", "Ends snapshots with a checksum, and checks it.")
        .startup()
        .field(|s, v| s.rdbchecksum = v.flag()),
    Directive::yes_no("rdb-del-sync-files", "no", "Deletes snapshots made for replicas.")
        .without_effect(NO_REPLICAS),
    Directive::yes_no("rdb-save-incremental-fsync", "yes", "Flushes snapshots piece by piece.")
        .without_effect(AT_THE_END),
    Directive::yes_no(
        "stop-writes-on-bgsave-error",
        "yes",
        "Refuses writes after a snapshot failed.",
    )
    .field(|s, v| s.stop_writes_on_bgsave_error = v.flag()),
    Directive::one_of(
        "sanitize-dump-payload",
        &["no", "yes", "clients"],
        "no",
        "Checks the inside of restored values.",
    )
    .without_effect("restored values are always checked"),
    Directive::int("rdb-key-save-delay", (i32::MIN as i64, INT_MAX), "0", "Slows saving down.")
        .hidden()
        .without_effect(DEBUGGING),
    Directive::int("key-load-delay", (i32::MIN as i64, INT_MAX), "0", "Slows loading down.")
        .hidden()
        .without_effect(DEBUGGING),
    Directive::int(
        "loading-process-events-interval-bytes",
        (1024, INT_MAX),
        "2097152",
        "How often loading looks at clients.",
    )
    .hidden()
    .without_effect(DEBUGGING),
    Directive::yes_no("appendonly", "no", "Logs every write to the append-only file.")
        .field(|s, v| s.appendonly = v.flag()),
    Directive::text(
        "appendfilename",
        "appendonly.aof",
        "What names of append-only files begin with.",
    )
    .startup()
    .check(|value| no_path(value, "appendfilename can't be a path, just a filename"))
    .field(|s, v| s.appendfilename = v.text().into()),
    Directive::text("appenddirname", "appendonlydir", "Directory of the append-only files.")
        .startup()
        .check(|value| no_path(value, "appenddirname can't be a path, just a dirname"))
        .field(|s, v| s.appenddirname = v.text().into()),
    Directive::one_of(
        "appendfsync",
        &["everysec", "always", "no"],
        "everysec",
        "When the append-only file is flushed to disk; `always`: before the replies.",
    )
    .field(|s, v| s.appendfsync = FlushPolicy::named(v.text())),
    Directive::yes_no("no-appendfsync-on-rewrite", "no", "Does not flush during a rewrite.")
        .field(|s, v| s.no_appendfsync_on_rewrite = v.flag()),
    Directive::int(
        "auto-aof-rewrite-percentage",
        (0, INT_MAX),
        "100",
        "Growth after which the file is rewritten; 0 = never.",
    )
    .unit("percent")
    .field(|s, v| s.auto_aof_rewrite_percentage = v.number()),
    Directive::bytes(
        "auto-aof-rewrite-min-size",
        (0, i64::MAX as u64),
        "64mb",
        "Size below which the file is not rewritten.",
    )
    .field(|s, v| s.auto_aof_rewrite_min_size = v.number()),
    Directive::yes_no("aof-load-truncated", "yes", "Loads a file whose end is missing.")
        .field(|s, v| s.aof_load_truncated = v.flag()),
    Directive::yes_no("aof-use-rdb-preamble", "yes", "Starts the file with a snapshot.")
        .field(|s, v| s.aof_use_rdb_preamble = v.flag()),
    Directive::yes_no("aof-timestamp-enabled", "no", "Writes times into the file.")
        .field(|s, v| s.aof_timestamp_enabled = v.flag()),
    Directive::yes_no("aof-rewrite-incremental-fsync", "yes", "Flushes rewrites piece by piece.")
        .without_effect("a rewrite is flushed at its end, by a thread of its own"),
    Directive::yes_no("aof-disable-auto-gc", "no", "Keeps old append-only files.")
        .field(|s, v| s.aof_disable_auto_gc = v.flag()),
];

const SAVE_DEFAULT: &str = "3600 1 300 100 60 10000";
/// A directory that can be entered, as Redis finds out by going there.
fn directory(value: Value) -> Result<Value, String> {
    // The name behind it asks for the right to search the directory.
    let inside = std::path::Path::new(value.text()).join(".");
    match std::fs::metadata(inside) {
        Ok(_) => Ok(value),
        Err(error) => Err(system_reason(&error)),
    }
}

fn no_path(value: Value, reason: &str) -> Result<Value, String> {
    if value.text().contains(std::path::is_separator) { Err(reason.into()) } else { Ok(value) }
}
