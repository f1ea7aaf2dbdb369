//! `BALANCER`: what the balancer sees, what it would do and why not, and what operators tell it.

mod explain;
mod write;

use ballast_balancer::machine::{ApplyError, Change};
use ballast_balancer::model::{ShardId as Bin, ShardLoad, SlotId};
use ballast_protocol::{Args, CommandError, Reply, number};

use super::cluster::parse_slot;
use super::context::SessionContext;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::node::balance::clocks;

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
            Run::Session(apply),
            "Carries out a reviewed plan.",
        ),
        sub("cancel", 3, "<plan-id | ALL>", WRITE, Run::Session(cancel), "Stops a run, or all."),
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
            Run::Session(history),
            "Lists what has been done.",
        ),
        sub(
            "pause",
            -2,
            "[seconds] [REASON reason]",
            WRITE,
            Run::Session(pause),
            "Starts nothing until resumed, or for some seconds.",
        ),
        sub(
            "pin",
            -3,
            "slots [slots ...]",
            WRITE,
            Run::Session(pin),
            "Keeps slots where they are.",
        ),
        sub(
            "plan",
            -2,
            "[<TIER <THREAD | NODE> | ADD bytes | REMOVE shard | MAXBYTES bytes> [...]]",
            READ,
            Run::Session(plan),
            "Computes what would be done, without doing it.",
        ),
        sub("resume", 2, "", WRITE, Run::Session(resume), "Ends a pause."),
        sub(
            "run",
            -2,
            "[TIER <THREAD | NODE>] [NOW]",
            WRITE,
            Run::Session(run),
            "Evaluates at once.",
        ),
        sub(
            "status",
            -2,
            "[TIER <THREAD | NODE>]",
            READ,
            Run::Session(status),
            "Shows state, windows, spread, shards and what is queued.",
        ),
        sub(
            "unpin",
            -3,
            "slots [slots ...]",
            WRITE,
            Run::Session(unpin),
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

fn status(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut words = Words::new(args);
    words.tier()?;
    words.end()?;
    let shared = &cx.shard.node;
    let rebalance = shared.balance.lock();
    write::status(&rebalance.machine, clocks(shared), reply);
    Ok(())
}

fn plan(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let shared = &cx.shard.node;
    let mut rebalance = shared.balance.lock();
    let mut words = Words::new(args);
    let (mut changes, mut bytes_max) = (Vec::new(), None);
    loop {
        words.tier()?;
        if words.take("maxbytes") {
            bytes_max = Some(words.number()?);
        } else if words.take("add") {
            let capacity = words.number()?;
            let next = u16::try_from(shared.shards() as usize + changes.len()).unwrap_or(u16::MAX);
            changes.push(Change::Add(ShardLoad::new(Bin(next), capacity)));
        } else if words.take("remove") {
            let shard = words.number()?;
            let shard = u16::try_from(shard)
                .ok()
                .filter(|shard| *shard < shared.shards())
                .ok_or_else(|| CommandError::other("ERR No such shard"))?;
            changes.push(Change::Remove(Bin(shard)));
        } else {
            break;
        }
    }
    words.end()?;
    let proposal = rebalance
        .machine
        .propose(&changes, bytes_max, clocks(shared))
        .map_err(|reason| CommandError::other(format!("ERR {}", reason.sentence())))?;
    write::proposal(&proposal, reply);
    Ok(())
}

fn apply(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut words = Words::new(args);
    let id = words.number()?;
    let now = words.take("now");
    words.end()?;
    let shared = &cx.shard.node;
    let mut rebalance = shared.balance.lock();
    match rebalance.machine.apply(id, now, clocks(shared)) {
        Ok(commands) => {
            rebalance.commands.extend(commands);
            drop(rebalance);
            shared.relief.wake.notify_one();
            reply.ok();
            Ok(())
        }
        Err(ApplyError::EpochChanged(fresh)) => Err(CommandError::other(format!(
            "EPOCHCHANGED The slots have moved since this plan was made. BALANCER APPLY {} carries \
             out a fresh one",
            fresh.id
        ))),
        Err(error) => Err(CommandError::other(format!("ERR {error}"))),
    }
}

fn run(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut words = Words::new(args);
    words.tier()?;
    let now = words.take("now");
    words.tier()?;
    words.end()?;
    let shared = &cx.shard.node;
    {
        let mut rebalance = shared.balance.lock();
        rebalance.machine.run(now);
        rebalance.at_once = true;
    }
    shared.relief.wake.notify_one();
    reply.ok();
    Ok(())
}

fn pause(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
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
    let shared = &cx.shard.node;
    shared.balance.lock().machine.pause(seconds, &why, clocks(shared));
    reply.ok();
    Ok(())
}

fn resume(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let shared = &cx.shard.node;
    let was_paused = {
        let mut rebalance = shared.balance.lock();
        rebalance.at_once = true;
        rebalance.machine.resume()
    };
    shared.relief.wake.notify_one();
    reply.integer(i64::from(was_paused));
    Ok(())
}

fn cancel(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut words = Words::new(args);
    let id = if words.take("all") { None } else { Some(words.number()?) };
    words.end()?;
    let shared = &cx.shard.node;
    let mut rebalance = shared.balance.lock();
    let commands = rebalance.machine.cancel(id, clocks(shared));
    reply.integer(i64::from(!commands.is_empty()));
    rebalance.commands.extend(commands);
    drop(rebalance);
    shared.relief.wake.notify_one();
    Ok(())
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
    Ok(slots)
}

fn pin(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let slots = slots(args.from(2))?;
    cx.shard.node.balance.lock().machine.pin(&slots);
    reply.integer(i64::try_from(slots.len()).unwrap_or(i64::MAX));
    Ok(())
}

fn unpin(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let slots = slots(args.from(2))?;
    cx.shard.node.balance.lock().machine.unpin(&slots);
    reply.integer(i64::try_from(slots.len()).unwrap_or(i64::MAX));
    Ok(())
}

fn history(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut words = Words::new(args);
    let mut count = usize::MAX;
    if let Some(text) = args.get(2).filter(|text| !is(text, "failed")) {
        let number = number::parse_u64(text).ok_or(CommandError::NotInteger)?;
        count = usize::try_from(number).unwrap_or(usize::MAX);
        words.next();
    }
    let failed = words.take("failed");
    words.end()?;
    let rebalance = cx.shard.node.balance.lock();
    let records: Vec<_> = rebalance
        .machine
        .history()
        .newest_first()
        .filter(|record| !failed || write::failed(record))
        .take(count)
        .collect();
    reply.array(records.len());
    records.into_iter().for_each(|record| write::record(record, reply));
    Ok(())
}

fn help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("BALANCER", super::help::BALANCER, reply);
    Ok(())
}
