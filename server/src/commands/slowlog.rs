//! `SLOWLOG`, and the statistics of commands that `INFO` and `LATENCY` show.

use ballast_protocol::{Args, CommandError, Reply, number};

use super::context::SessionContext;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::gather::{Gathered, Gathering};
use crate::engine::statistics::{CommandStatistics, SlowCommand};

const ADMIN: u32 = flag::ADMIN | flag::LOADING | flag::STALE;

const fn sub(
    name: &'static str,
    arity: i16,
    syntax: &'static str,
    run: Run,
    summary: &'static str,
) -> Definition {
    Definition {
        name,
        arity,
        syntax,
        flags: ADMIN,
        run,
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries returned",
        summary,
        ..Definition::BASE
    }
}

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "slowlog",
    arity: -2,
    run: Run::Container,
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "A container for slow log commands.",
    subcommands: &[
        Definition {
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            ..sub("get", -2, "[count]", Run::Gather(slowlog_get), "Returns the slow log's entries.")
        },
        Definition {
            flags: flag::LOADING | flag::STALE,
            ..sub("help", 2, "", Run::Session(slowlog_help), "Shows what the subcommands do.")
        },
        Definition {
            tips: &[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ],
            ..sub("len", 2, "", Run::Gather(slowlog_len), "Returns the slow log's length.")
        },
        Definition {
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..sub("reset", 2, "", Run::Gather(slowlog_reset), "Clears the slow log.")
        },
    ],
    ..Definition::BASE
}];

/// Entries that `SLOWLOG GET` answers without being told how many.
const DEFAULT_ENTRIES: usize = 10;

fn slowlog_get<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let count = match args.get(2) {
            None => DEFAULT_ENTRIES,
            Some(count) if args.len() == 3 => {
                let count = number::parse_i64(count).filter(|count| *count >= -1);
                let too_low = "ERR count should be greater than or equal to -1";
                let count = count.ok_or_else(|| CommandError::other(too_low))?;
                usize::try_from(count).unwrap_or(usize::MAX)
            }
            Some(_) => return Err(CommandError::WrongArity("slowlog|get".into())),
        };
        let mut all: Vec<SlowCommand> = cx
            .each_shard(|state| state.statistics.slow.iter().cloned().collect::<Vec<_>>())
            .await
            .into_iter()
            .flatten()
            .collect();
        all.sort_by_key(|slow| std::cmp::Reverse(slow.id));
        all.truncate(count.min(cx.slow_log_max()));
        reply.array(all.len());
        for slow in &all {
            write_slow(slow, reply);
        }
        Ok(())
    })
}

fn write_slow(slow: &SlowCommand, reply: &mut Reply) {
    reply.array(6);
    reply.integer(i64::try_from(slow.id).unwrap_or(i64::MAX));
    reply.integer(slow.at_s);
    reply.integer(i64::try_from(slow.took_us).unwrap_or(i64::MAX));
    reply.array(slow.args.len());
    for arg in &slow.args {
        reply.bulk(arg);
    }
    reply.bulk_str(&slow.address);
    reply.bulk_str(&slow.name);
}

fn slowlog_len<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let lengths = cx.each_shard(|state| state.statistics.slow.len()).await;
        let len = lengths.into_iter().sum::<usize>().min(cx.slow_log_max());
        reply.integer(i64::try_from(len).unwrap_or(i64::MAX));
        Ok(())
    })
}

fn slowlog_reset<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        cx.each_shard(|state| state.statistics.slow.clear()).await;
        reply.ok();
        Ok(())
    })
}

fn slowlog_help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("SLOWLOG", super::help::SLOWLOG, reply);
    Ok(())
}

impl Gathering<'_> {
    fn slow_log_max(&self) -> usize {
        let max = self.node().config.load().slowlog_max_len;
        usize::try_from(max).unwrap_or(usize::MAX)
    }
}

/// Adds up the statistics of the shards.
pub(crate) fn merge(shards: Vec<Vec<CommandStatistics>>) -> Vec<CommandStatistics> {
    let mut merged: Vec<CommandStatistics> = Vec::new();
    for shard in shards {
        if merged.len() < shard.len() {
            merged.resize(shard.len(), CommandStatistics::default());
        }
        for (sum, of) in merged.iter_mut().zip(shard) {
            let of = of.settled();
            sum.calls += of.calls;
            sum.timed += of.timed;
            sum.cpu_ns += of.cpu_ns;
            sum.rejected += of.rejected;
            sum.failed += of.failed;
            if let Some(histogram) = of.histogram {
                let sums = sum.histogram.get_or_insert_default();
                sums.iter_mut().zip(*histogram).for_each(|(sum, count)| *sum += count);
            }
        }
    }
    merged
}
