//! `LATENCY`: what took longer than `latency-monitor-threshold`, and the distribution of the
//! commands' times.

use std::fmt::Write as _;

use ballast_protocol::{Args, CommandError, Reply};

use super::context::SessionContext;
use super::help::{self, Help};
use super::slowlog::merge;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::gather::{Gathered, Gathering};
use crate::engine::statistics::HISTOGRAM_BUCKETS;
use crate::node::latency::{Event, History, Latency, Sample, is_name};

/// A subcommand.
const SUB: Definition = Definition {
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    since: "2.8.13",
    ..Definition::BASE
};

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "latency",
    arity: -2,
    run: Run::Container,
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "A container for latency diagnostics commands.",
    subcommands: &[
        Definition {
            name: "doctor",
            run: Run::Gather(doctor),
            summary: "Returns a human-readable latency analysis report.",
            ..SUB
        },
        Definition {
            name: "graph",
            syntax: "event",
            arity: 3,
            run: Run::Gather(graph),
            summary: "Returns a latency graph for an event.",
            ..SUB
        },
        Definition {
            name: "help",
            flags: flag::LOADING | flag::STALE,
            tips: &[],
            run: Run::Session(write_help),
            summary: "Returns helpful text about the different subcommands.",
            ..SUB
        },
        Definition {
            name: "histogram",
            syntax: "[command [command ...]]",
            arity: -2,
            run: Run::Gather(histogram),
            since: "7.0.0",
            complexity: "O(N) where N is the number of commands with latency information.",
            summary: "Returns the distribution of the latencies of some commands, or of all.",
            ..SUB
        },
        Definition {
            name: "history",
            syntax: "event",
            arity: 3,
            run: Run::Gather(history),
            summary: "Returns timestamp-latency samples for an event.",
            ..SUB
        },
        Definition {
            name: "latest",
            run: Run::Gather(latest),
            summary: "Returns the latest latency samples for all events.",
            ..SUB
        },
        Definition {
            name: "reset",
            syntax: "[event [event ...]]",
            arity: -2,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: Run::Gather(reset),
            summary: "Resets the latency data for one or more events.",
            ..SUB
        },
    ],
    ..Definition::BASE
}];

const HELP: Help = &[
    ("DOCTOR", &["Return a human readable latency analysis report."]),
    ("GRAPH <event>", &["Return a graph of the samples of <event>."]),
    ("HISTORY <event>", &["Return time-latency samples for the <event> class."]),
    ("LATEST", &["Return the latest latency samples for all events."]),
    ("RESET [<event> ...]", &["Reset latency data of one or more <event> classes."]),
    ("HISTOGRAM [COMMAND ...]", &["Return a cumulative distribution of commands' latencies."]),
];

fn write_help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    help::write("LATENCY", HELP, reply);
    Ok(())
}

impl Gathering<'_> {
    /// The events of all threads.
    async fn latency(&self) -> Vec<(Event, History)> {
        let mut all = self.each_shard(|state| state.statistics.latency.clone()).await;
        all.push(self.node().latency.lock().clone());
        Latency::merged(&all)
    }

    async fn latency_of(&self, name: &[u8]) -> Option<(Event, History)> {
        self.latency().await.into_iter().find(|(event, _)| is_name(*event, name))
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn latest<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let events = cx.latency().await;
        reply.array(events.len());
        for (event, history) in events {
            let last = history.samples.back().copied().unwrap_or(Sample { at_s: 0, ms: 0 });
            reply.array(4);
            reply.bulk_str(event.name());
            reply.integer(last.at_s);
            reply.integer(signed(last.ms));
            reply.integer(signed(history.worst_ms));
        }
        Ok(())
    })
}

fn history<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let samples = cx
            .latency_of(args.at(2))
            .await
            .map_or_else(Default::default, |(_, found)| found.samples);
        reply.array(samples.len());
        for sample in samples {
            reply.array(2);
            reply.integer(sample.at_s);
            reply.integer(signed(sample.ms));
        }
        Ok(())
    })
}

fn reset<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let wanted: Vec<Vec<u8>> = args.from(2).iter().map(<[u8]>::to_vec).collect();
        let of_none = cx.node().latency.lock().reset(&wanted);
        let mut forgotten =
            cx.each_shard(move |state| state.statistics.latency.reset(&wanted)).await;
        forgotten.push(of_none);
        let mut names: Vec<&str> = forgotten.into_iter().flatten().collect();
        names.sort_unstable();
        names.dedup();
        reply.integer(i64::try_from(names.len()).unwrap_or(i64::MAX));
        Ok(())
    })
}

fn doctor<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let threshold_ms = cx.node().config.load().latency_monitor_threshold_ms;
        let events = cx.latency().await;
        let mut text = String::new();
        if threshold_ms == 0 && events.is_empty() {
            text.push_str(
                "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> \
                 turns it on. Meanwhile SLOWLOG GET lists slow commands, and LATENCY HISTOGRAM \
                 shows how long all of them take.\n",
            );
        } else if events.is_empty() {
            let _ = writeln!(text, "Nothing took {threshold_ms} ms or longer: no latency spikes.");
        }
        for (event, history) in events {
            describe(event, &history, &mut text);
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

/// An event's figures, and what to do about it. Writing to a string cannot fail.
fn describe(event: Event, history: &History, text: &mut String) {
    let count = history.samples.len() as u64;
    let average_ms = history.samples.iter().map(|sample| sample.ms).sum::<u64>() / count.max(1);
    let first_s = history.samples.front().map_or(0, |sample| sample.at_s);
    let last_s = history.samples.back().map_or(0, |sample| sample.at_s);
    let _ = writeln!(
        text,
        "{}: {count} latency spikes in {} s (average {average_ms} ms). Worst all time event {} \
         ms. {}",
        event.name(),
        last_s - first_s + 1,
        history.worst_ms,
        match event {
            Event::Command | Event::FastCommand => {
                "SLOWLOG GET shows which commands; BALANCER EXPLAIN whether one slot is to blame."
            }
            Event::ExpireCycle => {
                "Expiry runs in short slices, so most likely the machine was busy with something \
                 else."
            }
            Event::EvictionCycle => {
                "A shard is at its share of maxmemory: give it more, or write less at once."
            }
            Event::AofFsyncAlways => {
                "Replies wait for the disk: a faster one helps, or appendfsync everysec."
            }
            Event::AofWrite
            | Event::AofWritePendingFsync
            | Event::AofWriteActiveChild
            | Event::AofWriteAlone => {
                "The disk of the append-only file is slow, which clients do not notice unless \
                 appendfsync is always. no-appendfsync-on-rewrite yes spares it during rewrites."
            }
        }
    );
}

/// Rows of a graph.
const GRAPH_ROWS: u64 = 8;

fn graph<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let Some((event, history)) = cx.latency_of(args.at(2)).await else {
            let name = String::from_utf8_lossy(args.at(2)).into_owned();
            let why = format!("ERR No samples available for event '{name}'");
            return Err(CommandError::other(why));
        };
        reply.verbatim("txt", drawn(event, &history).as_bytes());
        Ok(())
    })
}

/// A column per sample, oldest first, as high as it is long; the seconds between the first and
/// the last below.
fn drawn(event: Event, history: &History) -> String {
    let lengths = || history.samples.iter().map(|sample| sample.ms);
    let (low, high) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    let mut text = format!(
        "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.name(),
        history.worst_ms,
        "-".repeat(80)
    );
    for row in (0..GRAPH_ROWS).rev() {
        let line: String =
            lengths().map(|ms| if ms * GRAPH_ROWS > row * high { '#' } else { ' ' }).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let first_s = history.samples.front().map_or(0, |sample| sample.at_s);
    let last_s = history.samples.back().map_or(0, |sample| sample.at_s);
    let _ = writeln!(text, "{} samples in {} s", history.samples.len(), last_s - first_s + 1);
    text
}

fn histogram<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let wanted: Vec<String> = args
            .from(2)
            .iter()
            .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
            .collect();
        let merged = merge(cx.each_shard(|state| state.statistics.commands().to_vec()).await);
        let shown: Vec<_> = super::table()
            .with_subcommands()
            .filter(|command| {
                wanted.is_empty()
                    || wanted.iter().any(|name| {
                        command.full_name == *name
                            || command.full_name.split('|').next() == Some(name.as_str())
                    })
            })
            .filter_map(|command| Some((command, merged.get(command.id.index())?)))
            .filter_map(|(command, of)| Some((command, of.calls, of.histogram.as_deref()?)))
            .collect();
        reply.map(shown.len());
        for (command, calls, buckets) in shown {
            reply.bulk_str(&command.full_name);
            reply.map(2);
            reply.bulk_str("calls");
            reply.integer(i64::try_from(calls).unwrap_or(i64::MAX));
            reply.bulk_str("histogram_usec");
            write_histogram(buckets, reply);
        }
        Ok(())
    })
}

/// Cumulative counts at the upper ends of the buckets that have any.
fn write_histogram(histogram: &[u64; HISTOGRAM_BUCKETS], reply: &mut Reply) {
    let filled = histogram.iter().filter(|count| **count > 0).count();
    reply.map(filled);
    let mut total = 0_u64;
    for (bucket, count) in histogram.iter().enumerate().filter(|(_, count)| **count > 0) {
        total += count;
        reply.integer(1 << bucket);
        reply.integer(i64::try_from(total).unwrap_or(i64::MAX));
    }
}
