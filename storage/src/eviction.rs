//! What the 24 bits of access information of a key mean: the clock of LRU, or the counter of LFU.
//!
//! Both are Redis's (`maxmemory-policy`, `lfu-log-factor`, `lfu-decay-time`): LRU keeps the
//! second of the last access modulo 2^24; LFU keeps 16 bits of minutes and an 8-bit logarithmic
//! counter. Nothing here has state: the caller stores the bits with the key.

/// Bits of the clock.
const CLOCK_BITS: u32 = 24;
const CLOCK_MASK: u32 = (1 << CLOCK_BITS) - 1;
const CLOCK_RESOLUTION_MS: i64 = 1000;
/// The counter of a new key, so that it is not evicted before it could be used.
const LFU_INITIAL: u8 = 5;
const MINUTE_MS: i64 = 60_000;

/// The present second, as 24 bits.
#[inline]
pub fn lru_clock(now_ms: i64) -> u32 {
    (now_ms / CLOCK_RESOLUTION_MS) as u32 & CLOCK_MASK
}

/// Milliseconds since the last access; the clock wraps around after 194 days.
#[inline]
pub fn lru_idle_ms(aux: u32, now_ms: i64) -> u64 {
    let seconds = lru_clock(now_ms).wrapping_sub(aux) & CLOCK_MASK;
    u64::from(seconds) * CLOCK_RESOLUTION_MS as u64
}

/// The bits of a key that was last accessed `idle_ms` ago (RESTORE … IDLETIME).
pub fn lru_of_idle(idle_ms: u64, now_ms: i64) -> u32 {
    let seconds = (idle_ms / CLOCK_RESOLUTION_MS as u64).min(u64::from(CLOCK_MASK)) as u32;
    lru_clock(now_ms).wrapping_sub(seconds) & CLOCK_MASK
}

/// The bits of a new key.
#[inline]
pub fn lfu_new(now_ms: i64) -> u32 {
    lfu_of_frequency(LFU_INITIAL, now_ms)
}

/// The bits of a key with this counter (RESTORE … FREQ).
#[inline]
pub fn lfu_of_frequency(frequency: u8, now_ms: i64) -> u32 {
    minutes(now_ms) << 8 | u32::from(frequency)
}

/// The counter after it has decayed by one for every `decay_minutes` since the last access; 0
/// switches decay off.
#[inline]
pub fn lfu_frequency(aux: u32, now_ms: i64, decay_minutes: u32) -> u8 {
    let counter = aux as u8;
    let elapsed = minutes(now_ms).wrapping_sub(aux >> 8) & 0xffff;
    match elapsed.checked_div(decay_minutes) {
        Some(periods) => counter.saturating_sub(periods.min(255) as u8),
        None => counter,
    }
}

/// The bits of a key that is accessed now.
#[inline]
pub fn lfu_touched(aux: u32, now_ms: i64, log_factor: u32, decay_minutes: u32, random: u32) -> u32 {
    let counter = lfu_frequency(aux, now_ms, decay_minutes);
    lfu_of_frequency(lfu_increment(counter, log_factor, random), now_ms)
}

/// The counter after one more access: the larger it is, the less probable is a step. `random` is
/// uniform over all values.
#[inline]
pub fn lfu_increment(counter: u8, log_factor: u32, random: u32) -> u8 {
    if counter == u8::MAX {
        return counter;
    }
    let base = u64::from(counter.saturating_sub(LFU_INITIAL));
    let odds = base * u64::from(log_factor) + 1;
    // One in `odds`.
    if u64::from(random).saturating_mul(odds) <= u64::from(u32::MAX) {
        counter + 1
    } else {
        counter
    }
}

#[inline]
fn minutes(now_ms: i64) -> u32 {
    (now_ms / MINUTE_MS) as u32 & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_survives_the_wrap_of_the_clock() {
        let wrap_ms = (1_i64 << CLOCK_BITS) * 1000;
        let aux = lru_clock(wrap_ms - 3000);
        assert_eq!(lru_idle_ms(aux, wrap_ms - 3000), 0);
        assert_eq!(lru_idle_ms(aux, wrap_ms + 7000), 10_000);
        assert_eq!(lru_idle_ms(lru_of_idle(5000, wrap_ms), wrap_ms), 5000);
    }

    #[test]
    fn the_counter_decays_by_periods() {
        let aux = lfu_of_frequency(100, 0);
        assert_eq!(lfu_frequency(aux, 59_999, 1), 100);
        assert_eq!(lfu_frequency(aux, 60_000, 1), 99);
        assert_eq!(lfu_frequency(aux, 60_000 * 10, 5), 98);
        assert_eq!(lfu_frequency(aux, 60_000 * 1000, 1), 0);
        assert_eq!(lfu_frequency(aux, 60_000 * 1000, 0), 100);
        assert_eq!(lfu_frequency(lfu_new(0), 0, 1), LFU_INITIAL);
    }

    #[test]
    fn the_counter_grows_with_the_logarithm() {
        assert_eq!(lfu_increment(0, 10, u32::MAX), 1, "the first steps are certain");
        assert_eq!(lfu_increment(255, 10, 0), 255);
        assert_eq!(lfu_increment(254, i32::MAX as u32, u32::MAX), 254, "no product overflows");
        assert_eq!(lfu_increment(15, 10, u32::MAX / 101), 16);
        assert_eq!(lfu_increment(15, 10, u32::MAX / 100), 15);
        // Redis's table for factor 10: about 10 after 100 hits, 18 after 1000, 142 after 100,000.
        let (mut counter, mut random) = (LFU_INITIAL, 1_u32);
        let mut after = Vec::new();
        for hit in 1..=100_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            counter = lfu_increment(counter, 10, random);
            if [100, 1000, 100_000].contains(&hit) {
                after.push(counter);
            }
        }
        assert!((7..=13).contains(&after[0]), "{after:?}");
        assert!((14..=24).contains(&after[1]), "{after:?}");
        assert!((125..=160).contains(&after[2]), "{after:?}");
    }
}
