//! `BALANCER EXPLAIN`: why nothing moves; for a slot also which tag and key weigh most, which
//! takes a look at its keys and so is done on request only.

use ballast_balancer::Reason;
use ballast_balancer::explain::{Explanation, Subject};
use ballast_balancer::model::SlotId;
use ballast_protocol::{Args, CommandError, Reply};

use super::survey::{HELD_MAX, survey};
use super::{Words, at_desk, known_shard};
use crate::commands::cluster::parse_slot;
use crate::commands::gather::{Gathered, Gathering};

/// Above this part of a slot's commands one key is *the* key.
const MOST: f64 = 0.5;

pub(super) fn explain<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let mut subject = Subject::Tier;
        if words.take("shard") {
            subject = Subject::Shard(known_shard(&cx, words.number()?)?);
        } else if words.take("slot") {
            let slot = parse_slot(words.next().ok_or(CommandError::Syntax)?)?;
            subject = Subject::Slot(SlotId(slot));
        }
        words.end()?;
        let mut findings = None;
        if let Subject::Slot(SlotId(slot)) = subject {
            findings = survey(&cx, slot).await;
        }
        let answer = at_desk(&cx, move |desk, clocks| {
            desk.machine.explain(subject, findings.as_ref(), clocks)
        });
        let mut answer = answer.await?;
        if let Reason::HotSlot { slot, .. } = answer.reason {
            name_hot_key(&cx, slot, &mut answer).await;
        }
        reply.map(3);
        reply.bulk_str("reason");
        reply.bulk_str(answer.reason.code());
        for (name, lines) in [("facts", &answer.facts), ("suggestions", &answer.suggestions)] {
            reply.bulk_str(name);
            reply.array(lines.len());
            lines.iter().for_each(|line| reply.bulk_str(line));
        }
        Ok(())
    })
}

/// Names the key that makes a slot hot, if it is one.
async fn name_hot_key(cx: &Gathering<'_>, slot: SlotId, answer: &mut Explanation) {
    let hottest = cx.on_slot(slot.0, move |state| {
        let hot_keys = state.slot(slot.0)?.hot_keys.as_ref()?;
        let (name, part) = hot_keys.hottest()?;
        Some((String::from_utf8_lossy(name).into_owned(), part))
    });
    // As for a look at the slot's keys, which a transaction may hold.
    let hottest = tokio::time::timeout(HELD_MAX, hottest).await;
    let Some((name, part)) = hottest.ok().flatten().flatten() else { return };
    let percent = part * 100.0;
    answer.facts.push(format!("key {name} has {percent:.0} % of the commands of slot {slot}"));
    answer.suggestions.push(match part > MOST {
        true => format!(
            "one key makes the slot hot: keep copies of {name} under several names, or split it; \
             client-side caching takes reads away"
        ),
        false => "several keys make the slot hot: give them different hash tags".to_owned(),
    });
}
