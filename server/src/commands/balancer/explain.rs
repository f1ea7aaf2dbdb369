//! `BALANCER EXPLAIN`: why nothing moves; for a slot also which tag and key weigh most, which
//! takes a look at its keys and so is done on request only.

use ballast_balancer::explain::Subject;
use ballast_balancer::model::SlotId;
use ballast_protocol::{Args, CommandError, Reply};

use super::survey::survey;
use super::{Words, at_desk, known_shard};
use crate::commands::cluster::parse_slot;
use crate::commands::gather::{Gathered, Gathering};

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
        let answer = answer.await?;
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
