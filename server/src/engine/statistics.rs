//! What a shard remembers of the commands it ran: `INFO commandstats`, `errorstats`,
//! `latencystats`, `SLOWLOG` and `LATENCY`.

use std::collections::VecDeque;
use std::time::Duration;

use ahash::AHashMap;
use ballast_protocol::{Args, CommandError};

use super::Engine;
use crate::config::Settings;
use crate::ids::CommandId;
use crate::node::latency::{Event, Latency};

/// Statistics of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandStatistics {
    /// Times executed.
    pub(crate) calls: u64,
    /// The number of the call that is timed next, if its cost is constant.
    next_timed: u64,
    /// Calls that the timed ones stand for.
    pub(crate) timed: u64,
    /// Time of the calls that the timed ones stand for.
    pub(crate) cpu_ns: u64,
    /// Refused before it ran.
    pub(crate) rejected: u64,
    /// Ran into an error.
    pub(crate) failed: u64,
    /// Timed calls by duration: powers of two of microseconds.
    pub(crate) histogram: Option<Box<[u64; HISTOGRAM_BUCKETS]>>,
}

impl CommandStatistics {
    /// Chooses the call that is timed next: one of the next `every`, each time at another place, or
    /// a client that repeats as many commands would always have the same one timed.
    #[cold]
    fn choose_next(&mut self, every: u32) -> u32 {
        let every_calls = u64::from(every);
        let block = self.calls / every_calls + 1;
        // By the golden ratio, successive places are far apart, and all come equally often.
        let turn = u128::from(block.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let place = (turn * u128::from(every)) >> 64;
        self.next_timed = block * every_calls + place as u64;
        every
    }

    /// With the sampled figures brought to the number of calls: what the last sample stands for has
    /// not all happened yet.
    pub(crate) fn settled(mut self) -> CommandStatistics {
        let (calls, timed) = (u128::from(self.calls), u128::from(self.timed));
        if timed == 0 || timed == calls {
            return self;
        }
        let scale = |part: u64| u64::try_from(u128::from(part) * calls / timed).unwrap_or(u64::MAX);
        self.cpu_ns = scale(self.cpu_ns);
        self.timed = self.calls;
        if let Some(histogram) = &mut self.histogram {
            // By the sums up to each bucket, so that the rounding neither adds nor loses a call.
            let (mut sum, mut scaled) = (0, 0);
            for count in histogram.iter_mut() {
                sum += *count;
                let up_to = scale(sum);
                *count = up_to - scaled;
                scaled = up_to;
            }
        }
        self
    }
}

/// 1 µs, 2 µs, 4 µs … about 1 s, and what is longer.
pub(crate) const HISTOGRAM_BUCKETS: usize = 22;

/// One line of `SLOWLOG GET`.
#[derive(Clone, Debug)]
pub(crate) struct SlowCommand {
    /// Unique in the process, ascending.
    pub(crate) id: u64,
    /// Unix seconds.
    pub(crate) at_s: i64,
    /// How long it ran.
    pub(crate) took_us: u64,
    /// At most [`SLOWLOG_ARGS_MAX`], each at most [`SLOWLOG_ARG_BYTES_MAX`].
    pub(crate) args: Vec<Vec<u8>>,
    /// Address of the client.
    pub(crate) address: String,
    /// Name of the client.
    pub(crate) name: String,
}

/// What is shown instead of a secret.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// As Redis's `SLOWLOG_ENTRY_MAX_ARGC`.
const SLOWLOG_ARGS_MAX: usize = 32;
/// As Redis's `SLOWLOG_ENTRY_MAX_STRING`.
const SLOWLOG_ARG_BYTES_MAX: usize = 128;
/// Different error prefixes that are counted apart, as Redis limits them.
const ERROR_KINDS_MAX: usize = 128;

/// See the module.
#[derive(Debug)]
pub(crate) struct Statistics {
    commands: Vec<CommandStatistics>,
    errors: AHashMap<String, u64>,
    /// Newest first.
    pub(crate) slow: VecDeque<SlowCommand>,
    /// None: no command is slow.
    slower_than_us: Option<u64>,
    slow_max: usize,
    /// Whether histograms are kept.
    tracks: bool,
    /// What took longer than the latency monitor's threshold.
    pub(crate) latency: Latency,
    /// Of so many calls of constant cost one is timed.
    sample_every: u32,
}

/// Of calls of constant cost, one in so many is timed and counts for all of them, so that the clock
/// costs less than one per cent.
const SAMPLE_EVERY: u32 = 32;
/// Who wants to know of every command that takes so long wants all of them timed.
const TIME_ALL_BELOW_US: i64 = 1000;

impl Statistics {
    /// For so many commands.
    pub(crate) fn new(commands: usize) -> Statistics {
        Statistics {
            commands: vec![CommandStatistics::default(); commands],
            errors: AHashMap::new(),
            slow: VecDeque::new(),
            slower_than_us: None,
            slow_max: 0,
            tracks: true,
            latency: Latency::default(),
            sample_every: SAMPLE_EVERY,
        }
    }

    /// Takes over the directives of the slow log, the latency monitor and the histograms.
    pub(crate) fn configure(&mut self, config: &Settings) {
        let slower_than_us = config.slowlog_log_slower_than_us;
        let latency_ms = config.latency_monitor_threshold_ms;
        let all = (0..TIME_ALL_BELOW_US).contains(&slower_than_us) || latency_ms > 0;
        self.sample(if all { 1 } else { SAMPLE_EVERY });
        self.latency.configure(latency_ms);
        self.tracks = config.latency_tracking;
        self.slower_than_us = u64::try_from(slower_than_us).ok();
        self.slow_max = usize::try_from(config.slowlog_max_len).unwrap_or(usize::MAX);
        self.slow.truncate(self.slow_max);
    }

    /// Times one of so many calls of constant cost from now on.
    pub(crate) fn sample(&mut self, every: u32) {
        if std::mem::replace(&mut self.sample_every, every) != every {
            self.commands.iter_mut().for_each(|of| of.next_timed = of.calls);
        }
    }

    /// For how many calls the next one of constant cost counts, if it is to be timed: each
    /// command's first call, so that none is without a time, and then one of [`SAMPLE_EVERY`].
    #[inline(always)]
    pub(crate) fn begin_sample(&mut self, command: CommandId) -> Option<u32> {
        let every = self.sample_every;
        let of = self.commands.get_mut(command.index())?;
        (of.calls >= of.next_timed).then(|| of.choose_next(every))
    }

    /// A call that was not timed.
    #[inline(always)]
    pub(crate) fn called(&mut self, command: CommandId) {
        if let Some(of) = self.commands.get_mut(command.index()) {
            of.calls += 1;
        }
    }

    /// A call that was timed as such an event and is over at `now_ms`; it stands for `weight`
    /// calls.
    pub(crate) fn timed(
        &mut self,
        command: CommandId,
        event: Event,
        ns: u64,
        weight: u32,
        now_ms: i64,
    ) {
        self.latency.took(event, Duration::from_nanos(ns), now_ms);
        let Some(of) = self.commands.get_mut(command.index()) else { return };
        of.calls += 1;
        of.timed += u64::from(weight);
        of.cpu_ns = of.cpu_ns.saturating_add(ns.saturating_mul(u64::from(weight)));
        if !self.tracks {
            return;
        }
        let bucket = (64 - (ns / 1000).leading_zeros()) as usize;
        let histogram = of.histogram.get_or_insert_default();
        histogram[bucket.min(HISTOGRAM_BUCKETS - 1)] += u64::from(weight);
    }

    /// A call that was refused before it ran.
    pub(crate) fn rejected(&mut self, command: CommandId) {
        if let Some(of) = self.commands.get_mut(command.index()) {
            of.rejected += 1;
        }
    }

    /// `command` ran into an error.
    pub(crate) fn failed(&mut self, command: CommandId) {
        if let Some(of) = self.commands.get_mut(command.index()) {
            of.failed += 1;
        }
    }

    /// An error reply.
    pub(crate) fn error(&mut self, error: &CommandError) {
        let text = error.to_string();
        let prefix = text.split(' ').next().unwrap_or_default();
        if let Some(count) = self.errors.get_mut(prefix) {
            *count += 1;
        } else if self.errors.len() < ERROR_KINDS_MAX {
            self.errors.insert(prefix.to_owned(), 1);
        }
    }

    /// Whether a call of this length belongs in the slow log.
    pub(crate) fn is_slow(&self, ns: u64) -> bool {
        // In the unit of the directive, as Redis compares: any limit times 1,000 is no number.
        self.slower_than_us.is_some_and(|limit_us| ns / 1000 >= limit_us)
    }

    /// Per command, by [`CommandId::index`].
    pub(crate) fn commands(&self) -> &[CommandStatistics] {
        &self.commands
    }

    /// Error replies by prefix.
    pub(crate) fn errors(&self) -> &AHashMap<String, u64> {
        &self.errors
    }

    /// `CONFIG RESETSTAT`.
    pub(crate) fn reset(&mut self) {
        self.commands.fill(CommandStatistics::default());
        self.errors.clear();
    }
}

impl Engine {
    /// `CONFIG RESETSTAT` for the slots that are here.
    pub(crate) fn reset_work(&mut self) {
        for boxed in self.slots.iter_mut().flatten() {
            boxed.work = crate::engine::slot::Work::default();
        }
        self.counters.reset();
        self.hand_over_times = None;
    }

    /// Keeps a slow command for `SLOWLOG`, but for the arguments at the positions in `secrets`.
    pub(crate) fn log_slow(&mut self, ns: u64, args: Args<'_>, secrets: &[usize]) {
        if self.statistics.slow_max == 0 {
            return;
        }
        let (address, name) = self.node.clients.describe(self.running);
        let slow = SlowCommand {
            id: self.node.next_slow_id(),
            at_s: self.now_ms / 1000,
            took_us: ns / 1000,
            args: slow_args(args, secrets),
            address,
            name,
        };
        self.statistics.slow.push_front(slow);
        self.statistics.slow.truncate(self.statistics.slow_max);
    }
}

/// The arguments as the slow log shows them: shortened as Redis does, and without secrets.
fn slow_args(args: Args<'_>, secrets: &[usize]) -> Vec<Vec<u8>> {
    let shown = if args.len() > SLOWLOG_ARGS_MAX { SLOWLOG_ARGS_MAX - 1 } else { args.len() };
    let mut list: Vec<Vec<u8>> = args
        .iter()
        .take(shown)
        .enumerate()
        .map(|(at, arg)| {
            if secrets.contains(&at) {
                return REDACTED.to_vec();
            }
            if arg.len() <= SLOWLOG_ARG_BYTES_MAX {
                return arg.to_vec();
            }
            let mut short = arg[..SLOWLOG_ARG_BYTES_MAX].to_vec();
            let more = arg.len() - SLOWLOG_ARG_BYTES_MAX;
            short.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            short
        })
        .collect();
    if shown < args.len() {
        list.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_of_each_block_is_timed_at_any_place() {
        let command = CommandId(0);
        let mut statistics = Statistics::new(1);
        let mut places = [0; SAMPLE_EVERY as usize];
        for call in 0..32_000_u64 {
            match statistics.begin_sample(command) {
                None => statistics.called(command),
                Some(weight) => {
                    assert_eq!(weight, SAMPLE_EVERY);
                    places[(call % u64::from(SAMPLE_EVERY)) as usize] += 1;
                    statistics.timed(command, Event::FastCommand, 1, weight, 0);
                }
            }
            assert!(call > 0 || places[0] == 1, "the first");
        }
        assert_eq!(places.iter().sum::<u32>(), 1_000, "one of 32");
        assert!(places.iter().all(|count| (25..38).contains(count)), "{places:?}");
    }

    #[test]
    fn all_calls_are_timed_as_soon_as_somebody_wants_it() {
        let command = CommandId(0);
        let mut statistics = Statistics::new(1);
        let timed = |statistics: &mut Statistics| {
            let weight = statistics.begin_sample(command);
            statistics.called(command);
            weight
        };
        (0..7).for_each(|_| assert!(timed(&mut statistics).is_none_or(|weight| weight > 1)));
        statistics.sample(1);
        assert!((0..10).all(|_| timed(&mut statistics) == Some(1)));
        statistics.sample(SAMPLE_EVERY);
        assert!((0..100).filter(|_| timed(&mut statistics).is_some()).count() < 6);
    }
}
