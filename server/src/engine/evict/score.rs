//! What a key is worth to each policy. Scores say the same whenever they are looked at, as long as
//! nobody uses the key: those of different shards and of different moments can be compared.

use ballast_storage::{Meta, eviction};

use crate::config::MaxmemoryPolicy;

/// Scores by the last use are below this.
const LRU_BASE: u64 = 1 << 40;
/// A sibling's key goes first only if it is so clearly less valuable: by an eighth of the time
/// since the last use, or to the expiry. Asking a sibling costs more than what a smaller difference
/// is worth.
const MARGIN_PART: u64 = 8;

/// By what keys are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) policy: MaxmemoryPolicy,
    pub(super) now_ms: i64,
    /// `lfu-decay-time`.
    pub(super) decay_minutes: u32,
}

impl Scale {
    /// The higher, the sooner the key goes.
    pub(super) fn score(self, meta: Meta) -> u64 {
        use MaxmemoryPolicy as Policy;
        match self.policy {
            Policy::VolatileTtl => u64::MAX - meta.expiry.unwrap_or(i64::MAX).max(0).unsigned_abs(),
            Policy::AllkeysLfu | Policy::VolatileLfu => {
                255 - u64::from(eviction::lfu_frequency(meta.aux, self.now_ms, self.decay_minutes))
            }
            Policy::AllkeysLru | Policy::VolatileLru => {
                let idle_s = eviction::lru_idle_ms(meta.aux, self.now_ms) / 1000;
                // The clock may be set back: then a key has been used in the future.
                LRU_BASE.saturating_sub(self.now_s().saturating_sub(idle_s))
            }
            Policy::AllkeysRandom | Policy::VolatileRandom | Policy::NoEviction => 0,
        }
    }

    /// The score that a sibling's key needs to go before one of this score.
    pub(super) fn clearly_over(self, score: u64) -> u64 {
        use MaxmemoryPolicy as Policy;
        let margin = match self.policy {
            Policy::VolatileTtl => {
                (u64::MAX - score).saturating_sub(self.now_ms.max(0).unsigned_abs()) / MARGIN_PART
            }
            Policy::AllkeysLru | Policy::VolatileLru => {
                self.now_s().saturating_sub(LRU_BASE.saturating_sub(score)) / MARGIN_PART
            }
            _ => 0,
        };
        score.saturating_add(margin).saturating_add(1)
    }

    fn now_s(self) -> u64 {
        (self.now_ms / 1000).max(0).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use ballast_storage::Kind;

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn scale(policy: MaxmemoryPolicy, now_ms: i64) -> Scale {
        Scale { policy, now_ms, decay_minutes: 1 }
    }

    fn meta(aux: u32, expiry: Option<i64>) -> Meta {
        Meta { kind: Kind::String, expiry, aux }
    }

    #[test]
    fn a_score_by_last_use_is_the_same_at_any_time() {
        let used = |ago_s: u64| meta(eviction::lru_of_idle(ago_s * 1000, NOW_MS), None);
        let now = scale(MaxmemoryPolicy::AllkeysLru, NOW_MS);
        let later = scale(MaxmemoryPolicy::AllkeysLru, NOW_MS + 3_456_789);
        assert!(now.score(used(100)) > now.score(used(99)));
        assert_eq!(now.score(used(100)), later.score(used(100)));
        // 800 s ago, and more than 100 s longer ago.
        let needed = now.clearly_over(now.score(used(800)));
        assert!(now.score(used(900)) < needed && now.score(used(901)) >= needed);
    }

    #[test]
    fn what_expires_first_goes_first() {
        let ttl = scale(MaxmemoryPolicy::VolatileTtl, NOW_MS);
        let expires = |in_ms: i64| ttl.score(meta(0, Some(NOW_MS + in_ms)));
        assert!(expires(1000) > expires(1001));
        let needed = ttl.clearly_over(expires(8000));
        assert!(expires(7000) < needed && expires(6999) >= needed);
        assert!(ttl.clearly_over(expires(-5)) > expires(-5));
    }
}
