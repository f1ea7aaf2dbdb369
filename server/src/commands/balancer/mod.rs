//! `BALANCER`: what the balancer sees, what it would do and why not, and what operators tell it.

mod explain;
mod survey;
mod write;

use ballast_balancer::machine::{ApplyError, Change, Clock, Record};
use ballast_balancer::model::{ShardId as Bin, ShardLoad, SlotId};
use ballast_protocol::{Args, CommandError, Reply, number};

use super::cluster::parse_slot;
use super::context::SessionContext;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::gather::{Gathered, Gathering};
use crate::node::balance::Desk;

const READ: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;
const WRITE: u32 = READ | flag::DANGEROUS;

const fn sub(
    name: &'static str,
    arity: i16,
    syntax: &'static str,
    flags: u32,
    run: Run,
    summary: &'static str,
) -> Definition {
    Definition {
        name,
        arity,
        syntax,
        flags,
        run,
        group: Group::Server,
        complexity: "O(N) where N is the number of slots",
        summary,
        ..Definition::BASE
    }
}

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "balancer",
    arity: -2,
    run: Run::Container,
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "A container for the balancer's commands.",
    subcommands: &[
        sub(
            "apply",
            -3,
            "plan-id [NOW]",
            WRITE,
            Run::Gather(apply),
            "Carries out a reviewed plan.",
        ),
        sub("cancel", 3, "<plan-id | ALL>", WRITE, Run::Gather(cancel), "Stops a run, or all."),
        sub(
            "explain",
            -2,
            "[SHARD shard | SLOT slot]",
            READ,
            Run::Gather(explain::explain),
            "Tells why nothing moves, or why this slot or shard is as it is.",
        ),
        sub(
            "help",
            2,
            "",
            flag::LOADING | flag::STALE,
            Run::Session(help),
            "Returns helpful text about the different subcommands.",
        ),
        sub(
            "history",
            -2,
            "[count] [FAILED]",
            READ,
            Run::Gather(history),
            "Lists what has been done.",
        ),
        sub(
            "pause",
            -2,
            "[seconds] [REASON reason]",
            WRITE,
            Run::Gather(pause),
            "Starts nothing until resumed, or for some seconds.",
        ),
        sub("pin", -3, "slots [slots ...]", WRITE, Run::Gather(pin), "Keeps slots where they are."),
        sub(
            "plan",
            -2,
            "[<TIER <THREAD | NODE> | ADD bytes | REMOVE shard | MAXBYTES bytes> [...]]",
            READ,
            Run::Gather(plan),
            "Computes what would be done, without doing it.",
        ),
        sub("resume", 2, "", WRITE, Run::Gather(resume), "Ends a pause."),
        sub(
            "run",
            -2,
            "[TIER <THREAD | NODE>] [NOW]",
            WRITE,
            Run::Gather(run),
            "Evaluates at once.",
        ),
        sub(
            "status",
            -2,
            "[TIER <THREAD | NODE>]",
            READ,
            Run::Gather(status),
            "Shows state, windows, spread, shards and what is queued.",
        ),
        sub(
            "unpin",
            -3,
            "slots [slots ...]",
            WRITE,
            Run::Gather(unpin),
            "Lets pinned slots move again.",
        ),
    ],
    ..Definition::BASE
}];

/// The words after the subcommand.
struct Words<'a> {
    args: Args<'a>,
    at: usize,
}

impl<'a> Words<'a> {
    fn new(args: Args<'a>) -> Words<'a> {
        Words { args, at: 2 }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.args.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Takes `word` if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let comes = self.args.get(self.at).is_some_and(|next| is(next, word));
        self.at += usize::from(comes);
        comes
    }

    fn number(&mut self) -> Result<u64, CommandError> {
        let word = self.next().ok_or(CommandError::Syntax)?;
        number::parse_u64(word).ok_or(CommandError::NotInteger)
    }

    fn end(mut self) -> Result<(), CommandError> {
        if self.next().is_some() { Err(CommandError::Syntax) } else { Ok(()) }
    }

    /// `TIER thread|node`: only the shards of this node are balanced here.
    fn tier(&mut self) -> Result<(), CommandError> {
        if !self.take("tier") {
            return Ok(());
        }
        match self.next() {
            Some(tier) if is(tier, "thread") => Ok(()),
            Some(tier) if is(tier, "node") => {
                Err(CommandError::other("ERR This server is not part of a cluster"))
            }
            _ => Err(CommandError::Syntax),
        }
    }
}

fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

/// Has `work` done by the coordinator, which has the machine.
async fn at_desk<T: Send + 'static>(
    cx: &Gathering<'_>,
    work: impl FnOnce(&mut Desk, Clock) -> T + Send + 'static,
) -> Result<T, CommandError> {
    let node = cx.node();
    let answer = node.balance.ask(node, work).await;
    answer.ok_or_else(|| CommandError::other("ERR The server is stopping"))
}

fn status<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        words.tier()?;
        words.end()?;
        let told = at_desk(&cx, |desk, clocks| desk.tell(clocks)).await?;
        write::status(&told, reply);
        Ok(())
    })
}

fn plan<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let (mut changes, mut bytes_max) = (Vec::new(), None);
        let mut next = cx.node().shards();
        loop {
            words.tier()?;
            if words.take("maxbytes") {
                bytes_max = Some(words.number()?);
            } else if words.take("add") {
                let capacity = words.number()?;
                changes.push(Change::Add(ShardLoad::new(Bin(next), capacity)));
                next = next.saturating_add(1);
            } else if words.take("remove") {
                let shard = known_shard(&cx, words.number()?)?;
                changes.push(Change::Remove(shard));
            } else {
                break;
            }
        }
        words.end()?;
        let propose = move |desk: &mut Desk, clocks| {
            let machine = &mut desk.machine;
            machine.propose(&changes, bytes_max, clocks)
        };
        let proposal = at_desk(&cx, propose)
            .await?
            .map_err(|reason| CommandError::other(format!("ERR {}", reason.sentence())))?;
        write::proposal(&proposal, reply);
        Ok(())
    })
}

fn known_shard(cx: &Gathering<'_>, shard: u64) -> Result<Bin, CommandError> {
    u16::try_from(shard)
        .ok()
        .filter(|shard| *shard < cx.node().shards())
        .map(Bin)
        .ok_or_else(|| CommandError::other("ERR No such shard"))
}

fn apply<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let id = words.number()?;
        let now = words.take("now");
        words.end()?;
        let applied = at_desk(&cx, move |desk, clocks| {
            let commands = desk.machine.apply(id, now, clocks)?;
            desk.commands.extend(commands);
            desk.at_once = true;
            Ok(())
        });
        match applied.await? {
            Ok(()) => {
                reply.ok();
                Ok(())
            }
            Err(ApplyError::EpochChanged(fresh)) => Err(CommandError::other(format!(
                "EPOCHCHANGED The slots have moved since this plan was made. BALANCER APPLY {} \
                 carries out a fresh one",
                fresh.id
            ))),
            Err(error) => Err(CommandError::other(format!("ERR {error}"))),
        }
    })
}

fn run<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        words.tier()?;
        let now = words.take("now");
        words.tier()?;
        words.end()?;
        let run = move |desk: &mut Desk, _| {
            desk.machine.run(now);
            desk.at_once = true;
        };
        at_desk(&cx, run).await?;
        reply.ok();
        Ok(())
    })
}

fn pause<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let mut seconds = None;
        if let Some(text) = args.get(2).filter(|text| !is(text, "reason")) {
            seconds = Some(number::parse_u64(text).ok_or(CommandError::NotInteger)?);
            words.next();
        }
        let mut why = String::new();
        if words.take("reason") {
            let text = words.next().ok_or(CommandError::Syntax)?;
            why = String::from_utf8_lossy(text).into_owned();
        }
        words.end()?;
        at_desk(&cx, move |desk, clocks| desk.machine.pause(seconds, &why, clocks)).await?;
        reply.ok();
        Ok(())
    })
}

fn resume<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let resume = |desk: &mut Desk, _| {
            desk.at_once = true;
            desk.machine.resume()
        };
        let was_paused = at_desk(&cx, resume).await?;
        reply.integer(i64::from(was_paused));
        Ok(())
    })
}

fn cancel<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let id = if words.take("all") { None } else { Some(words.number()?) };
        words.end()?;
        let cancel = move |desk: &mut Desk, clocks| {
            let commands = desk.machine.cancel(id, clocks);
            let is_done = !commands.is_empty();
            desk.commands.extend(commands);
            desk.at_once |= is_done;
            is_done
        };
        let is_done = at_desk(&cx, cancel).await?;
        reply.integer(i64::from(is_done));
        Ok(())
    })
}

/// The slots `12 17-30 …`.
fn slots(args: Args<'_>) -> Result<Vec<SlotId>, CommandError> {
    let mut slots = Vec::new();
    for word in args {
        let mut ends = word.splitn(2, |byte| *byte == b'-');
        let first = parse_slot(ends.next().unwrap_or_default())?;
        let last = ends.next().map_or(Ok(first), parse_slot)?;
        if first > last {
            return Err(CommandError::other(format!(
                "ERR Start slot number {first} is greater than end slot number {last}"
            )));
        }
        slots.extend((first..=last).map(SlotId));
    }
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}

fn pin<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let slots = slots(args.from(2))?;
        let count = slots.len();
        at_desk(&cx, move |desk, _| desk.machine.pin(&slots)).await?;
        reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(())
    })
}

fn unpin<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let slots = slots(args.from(2))?;
        let count = slots.len();
        at_desk(&cx, move |desk, _| desk.machine.unpin(&slots)).await?;
        reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(())
    })
}

fn history<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let mut count = usize::MAX;
        if let Some(text) = args.get(2).filter(|text| !is(text, "failed")) {
            let number = number::parse_u64(text).ok_or(CommandError::NotInteger)?;
            count = usize::try_from(number).unwrap_or(usize::MAX);
            words.next();
        }
        let failed = words.take("failed");
        words.end()?;
        let records = move |desk: &mut Desk, _| -> Vec<Record> {
            let all = desk.machine.history().newest_first();
            let wanted = all.filter(|record| !failed || write::failed(record));
            wanted.take(count).cloned().collect()
        };
        let records = at_desk(&cx, records).await?;
        reply.array(records.len());
        records.iter().for_each(|record| write::record(record, reply));
        Ok(())
    })
}

fn help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("BALANCER", super::help::BALANCER, reply);
    Ok(())
}
