//! The account of the whole process: what slots hold, and every overhead by name.

use std::fmt::Write;

use super::report::{Report, fields, human, machine_memory, process_status, ratio};
use crate::node::Node;

/// Where `used_memory` is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All bytes that the allocator has handed out.
    pub(crate) used: u64,
    /// The most there ever were.
    pub(crate) peak: u64,
    /// After the start, before the first client: threads, router, empty slots, tables.
    pub(crate) startup: u64,
    /// The slots' accounts.
    pub(crate) slots: u64,
    /// What the allocator keeps to know where the slots' segments are.
    pub(crate) index: u64,
    /// Connections with their buffers.
    pub(crate) clients: u64,
    /// What the balancer knows of every slot.
    pub(crate) balancer: u64,
    /// Buffers that shards keep for the next batch.
    pub(crate) buffers: u64,
    /// What a snapshot in the background keeps.
    pub(crate) snapshot: u64,
    /// What is left: queued for lazy free, in messages, fragments of containers.
    pub(crate) other: i64,
}

impl Memory {
    pub(crate) fn of(shared: &Node, slots: u64) -> Memory {
        let used = ballast_storage::memory::used_bytes();
        let startup = shared.startup_bytes.load(std::sync::atomic::Ordering::Relaxed);
        let clients = shared.sum(|counters| counters.clients_bytes.value());
        let index = ballast_storage::memory::index_bytes();
        let balancer = shared.balance.told().heap_bytes;
        let buffers = shared.channels.waiting_bytes()
            + shared.sum(|counters| counters.spare_bytes.value() + counters.batches_bytes.value());
        let snapshot = shared.snapshot_bytes();
        let named = startup + slots + index + clients + balancer + buffers + snapshot;
        Memory {
            used,
            peak: ballast_storage::memory::peak_bytes().max(used),
            startup,
            slots,
            index,
            clients,
            balancer,
            buffers,
            snapshot,
            other: i64::try_from(used).unwrap_or(i64::MAX)
                - i64::try_from(named).unwrap_or(i64::MAX),
        }
    }
}

pub(super) fn section(report: &Report, text: &mut String) {
    let slots = report.shards.iter().map(|shard| shard.bytes).sum();
    let memory = Memory::of(&report.shared, slots);
    let config = report.shared.config.load();
    let rss = process_status("VmRSS");
    let overhead = memory.used.saturating_sub(memory.slots);
    let total = machine_memory();
    text.push_str("# Memory\r\n");
    fields!(text,
        "used_memory": memory.used,
        "used_memory_human": human(memory.used),
        "used_memory_rss": rss,
        "used_memory_rss_human": human(rss),
        "used_memory_peak": memory.peak,
        "used_memory_peak_human": human(memory.peak),
        "used_memory_peak_perc": format!("{:.2}%", ratio(memory.used, memory.peak) * 100.0),
        "used_memory_overhead": overhead,
        "used_memory_startup": memory.startup,
        "used_memory_dataset": memory.slots,
        "used_memory_dataset_perc": format!("{:.2}%", dataset_share(memory) * 100.0),
        "used_memory_slots": memory.slots,
        "used_memory_index": memory.index,
        "used_memory_clients": memory.clients,
        "used_memory_balancer": memory.balancer,
        "used_memory_buffers": memory.buffers,
        "used_memory_snapshot": memory.snapshot,
        "used_memory_other": memory.other,
        "allocator_allocated": memory.used,
        "allocator_active": rss,
        "allocator_resident": rss,
        "total_system_memory": total,
        "total_system_memory_human": human(total),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": human(0),
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": human(0),
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": human(0),
        "maxmemory": config.maxmemory,
        "maxmemory_human": human(config.maxmemory),
        "maxmemory_policy": config.maxmemory_policy.name(),
        "allocator_frag_ratio": format!("{:.2}", ratio(rss, memory.used)),
        "allocator_frag_bytes": rss.saturating_sub(memory.used),
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": format!("{:.2}", ratio(rss, memory.used)),
        "mem_fragmentation_bytes": i128::from(rss) - i128::from(memory.used),
        "mem_not_counted_for_evict":
            memory.snapshot + report.shared.append_only.waiting_bytes(),
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": memory.clients,
        "mem_cluster_links": 0,
        "mem_aof_buffer": report.shared.append_only.waiting_bytes(),
        "mem_allocator": ballast_storage::memory::ALLOCATOR,
        "active_defrag_running": 0,
        "lazyfree_pending_objects": report.shared.sum(|c| c.lazyfree_pending.value()),
        "lazyfreed_objects": 0,
    );
    limit(&report.shared, config.maxmemory, text);
}

/// What `maxmemory` is compared with, and what the balancer levels by.
fn limit(node: &Node, maxmemory: u64, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(text, "used_memory_node:{}\r\n", node.accounted_bytes());
    if maxmemory > 0 {
        let _ = write!(text, "maxmemory_per_shard:{}\r\n", node.share_bytes(maxmemory));
    }
}

/// Slots as a part of what has been used since the start.
fn dataset_share(memory: Memory) -> f64 {
    ratio(memory.slots, memory.used.saturating_sub(memory.startup)).min(1.0)
}
