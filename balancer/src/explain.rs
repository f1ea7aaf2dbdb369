//! Why nothing moves, and why this slot or shard is as it is: structured text for people.

use jiff::Timestamp;

use crate::machine::{Clock, Machine};
use crate::model::{Hold, LoadSnapshot, ShardId, ShardLoad, SlotId};
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

/// What a look at a slot's keys found; the server fills it in, bounded, on request only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The slot's bytes at that time.
    pub bytes: u64,
    /// The hash tag with most bytes, without its braces, and its part of all bytes, 0 to 1.
    pub largest_tag: Option<(String, f64)>,
    /// The key with most bytes of those looked at, its type, and its bytes.
    pub largest_key: Option<(String, &'static str, u64)>,
    /// Keys in the slot.
    pub keys: u64,
    /// How many of them were looked at, evenly over the slot.
    pub looked_at: u64,
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
/// A slot that causes less than this, in per cent of the shard's core, is not named for its load.
const PERCENT_SHOWN: f64 = 0.1;

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
        explain_load(snapshot, load, answer);
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
        if load.cpu > 0.0 {
            let part = share_of(load.cpu, owner.cores);
            let spent = share_of(spent(snapshot, owner), owner.cores);
            answer.facts.push(format!(
                "it causes {part:.1} of the {spent:.1} % that shard {} spends of its core",
                owner.id
            ));
        }
        if let Reason::HotSlot { slot: hot, .. } = self.reason()
            && *hot == slot
            && load.hold == Hold::Free
        {
            answer.reason = self.reason().clone();
            answer.facts.insert(0, answer.reason.sentence());
        }
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
            explain_contents(load.cpu, findings, answer);
        }
    }
}

/// What the shard spends, and on which slots most of it.
fn explain_load(snapshot: &LoadSnapshot, shard: &ShardLoad, answer: &mut Explanation) {
    let id = shard.id;
    let percent = |cpu: f64| share_of(cpu, shard.cores);
    answer.facts.push(format!(
        "shard {id} spends {:.1} % of its core, {:.1} of it for connections that use slots of \
         other shards",
        percent(spent(snapshot, shard)),
        percent(shard.fixed_cpu)
    ));
    let owned = snapshot.slots.iter().enumerate().filter(|(_, slot)| slot.owner == id);
    let mut hot: Vec<(f64, usize)> = owned.map(|(at, slot)| (percent(slot.cpu), at)).collect();
    hot.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (part, at) in hot.iter().take(SLOTS_SHOWN).filter(|(part, _)| *part >= PERCENT_SHOWN) {
        answer.facts.push(format!("slot {at} causes {part:.1} %"));
    }
}

/// Cores that a shard uses.
fn spent(snapshot: &LoadSnapshot, shard: &ShardLoad) -> f64 {
    let owned = snapshot.slots.iter().filter(|slot| slot.owner == shard.id);
    shard.fixed_cpu + owned.map(|slot| slot.cpu).sum::<f64>()
}

/// Per cent of a shard's share of a core.
fn share_of(cpu: f64, cores: f64) -> f64 {
    if cores > 0.0 { cpu / cores * 100.0 } else { 0.0 }
}

/// Names the cause inside the slot, and what would help against it.
fn explain_contents(cpu: f64, findings: &Findings, answer: &mut Explanation) {
    if findings.looked_at < findings.keys {
        let Findings { keys, looked_at, .. } = findings;
        answer.facts.push(format!("what follows is from {looked_at} of its {keys} keys"));
    }
    let key = findings.largest_key.as_ref();
    if let Some((name, kind, size)) = key {
        answer.facts.push(format!("largest key {name} ({kind}) has {size} bytes"));
    }
    let tag = findings.largest_tag.as_ref();
    if let Some((name, part)) = tag {
        answer.facts.push(format!("{:.0} % of it is hash tag {{{name}}}", part * 100.0));
    }
    if key.is_some_and(|key| share(key.2, findings.bytes) > MOST) {
        answer.suggestions.push("one key makes up the slot: split the key".into());
    } else if let Some((name, _)) = tag.filter(|tag| tag.1 > MOST) {
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
    use super::*;

    /// A tag is shown in one pair of braces, and its part is the one that was found.
    #[test]
    fn a_tag_is_shown_as_it_is_written() {
        let mut answer = Explanation {
            subject: Subject::Tier,
            reason: Reason::Balanced,
            facts: Vec::new(),
            suggestions: Vec::new(),
        };
        let findings = Findings {
            bytes: 1_000,
            largest_tag: Some(("hot".into(), 0.996)),
            largest_key: Some(("a{hot}".into(), "string", 100)),
            keys: 2_000_000,
            looked_at: 200_000,
            read_mostly: false,
        };
        explain_contents(0.0, &findings, &mut answer);
        assert!(answer.facts.contains(&"100 % of it is hash tag {hot}".into()), "{answer:?}");
        assert!(answer.facts[0].contains("200000 of its 2000000 keys"));
        assert!(answer.suggestions[0].contains("{hot:0} to {hot:k}"), "{answer:?}");
    }

    #[test]
    fn moments_are_told_in_local_time() {
        assert_eq!(in_words(1_795_651_200_000, "UTC"), "Thu 2026-11-26 00:00 UTC");
        let berlin = "Thu 2026-11-26 01:00 Europe/Berlin";
        assert_eq!(in_words(1_795_651_200_000, "Europe/Berlin"), berlin);
        assert_eq!(in_words(i64::MAX, "UTC"), format!("at {} ms since 1970", i64::MAX));
    }
}
