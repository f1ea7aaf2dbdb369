//! The replies of `BALANCER`: RESP3 maps with the machine's own words.

use ballast_balancer::machine::{MetricStatus, Outcome, Proposal, Record};
use ballast_protocol::Reply;

use crate::node::balance::Told;

fn integer(name: &str, value: u64, reply: &mut Reply) {
    reply.bulk_str(name);
    reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
}

fn text(name: &str, value: &str, reply: &mut Reply) {
    reply.bulk_str(name);
    reply.bulk_str(value);
}

/// A fraction, in points.
fn points(name: &str, fraction: f64, reply: &mut Reply) {
    reply.bulk_str(name);
    reply.bulk_str(&format!("{:.2}", fraction * 100.0));
}

/// A moment, or null if there will be none.
fn moment(name: &str, unix_ms: Option<i64>, reply: &mut Reply) {
    reply.bulk_str(name);
    match unix_ms {
        Some(at) => reply.bulk_str(&crate::log::time(at)),
        None => reply.null(),
    }
}

pub(super) fn status(told: &Told, reply: &mut Reply) {
    let status = &told.status;
    reply.map(18);
    text("tier", status.tier.name(), reply);
    text("mode", &told.mode, reply);
    text("state", status.state.name(), reply);
    text("reason", status.reason.code(), reply);
    text("explanation", &status.reason.sentence(), reply);
    reply.bulk_str("window");
    reply.map(4);
    reply.bulk_str("open");
    reply.boolean(status.window.open);
    moment("opens-at", status.window.opens_ms, reply);
    moment("closes-at", status.window.closes_ms, reply);
    text("zone", &status.window.zone, reply);
    reply.bulk_str("memory");
    metric(&status.memory, reply);
    reply.bulk_str("load");
    match &status.load {
        Some(load) => metric(load, reply),
        None => reply.null(),
    }
    points("floor", status.floor, reply);
    reply.bulk_str("shards");
    reply.array(status.shards.len());
    for shard in &status.shards {
        reply.map(12);
        integer("shard", u64::from(shard.id.0), reply);
        integer("bytes", shard.bytes, reply);
        integer("capacity", shard.capacity, reply);
        points("fill", shard.fill, reply);
        points("cpu", shard.cpu, reply);
        points("cpu-fixed", shard.fixed_cpu, reply);
        reply.bulk_str("hottest-slot");
        match shard.hottest {
            Some((slot, _)) => reply.integer(i64::from(slot.0)),
            None => reply.null(),
        }
        points("hottest-slot-cpu", shard.hottest.map_or(0.0, |(_, load)| load), reply);
        integer("slots", shard.slots as u64, reply);
        integer("ranges", shard.ranges as u64, reply);
        integer("arriving", shard.arriving as u64, reply);
        integer("leaving", shard.leaving as u64, reply);
    }
    reply.bulk_str("queued");
    match &status.queued {
        Some(queued) => {
            reply.map(5);
            integer("plan", queued.plan, reply);
            integer("moves", queued.moves as u64, reply);
            integer("bytes", queued.bytes, reply);
            integer("eta-ms", queued.duration_ms, reply);
            integer("age-ms", queued.age_ms, reply);
        }
        None => reply.null(),
    }
    integer("in-flight-moves", status.in_flight_moves as u64, reply);
    integer("in-flight-bytes", status.in_flight_bytes, reply);
    integer("last-plan", status.last_plan, reply);
    integer("imbalanced-ms", status.imbalanced_ms.unwrap_or(0), reply);
    integer("unmovable-slots", status.unmovable_slots as u64, reply);
    integer("largest-slot-bytes", status.largest_slot_bytes, reply);
    reply.bulk_str("pause");
    match &status.pause {
        Some(pause) => {
            reply.map(2);
            moment("resumes-at", pause.until_ms, reply);
            text("why", &pause.why, reply);
        }
        None => reply.null(),
    }
}

fn metric(metric: &MetricStatus, reply: &mut Reply) {
    reply.map(5);
    points("spread", metric.now, reply);
    points("max", metric.max, reply);
    points("start", metric.goal.start, reply);
    points("stop", metric.goal.stop, reply);
    points("floor", metric.floor, reply);
}

pub(super) fn proposal(proposal: &Proposal, reply: &mut Reply) {
    let plan = &proposal.plan;
    reply.map(14);
    integer("plan", plan.id, reply);
    integer("epoch", plan.epoch, reply);
    integer("slots", plan.slots() as u64, reply);
    integer("bytes", plan.bytes(), reply);
    integer("lower-bound", plan.lower_bound, reply);
    points("spread-before", plan.before.spread(), reply);
    points("spread-after", plan.after.spread(), reply);
    points("load-before", plan.before.load_spread(), reply);
    points("load-after", plan.after.load_spread(), reply);
    points("floor", plan.floor, reply);
    integer("eta-ms", proposal.duration_ms, reply);
    integer("windows-needed", proposal.windows, reply);
    reply.bulk_str("moves");
    reply.array(plan.moves.len());
    for step in &plan.moves {
        reply.map(5);
        let slots = if step.lo == step.hi {
            step.lo.to_string()
        } else {
            format!("{}-{}", step.lo, step.hi)
        };
        text("slots", &slots, reply);
        integer("from", u64::from(step.from.0), reply);
        integer("to", u64::from(step.to.0), reply);
        integer("bytes", step.bytes, reply);
        text("why", step.cause.code(), reply);
    }
    reply.bulk_str("notes");
    let notes: Vec<String> = plan
        .blocked
        .iter()
        .map(|reason| format!("{}: {}", reason.code(), reason.sentence()))
        .chain(proposal.warnings.iter().map(ToString::to_string))
        .collect();
    reply.array(notes.len());
    notes.iter().for_each(|note| reply.bulk_str(note));
}

/// Whether something of the run did not work.
pub(super) fn failed(record: &Record) -> bool {
    record.failures > 0 || matches!(record.outcome, Outcome::Failed | Outcome::Cancelled)
}

pub(super) fn record(record: &Record, reply: &mut Reply) {
    reply.map(14);
    integer("id", record.id, reply);
    text("tier", record.tier.name(), reply);
    text("trigger", record.cue.code(), reply);
    text("by", if record.cue.by_user() { "user" } else { "auto" }, reply);
    moment("started-at", Some(record.started_ms), reply);
    moment("ended-at", Some(record.ended_ms), reply);
    integer("moves", record.moves, reply);
    integer("failures", record.failures, reply);
    integer("bytes", record.bytes, reply);
    integer("lower-bound", record.lower_bound, reply);
    points("spread-before", record.spread_before, reply);
    points("spread-after", record.spread_after, reply);
    text("outcome", record.outcome.code(), reply);
    text("reason", record.reason.as_ref().map_or("", |reason| reason.code()), reply);
}
