//! How much memory is used, and what goes when it is full.

use super::INT_MAX;
use crate::config::directive::Directive;
use crate::config::settings::MaxmemoryPolicy;

const DEFRAGMENTATION: &str = "segments are compacted as they are written, nothing runs apart";

const IN_SLICES: &str = "what is removed is always freed in slices";

pub(super) const MEMORY: &[Directive] = &[
    Directive::bytes("maxmemory", (0, u64::MAX), "0", "Memory of the data; 0 = unlimited.")
        .field(|s, v| s.maxmemory = v.number()),
    Directive::one_of(
        "maxmemory-policy",
        MaxmemoryPolicy::NAMES,
        "noeviction",
        "What is evicted when memory is full.",
    )
    .field(|s, v| s.maxmemory_policy = MaxmemoryPolicy::named(v.text())),
    Directive::int(
        "maxmemory-samples",
        (1, INT_MAX),
        "5",
        "Keys compared to find one to evict; more is nearer to true LRU or LFU.",
    )
    .field(|s, v| s.maxmemory_samples = v.number()),
    Directive::int(
        "maxmemory-shard-percent",
        (0, 100_000),
        "0",
        "What a shard may hold at most, of an equal share of maxmemory; 0 = as much as there is.",
    )
    .unit("percent")
    .field(|s, v| s.maxmemory_shard_percent = v.number()),
    Directive::int(
        "maxmemory-eviction-tenacity",
        (0, 100),
        "10",
        "How long eviction may delay commands, from 0 (least) to 100 (as long as it takes).",
    )
    .without_effect("who writes waits until there is room, and others have their turns meanwhile"),
    Directive::int("lfu-log-factor", (0, INT_MAX), "10", "How slowly access counters grow.")
        .field(|s, v| s.lfu_log_factor = v.number()),
    Directive::int("lfu-decay-time", (0, INT_MAX), "1", "Time after which a counter loses one.")
        .unit("minutes")
        .field(|s, v| s.lfu_decay_time = v.number()),
    Directive::yes_no("lazyfree-lazy-eviction", "no", "Frees evicted values in slices.")
        .without_effect(IN_SLICES),
    Directive::yes_no("lazyfree-lazy-expire", "no", "Frees expired values in slices.")
        .without_effect(IN_SLICES),
    Directive::yes_no("lazyfree-lazy-server-del", "no", "Frees overwritten values in slices.")
        .without_effect(IN_SLICES),
    Directive::yes_no("lazyfree-lazy-user-del", "no", "Makes DEL free as UNLINK does.")
        .without_effect(IN_SLICES),
    Directive::yes_no("lazyfree-lazy-user-flush", "no", "Makes FLUSHALL free in slices.")
        .field(|s, v| s.lazyfree_lazy_user_flush = v.flag()),
    Directive::yes_no("activedefrag", "no", "Moves values to give memory back.")
        .without_effect(DEFRAGMENTATION),
    Directive::bytes(
        "active-defrag-ignore-bytes",
        (1, i64::MAX as u64),
        "100mb",
        "Waste below which nothing is moved.",
    )
    .without_effect(DEFRAGMENTATION),
    Directive::int("active-defrag-threshold-lower", (0, 1000), "10", "Waste that starts it.")
        .unit("percent")
        .without_effect(DEFRAGMENTATION),
    Directive::int("active-defrag-threshold-upper", (0, 1000), "100", "Waste of full effort.")
        .unit("percent")
        .without_effect(DEFRAGMENTATION),
    Directive::int("active-defrag-cycle-min", (1, 99), "1", "Least effort.")
        .unit("percent of a core")
        .without_effect(DEFRAGMENTATION),
    Directive::int("active-defrag-cycle-max", (1, 99), "25", "Most effort.")
        .unit("percent of a core")
        .without_effect(DEFRAGMENTATION),
    Directive::int(
        "active-defrag-max-scan-fields",
        (1, i64::MAX),
        "1000",
        "Elements of one key that are moved at once.",
    )
    .without_effect(DEFRAGMENTATION),
    Directive::yes_no("jemalloc-bg-thread", "yes", "Gives memory back in the background.")
        .without_effect("the allocator is mimalloc"),
];
