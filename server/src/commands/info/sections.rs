//! The sections of `INFO` but the one on memory.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::DatabaseFacts;
use super::report::{Report, cpu_seconds, fields};
use crate::commands::slowlog::merge;
use crate::engine::hand_over_times::HandOverTimes;
use crate::engine::statistics::HISTOGRAM_BUCKETS;
use crate::ids::ShardId;
use crate::node::Node;
use crate::node::channels::Kind;

pub(super) fn server(report: &Report, text: &mut String) {
    let shared = &report.shared;
    let config = shared.config.load();
    let now_us = shared.clock.wall_us();
    let uptime_s = (now_us / 1000 - shared.started_ms).max(0) / 1000;
    let executable = std::env::current_exe().unwrap_or_default();
    let file = config.file().map(|path| path.display().to_string()).unwrap_or_default();
    text.push_str("# Server\r\n");
    fields!(text,
        "redis_version": crate::REDIS_VERSION,
        "ballast_version": env!("CARGO_PKG_VERSION"),
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0000000000000000",
        "redis_mode": "standalone",
        "os": os(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "epoll",
        "process_id": std::process::id(),
        "process_supervised": "no",
        "run_id": shared.run_id,
        "tcp_port": config.port,
        "server_time_usec": now_us,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / 86_400,
        "hz": config.hz,
        "configured_hz": config.hz,
        "lru_clock": ballast_storage::eviction::lru_clock(now_us / 1000),
        "executable": executable.display(),
        "config_file": file,
        "io_threads_active": 0,
        "shards": shared.shards(),
    );
}

fn os() -> String {
    let of = |file: &str| std::fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let kernel = of("/proc/sys/kernel/ostype");
    format!("{kernel} {} {}", of("/proc/sys/kernel/osrelease"), std::env::consts::ARCH)
}

pub(super) fn clients(report: &Report, text: &mut String) {
    let shared = &report.shared;
    let all = shared.clients.all();
    let most = |of: fn(&crate::node::clients::Client) -> u64| all.iter().map(|c| of(c)).max();
    text.push_str("# Clients\r\n");
    fields!(text,
        "connected_clients": all.len(),
        "cluster_connections": 0,
        "maxclients": shared.config.load().maxclients,
        "client_recent_max_input_buffer": most(|c| c.query_bytes.load(Relaxed)).unwrap_or(0),
        "client_recent_max_output_buffer": most(|c| c.output_bytes.load(Relaxed)).unwrap_or(0),
        "pubsub_clients": shared.clients.subscribers(),
        "blocked_clients": shared.sum(|c| c.blocked_clients.value()),
        "tracking_clients": 0,
        "clients_in_timeout_table": 0,
        "total_blocking_clients": shared.sum(|c| c.blocked_clients.value()),
    );
}

pub(super) fn persistence(report: &Report, text: &mut String) {
    let saves = &report.shared.saves;
    let changes = report.shards.iter().map(|shard| shard.dirty).sum();
    let (loaded, expired) = saves.loaded_and_expired();
    let (running, last) = (saves.running(), saves.last());
    let now_ms = report.shared.clock.wall_ms();
    let since_s = running.as_ref().map(|of| (now_ms - of.since_ms).max(0) / 1000);
    let (sent, all) =
        running.as_ref().map_or((0, 0), |of| (of.snapshot.keys_sent(), of.snapshot.keys));
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let percent = sent as f64 * 100.0 / all.max(1) as f64;
    text.push_str("# Persistence\r\n");
    fields!(text,
        "loading": u8::from(report.shared.is_loading()),
        "async_loading": 0,
        "current_cow_peak": running.as_ref().map_or(0, |of| of.peak_bytes),
        "current_cow_size": report.shared.snapshot_bytes(),
        "current_cow_size_age": 0,
        "current_fork_perc": format!("{percent:.2}"),
        "current_save_keys_processed": sent,
        "current_save_keys_total": all,
        "rdb_changes_since_last_save": saves.unsaved(changes),
        "rdb_bgsave_in_progress": u8::from(running.is_some()),
        "rdb_last_save_time": saves.last_s(),
        "rdb_last_bgsave_status": if saves.has_failed() { "err" } else { "ok" },
        "rdb_last_bgsave_time_sec": last.took_s,
        "rdb_current_bgsave_time_sec": since_s.unwrap_or(-1),
        "rdb_saves": saves.count(),
        "rdb_last_cow_size": last.peak_bytes,
        "rdb_last_load_keys_expired": expired,
        "rdb_last_load_keys_loaded": loaded,
    );
    append_only(&report.shared, text);
    if report.shared.is_loading() {
        loading(report, text);
    }
}

fn append_only(node: &Node, text: &mut String) {
    let figures = &node.append_only.figures;
    let status = |is_ok: bool| if is_ok { "ok" } else { "err" };
    let is_rewriting = figures.is_rewriting.load(Relaxed);
    let is_on = figures.is_on.load(Relaxed);
    let since_ms = node.clock.wall_ms() - figures.rewrite_began_ms.load(Relaxed);
    let failures = figures.failed_rewrites.load(Relaxed);
    fields!(text,
        "aof_enabled": u8::from(is_on),
        "aof_rewrite_in_progress": u8::from(is_rewriting),
        "aof_rewrite_scheduled": u8::from(node.append_only.wants_rewrite()),
        "aof_last_rewrite_time_sec": figures.rewrite_s.load(Relaxed),
        "aof_current_rewrite_time_sec": if is_rewriting { since_ms / 1000 } else { -1 },
        "aof_last_bgrewrite_status": status(failures == 0),
        "aof_rewrites": figures.rewrites.load(Relaxed),
        "aof_rewrites_consecutive_failures": failures,
        "aof_last_write_status": status(!node.append_only.has_failed()),
        "aof_last_cow_size": 0,
    );
    if is_on {
        fields!(text,
            "aof_current_size": figures.size_bytes.load(Relaxed),
            "aof_base_size": figures.base_bytes.load(Relaxed),
            "aof_pending_rewrite": u8::from(node.append_only.wants_rewrite()),
            "aof_buffer_length": node.append_only.waiting_bytes(),
            "aof_pending_bio_fsync": u8::from(figures.is_flushing.load(Relaxed)),
            "aof_delayed_fsync": figures.delayed_flushes.load(Relaxed),
        );
    }
}

fn loading(report: &Report, text: &mut String) {
    let shared = &report.shared;
    let progress = shared.loading.progress(shared.clock.wall_ms());
    fields!(text,
        "loading_start_time": progress.started_s,
        "loading_total_bytes": progress.total_bytes,
        "loading_rdb_used_mem": progress.used_bytes,
        "loading_loaded_bytes": progress.loaded_bytes,
        "loading_loaded_perc": format!("{:.2}", progress.percent),
        "loading_eta_seconds": progress.left_s,
    );
}

pub(super) fn stats(report: &Report, text: &mut String) {
    let shared = &report.shared;
    let rates = shared.rates.lock().clone();
    text.push_str("# Stats\r\n");
    fields!(text,
        "total_connections_received": shared.sum(|c| c.connections.value()),
        "total_commands_processed": shared.sum(|c| c.commands.value()),
        "instantaneous_ops_per_sec": rates.commands,
        "total_net_input_bytes": shared.sum(|c| c.net_in_bytes.value()),
        "total_net_output_bytes": shared.sum(|c| c.net_out_bytes.value()),
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": format!("{:.2}", rates.net_in_kib),
        "instantaneous_output_kbps": format!("{:.2}", rates.net_out_kib),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": shared.clients.rejected.load(Relaxed),
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": shared.sum(|c| c.expired_keys.value()),
        "expired_stale_perc": "0.00",
        "expired_time_cap_reached_count": 0,
        "expire_cycle_cpu_milliseconds": 0,
        "evicted_keys": shared.sum(|c| c.evicted_keys.value()),
        "evicted_clients": shared.clients.evicted.load(Relaxed),
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": shared.sum(|c| c.keyspace_hits.value()),
        "keyspace_misses": shared.sum(|c| c.keyspace_misses.value()),
        "pubsub_channels": shared.channels.count(Kind::Channel),
        "pubsub_patterns": shared.channels.count(Kind::Pattern),
        "pubsubshard_channels": shared.channels.count(Kind::Sharded),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": shared.sum(|c| c.unexpected_errors.value()),
        "total_error_replies": shared.sum(|c| c.error_replies.value()),
        "client_query_buffer_limit_disconnections":
            shared.sum(|c| c.query_limit_disconnections.value()),
        "client_output_buffer_limit_disconnections":
            shared.sum(|c| c.output_limit_disconnections.value()),
        "commands_elsewhere": shared.sum(|c| c.commands_elsewhere.value()),
        "slot_borrows": shared.sum(|c| c.borrows.value()),
        "slot_hold_restarts": shared.sum(|c| c.hold_restarts.value()),
        "slot_hand_overs": shared.sum(|c| c.handed_over.value()),
    );
}

pub(super) fn replication(report: &Report, text: &mut String) {
    text.push_str("# Replication\r\n");
    fields!(text,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": report.shared.run_id,
        "master_replid2": "0".repeat(40),
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": 1_048_576,
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    );
}

pub(super) fn cpu(_: &Report, text: &mut String) {
    let (user, system) = cpu_seconds();
    text.push_str("# CPU\r\n");
    fields!(text,
        "used_cpu_sys": format!("{system:.6}"),
        "used_cpu_user": format!("{user:.6}"),
        "used_cpu_sys_children": "0.000000",
        "used_cpu_user_children": "0.000000",
    );
}

pub(super) fn modules(_: &Report, text: &mut String) {
    text.push_str("# Modules\r\n");
}

pub(super) fn commandstats(report: &Report, text: &mut String) {
    text.push_str("# Commandstats\r\n");
    let merged = merge(report.shards.iter().map(|shard| shard.commands.clone()).collect());
    for command in crate::commands::table().with_subcommands() {
        let Some(of) = merged.get(command.id.index()) else { continue };
        if of.calls + of.rejected + of.failed == 0 {
            continue;
        }
        let us = of.cpu_ns / 1000;
        #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
        let each = us as f64 / of.calls.max(1) as f64;
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            text,
            "cmdstat_{}:calls={},usec={us},usec_per_call={each:.2},rejected_calls={},\
             failed_calls={}\r\n",
            command.full_name, of.calls, of.rejected, of.failed
        );
    }
}

pub(super) fn errorstats(report: &Report, text: &mut String) {
    text.push_str("# Errorstats\r\n");
    let mut sums = std::collections::BTreeMap::new();
    for (error, count) in report.shards.iter().flat_map(|shard| &shard.errors) {
        *sums.entry(error.as_str()).or_insert(0_u64) += count;
    }
    for (error, count) in sums {
        let _ = write!(text, "errorstat_{error}:count={count}\r\n");
    }
}

pub(super) fn latencystats(report: &Report, text: &mut String) {
    text.push_str("# Latencystats\r\n");
    if !report.shared.config.load().latency_tracking {
        return;
    }
    let merged = merge(report.shards.iter().map(|shard| shard.commands.clone()).collect());
    let percentiles = report.shared.config.load().latency_tracking_info_percentiles.clone();
    for command in crate::commands::table().with_subcommands() {
        let Some(histogram) = merged.get(command.id.index()).and_then(|of| of.histogram.as_deref())
        else {
            continue;
        };
        let values: Vec<String> = percentiles
            .iter()
            .map(|percentile| format!("p{percentile}={:.3}", percentile_us(histogram, *percentile)))
            .collect();
        let _ =
            write!(text, "latency_percentiles_usec_{}:{}\r\n", command.full_name, values.join(","));
    }
}

/// The upper end of the bucket in which the percentile lies.
fn percentile_us(histogram: &[u64; HISTOGRAM_BUCKETS], percentile: f64) -> f64 {
    let total: u64 = histogram.iter().sum();
    #[allow(clippy::cast_precision_loss, reason = "a percentile of counts")]
    let wanted = total as f64 * percentile / 100.0;
    let mut seen = 0.0;
    for (bucket, count) in histogram.iter().enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "a percentile of counts")]
        let more = *count as f64;
        seen += more;
        if *count > 0 && seen >= wanted {
            return f64::from(1_u32 << bucket);
        }
    }
    0.0
}

pub(super) fn cluster(_: &Report, text: &mut String) {
    text.push_str("# Cluster\r\n");
    fields!(text, "cluster_enabled": 0);
}

pub(super) fn shards(report: &Report, text: &mut String) {
    text.push_str("# Shards\r\n");
    fields!(text, "shards": report.shards.len());
    for (at, (facts, counters)) in report.shards.iter().zip(&report.shared.counters).enumerate() {
        let id = ShardId(u16::try_from(at).unwrap_or(u16::MAX));
        let _ = write!(
            text,
            "shard{id}:slots={},ranges={},keys={},bytes={},clients={},commands={},cpu_us={},\
             evicted={},expired={},handed_over={},adopted={},held={},mailbox={},followed={},\
             commands_elsewhere={},on_behalf={}\r\n",
            facts.slots,
            report.shared.router.ranges(id),
            facts.keys,
            facts.bytes,
            counters.clients.value(),
            counters.commands.value(),
            counters.cpu_us.value(),
            counters.evicted_keys.value(),
            counters.expired_keys.value(),
            counters.handed_over.value(),
            counters.adopted.value(),
            facts.held.len(),
            report.waiting[at],
            counters.followed.value(),
            counters.commands_elsewhere.value(),
            counters.on_behalf.value(),
        );
        if let Some((slot, reason, age_ms)) = facts.held.iter().max_by_key(|held| held.2) {
            let _ =
                write!(text, "shard{id}_oldest_hold:slot={slot},reason={reason},ms={age_ms}\r\n");
        }
    }
}

pub(super) fn balancer(report: &Report, text: &mut String) {
    text.push_str("# Balancer\r\n");
    report.shared.balance.told().info(text);
    let mut times = HandOverTimes::default();
    let shards = report.shards.iter().filter_map(|shard| shard.hand_overs.as_deref());
    shards.for_each(|of| times.add(of));
    let percentiles = &report.shared.config.load().latency_tracking_info_percentiles;
    let histograms = [("give", &times.give), ("adopt", &times.adopt), ("pause", &times.pause)];
    for (name, histogram) in histograms.into_iter().filter(|(_, of)| !of.is_empty()) {
        #[allow(clippy::cast_precision_loss, reason = "at most ten seconds")]
        let us = |percentile: f64| histogram.value_at_percentile(percentile) as f64 / 1e3;
        let values: Vec<String> =
            percentiles.iter().map(|of| format!("p{of}={:.3}", us(*of))).collect();
        let _ = write!(text, "balancer_handover_{name}_usec:{}\r\n", values.join(","));
    }
}

pub(super) fn keyspace(report: &Report, text: &mut String) {
    text.push_str("# Keyspace\r\n");
    for db in 0..16 {
        let mut of = DatabaseFacts::default();
        report.shards.iter().filter_map(|shard| shard.databases.get(db)).for_each(|db| of.add(db));
        let DatabaseFacts { keys, expiring, .. } = of;
        if keys > 0 {
            let ttl = of.average_ttl_ms();
            let _ = write!(text, "db{db}:keys={keys},expires={expiring},avg_ttl={ttl}\r\n");
        }
    }
}
