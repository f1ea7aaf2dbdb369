//! Why nothing moves, and why this slot or shard is as it is: structured text for people.

use jiff::Timestamp;

use crate::machine::{Clock, Machine};
use crate::model::{Hold, ShardId, SlotId};
use crate::plan::{self, Trigger};
use crate::reason::Reason;
use crate::window::parse_zone;

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The tier as a whole.
    Tier,
    /// One bin.
    Shard(ShardId),
    /// One slot.
    Slot(SlotId),
}

/// What a scan of a slot's keys found; the server fills it in, bounded, on request only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The hash tag with most bytes.
    pub largest_tag: Option<(String, u64)>,
    /// The key with most bytes, and its type.
    pub largest_key: Option<(String, &'static str, u64)>,
    /// Keys in the slot.
    pub keys: u64,
    /// Whether nearly all commands only read.
    pub read_mostly: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What it is about.
    pub subject: Subject,
    /// The code that decides.
    pub reason: Reason,
    /// Facts, one sentence each, the deciding one first.
    pub facts: Vec<String>,
    /// What would help.
    pub suggestions: Vec<String>,
}

/// Above this share of its shard a slot is dominant, and one tag or key is *the* tag or key.
const MOST: f64 = 0.5;
/// Slots named for a shard.
const SLOTS_SHOWN: usize = 5;

impl Machine {
    /// Answers `BALANCER EXPLAIN`.
    pub fn explain(
        &self,
        subject: Subject,
        findings: Option<&Findings>,
        clock: Clock,
    ) -> Explanation {
        let mut answer = Explanation {
            subject,
            reason: self.reason().clone(),
            facts: Vec::new(),
            suggestions: Vec::new(),
        };
        answer.facts.push(answer.reason.sentence());
        match subject {
            Subject::Tier => self.explain_tier(&mut answer, clock),
            Subject::Shard(shard) => self.explain_shard(shard, &mut answer),
            Subject::Slot(slot) => self.explain_slot(slot, findings, &mut answer, clock),
        }
        answer
    }

    fn explain_tier(&self, answer: &mut Explanation, clock: Clock) {
        let status = self.status(clock);
        answer.facts.push(format!(
            "memory spread {:.1} points, start {:.1}, stop {:.1}, reachable {:.1}",
            status.memory.now * 100.0,
            status.memory.goal.start * 100.0,
            status.memory.goal.stop * 100.0,
            status.floor * 100.0
        ));
        if let Some(load) = status.load {
            answer.facts.push(format!(
                "load spread {:.1} points, start {:.1}, stop {:.1}, reachable {:.1}; \
                 busiest {:.1} %",
                load.now * 100.0,
                load.goal.start * 100.0,
                load.goal.stop * 100.0,
                load.floor * 100.0,
                load.max * 100.0
            ));
        }
        if let Some(queued) = &status.queued {
            let (bytes, moves) = (queued.bytes, queued.moves);
            answer.facts.push(format!("queued: {moves} slots, {bytes} bytes"));
        }
        if let Some(opens_ms) = status.window.opens_ms {
            answer.facts.push(format!("next opening {}", in_words(opens_ms, &status.window.zone)));
        }
        let blocked = self.last_plan.iter().flat_map(|plan| &plan.blocked);
        for reason in blocked.filter(|reason| reason.code() != answer.reason.code()) {
            answer.facts.push(reason.sentence());
        }
    }

    fn explain_shard(&self, shard: ShardId, answer: &mut Explanation) {
        let Some(snapshot) = self.working() else { return };
        let Some(load) = snapshot.shard(shard) else {
            answer.facts.insert(0, format!("there is no shard {shard}"));
            return;
        };
        let used = load.fixed_bytes + snapshot.owned_bytes(shard);
        let fill = share(used, load.capacity_bytes) * 100.0;
        let capacity = load.capacity_bytes;
        answer
            .facts
            .insert(0, format!("shard {shard} holds {used} of {capacity} bytes, {fill:.1} %"));
        let mut slots: Vec<(u64, usize)> = snapshot
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.owner == shard && slot.bytes > 0)
            .map(|(at, slot)| (slot.bytes, at))
            .collect();
        slots.sort_unstable_by_key(|&(bytes, at)| (u64::MAX - bytes, at));
        for (bytes, at) in slots.iter().take(SLOTS_SHOWN) {
            let part = share(*bytes, used) * 100.0;
            answer.facts.push(format!("slot {at} holds {bytes} bytes, {part:.1} % of the shard"));
        }
        for (hold, word) in [
            (Hold::Locked, "busy elsewhere"),
            (Hold::Cooling, "cooling down"),
            (Hold::Pinned, "pinned"),
        ] {
            let held =
                snapshot.slots.iter().filter(|slot| slot.owner == shard && slot.hold == hold);
            let count = held.count();
            if count > 0 {
                answer.facts.push(format!("{count} slots are {word}"));
            }
        }
    }

    fn explain_slot(
        &self,
        slot: SlotId,
        findings: Option<&Findings>,
        answer: &mut Explanation,
        clock: Clock,
    ) {
        let Some(snapshot) = self.working() else { return };
        let load = snapshot.slots.get(slot.index());
        let owner = load.and_then(|load| Some((load, snapshot.shard(load.owner)?)));
        let Some((load, owner)) = owner else {
            answer.facts.insert(0, format!("slot {slot} has no owner"));
            return;
        };
        let used = owner.fixed_bytes + snapshot.owned_bytes(owner.id);
        let part = share(load.bytes, used);
        let goal = self.policy().goal(self.tier(), snapshot.shards.len(), Trigger::Start);
        let summary = plan::summary(snapshot, &goal);
        let fill = share(used, owner.capacity_bytes);
        let helpful = ((fill - summary.fill_min) * owner.capacity_bytes as f64).max(0.0) as u64;
        let fact = format!(
            "slot {slot} holds {} bytes = {:.0} % of shard {}; \
             moving it would help below {helpful}",
            load.bytes,
            part * 100.0,
            owner.id
        );
        let held = match load.hold {
            Hold::Free => None,
            Hold::Locked => Some(Reason::Locked),
            Hold::Cooling => Some(Reason::Cooldown),
            Hold::Pinned => Some(Reason::Pinned),
        };
        let unmovable = load.bytes > 0 && load.bytes >= helpful && part > MOST;
        if let Some(reason) = held {
            answer.facts.insert(0, reason.sentence());
            answer.reason = reason;
        } else if unmovable {
            answer.reason = Reason::UnmovableSlot {
                slot,
                shard: owner.id,
                bytes: load.bytes,
                helpful_bytes: helpful,
            };
        }
        answer.facts.insert(0, fact);
        let cooling_ms = self.slots.cooling_ms(slot, clock.mono_ms);
        if cooling_ms > 0 {
            answer.facts.push(format!("it may move again in {} s", cooling_ms.div_ceil(1_000)));
        }
        let earlier = self.slots.earlier_owners(slot);
        if !earlier.is_empty() {
            let names: Vec<String> = earlier.iter().map(ToString::to_string).collect();
            answer.facts.push(format!("earlier owners of the last day: {}", names.join(", ")));
        }
        if let Some(findings) = findings {
            explain_contents(load.bytes, load.cpu, findings, answer);
        }
    }
}

/// Names the cause inside the slot, and what would help against it.
fn explain_contents(bytes: u64, cpu: f64, findings: &Findings, answer: &mut Explanation) {
    let key = findings.largest_key.as_ref();
    if let Some((name, kind, size)) = key {
        answer.facts.push(format!("largest key {name} ({kind}) has {size} bytes"));
    }
    let tag = findings.largest_tag.as_ref();
    if let Some((name, size)) = tag {
        let part = share(*size, bytes) * 100.0;
        answer.facts.push(format!("{part:.0} % of it is hash tag {{{name}}}"));
    }
    let dominates = |size: u64| share(size, bytes) > MOST;
    if key.is_some_and(|key| dominates(key.2)) {
        answer.suggestions.push("one key makes up the slot: split the key".into());
    } else if let Some((name, _)) = tag.filter(|tag| dominates(tag.1)) {
        answer.suggestions.push(format!(
            "one hash tag makes up the slot: spread it over suffixes, {{{name}:0}} to {{{name}:k}}"
        ));
    } else if findings.keys > 0 {
        answer.suggestions.push(
            "many keys make up the slot, and a slot cannot be split: give its node more capacity \
             or weight, or a node of its own (BALANCER PIN)"
                .into(),
        );
    }
    if findings.read_mostly && cpu > 0.0 {
        answer
            .suggestions
            .push("it is mostly read: replica reads or client-side caching take load away".into());
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A moment as the clocks of a zone show it.
fn in_words(unix_ms: i64, zone: &str) -> String {
    match (Timestamp::from_millisecond(unix_ms), parse_zone(zone)) {
        (Ok(moment), Ok(clocks)) => {
            format!("{} {zone}", moment.to_zoned(clocks).strftime("%a %Y-%m-%d %H:%M"))
        }
        _ => format!("at {unix_ms} ms since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn moments_are_told_in_local_time() {
        assert_eq!(in_words(1_795_651_200_000, "UTC"), "Thu 2026-11-26 00:00 UTC");
        let berlin = "Thu 2026-11-26 01:00 Europe/Berlin";
        assert_eq!(in_words(1_795_651_200_000, "Europe/Berlin"), berlin);
        assert_eq!(in_words(i64::MAX, "UTC"), format!("at {} ms since 1970", i64::MAX));
    }
}
