//! What a shard remembers of the commands it ran: `INFO commandstats`, `errorstats`,
//! `latencystats`, `SLOWLOG` and `LATENCY`.

use std::collections::VecDeque;
use std::time::Duration;

use ahash::AHashMap;
use ballast_protocol::{Args, CommandError};

use super::Engine;
use super::latency::{Event, Latency};
use crate::config::Settings;
use crate::ids::CommandId;

/// Statistics of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandStatistics {
    /// Times executed.
    pub(crate) calls: u64,
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
    /// Of calls of constant cost only those are timed whose number has none of these bits.
    pub(crate) sample_mask: u32,
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
            sample_mask: SAMPLE_EVERY - 1,
        }
    }

    /// Takes over the directives of the slow log, the latency monitor and the histograms.
    pub(crate) fn configure(&mut self, config: &Settings) {
        let slower_than_us = config.slowlog_log_slower_than_us;
        let latency_ms = config.latency_monitor_threshold_ms;
        let all = (0..TIME_ALL_BELOW_US).contains(&slower_than_us) || latency_ms > 0;
        self.sample_mask = if all { 0 } else { SAMPLE_EVERY - 1 };
        self.latency.configure(latency_ms);
        self.tracks = config.latency_tracking;
        self.slower_than_us = u64::try_from(slower_than_us).ok();
        self.slow_max = usize::try_from(config.slowlog_max_len).unwrap_or(usize::MAX);
        self.slow.truncate(self.slow_max);
    }

    /// For how many calls the next one of constant cost counts, if it is to be timed: each
    /// command's first call, so that none is without a time, and then one in [`SAMPLE_EVERY`].
    #[inline(always)]
    pub(crate) fn sample(&self, command: CommandId) -> Option<u32> {
        let calls = self.commands.get(command.index()).map_or(0, |of| of.calls);
        (calls & u64::from(self.sample_mask) == 0).then_some(self.sample_mask + 1)
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

    /// Keeps a slow command for `SLOWLOG`.
    pub(crate) fn log_slow(&mut self, ns: u64, args: Args<'_>) {
        if self.statistics.slow_max == 0 {
            return;
        }
        let (address, name) = self.node.clients.describe(self.running);
        let slow = SlowCommand {
            id: self.node.next_slow_id(),
            at_s: self.now_ms / 1000,
            took_us: ns / 1000,
            args: slow_args(args),
            address,
            name,
        };
        self.statistics.slow.push_front(slow);
        self.statistics.slow.truncate(self.statistics.slow_max);
    }
}

/// The arguments as the slow log shows them: shortened as Redis does.
fn slow_args(args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > SLOWLOG_ARGS_MAX { SLOWLOG_ARGS_MAX - 1 } else { args.len() };
    let mut list: Vec<Vec<u8>> = args
        .iter()
        .take(shown)
        .map(|arg| {
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
