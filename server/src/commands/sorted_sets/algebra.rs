//! Union, intersection and difference of sorted sets and sets, returned or stored.

use std::cmp::Ordering;
use std::ops::Range;

use ahash::AHashMap;
use ballast_protocol::number::{parse_f64, parse_i64};
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Value;
use ballast_storage::types::{Element, SetRef, ZSet, ZSetRef};

use super::arguments::integer;
use super::{Scores, open_members, store, write_member};
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

/// What to do with the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

impl Operation {
    /// The event of the key that it is stored in.
    fn event(self) -> &'static str {
        match self {
            Operation::Union => "zunionstore",
            Operation::Inter => "zinterstore",
            Operation::Diff => "zdiffstore",
        }
    }
}

/// `AGGREGATE`: what becomes of a member's scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number(a + b),
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            Aggregate::Min | Aggregate::Max => a,
        }
    }
}

/// What is no number (0 times infinity, the difference of infinities) counts as 0.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input. A set counts as a sorted set whose scores are all 1.
#[derive(Clone, Copy)]
enum Input<'a> {
    Empty,
    ZSet(ZSetRef<'a>),
    Set(SetRef<'a>),
}

impl<'a> Input<'a> {
    fn len(self) -> usize {
        match self {
            Input::Empty => 0,
            Input::ZSet(zset) => zset.len(),
            Input::Set(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Input::Empty => None,
            Input::ZSet(zset) => zset.score(member),
            Input::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Calls `f` with every member until it answers false.
    fn each(self, mut f: impl FnMut(Element<'a>, f64) -> bool) {
        match self {
            Input::Empty => {}
            Input::ZSet(zset) => {
                let _ = zset.iter().all(|(member, score)| f(member, score));
            }
            Input::Set(set) => {
                let _ = set.iter().all(|member| f(member, 1.0));
            }
        }
    }
}

/// An input with the factor of its scores.
type Weighted<'a> = (Input<'a>, f64);

/// Which options a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// `WITHSCORES`
    Reply,
    Store,
    /// `LIMIT`
    Cardinality,
}

/// The parsed options.
struct Options {
    weights: Option<Vec<f64>>,
    aggregate: Aggregate,
    scores: Scores,
    /// 0: none.
    limit: usize,
}

/// The positions of the keys of a command whose number of keys is argument `at`.
fn keys(cx: &Data<'_>, args: Args<'_>, at: usize) -> Result<Range<usize>, CommandError> {
    let keys = integer(args.at(at))?;
    if keys < 1 {
        let name = &cx.command.full_name;
        return Err(CommandError::other(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        )));
    }
    let first = at + 1;
    match usize::try_from(keys) {
        Ok(keys) if keys <= args.len() - first => Ok(first..first + keys),
        _ => Err(CommandError::Syntax),
    }
}

/// Reads all keys: they must be sorted sets or sets.
fn touch_all(cx: &mut Data<'_>, keys: &Range<usize>) -> CommandResult {
    for at in keys.clone() {
        match cx.read(cx.key(at)?) {
            None | Some(Value::ZSet(_) | Value::Set(_)) => {}
            Some(_) => return Err(CommandError::WrongType),
        }
    }
    Ok(())
}

fn options(
    args: Args<'_>,
    keys: usize,
    operation: Operation,
    output: Output,
) -> Result<Options, CommandError> {
    let mut options =
        Options { weights: None, aggregate: Aggregate::Sum, scores: Scores::Without, limit: 0 };
    let combines = operation != Operation::Diff && output != Output::Cardinality;
    let mut at = 0;
    while let Some(word) = args.get(at) {
        let left = args.len() - at;
        match word.to_ascii_lowercase().as_slice() {
            b"weights" if combines && left > keys => {
                let weights = args.from(at + 1).first(keys);
                let weights = weights.iter().map(|weight| {
                    parse_f64(weight).ok_or(CommandError::other("ERR weight value is not a float"))
                });
                options.weights = Some(weights.collect::<Result<_, _>>()?);
                at += keys;
            }
            b"aggregate" if combines && left >= 2 => {
                options.aggregate = match args.at(at + 1).to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err(CommandError::Syntax),
                };
                at += 1;
            }
            b"withscores" if output == Output::Reply => options.scores = Scores::With,
            b"limit" if output == Output::Cardinality && left >= 2 => {
                options.limit = parse_i64(args.at(at + 1))
                    .and_then(|limit| usize::try_from(limit).ok())
                    .ok_or(CommandError::other("ERR LIMIT can't be negative"))?;
                at += 1;
            }
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    Ok(options)
}

/// The inputs with their weights. All keys have been read, so none of them is expired.
fn inputs<'c>(
    cx: &'c Data<'_>,
    keys: Range<usize>,
    weights: Option<&[f64]>,
) -> Result<Vec<Weighted<'c>>, CommandError> {
    let weight = |at: usize| weights.map_or(1.0, |weights| weights[at]);
    let input = |(at, key): (usize, usize)| {
        let input = match cx.seen(cx.key(key)?) {
            Some(Value::ZSet(zset)) => Input::ZSet(zset),
            Some(Value::Set(set)) => Input::Set(set),
            _ => Input::Empty,
        };
        Ok((input, weight(at)))
    };
    keys.enumerate().map(input).collect()
}

/// A result: members with their scores, in the order of a sorted set.
type Members = Vec<(Vec<u8>, f64)>;

fn combine(operation: Operation, aggregate: Aggregate, mut inputs: Vec<Weighted<'_>>) -> Members {
    // The order of additions is Redis's: the smallest input first.
    if operation != Operation::Diff {
        inputs.sort_by_key(|(input, _)| input.len());
    }
    let mut members = match operation {
        Operation::Union => union(aggregate, &inputs),
        Operation::Inter => intersection(aggregate, &inputs),
        Operation::Diff => difference(&inputs),
    };
    // No score is NaN, and -0 equals 0.
    let by_score = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    members.sort_unstable_by(|a, b| by_score(a.1, b.1).then_with(|| a.0.cmp(&b.0)));
    members
}

fn union(aggregate: Aggregate, inputs: &[Weighted<'_>]) -> Members {
    let mut scores: AHashMap<Vec<u8>, f64> = AHashMap::new();
    for (input, weight) in inputs {
        input.each(|member, score| {
            let score = number(weight * score);
            member.with_bytes(|member| match scores.get_mut(member) {
                Some(old) => *old = aggregate.apply(*old, score),
                None => {
                    scores.insert(member.to_vec(), score);
                }
            });
            true
        });
    }
    scores.into_iter().collect()
}

fn intersection(aggregate: Aggregate, inputs: &[Weighted<'_>]) -> Members {
    let mut members = Members::new();
    each_common(inputs, |member, scores| {
        let (first, rest) = scores.split_first().expect("a score for each input");
        let score = rest.iter().fold(number(*first), |sum, score| aggregate.apply(sum, *score));
        members.push((member.to_vec(), score));
        true
    });
    members
}

/// Calls `f` with every member of all inputs and its weighted scores, until it answers false.
/// The first input should be the smallest.
fn each_common(inputs: &[Weighted<'_>], mut f: impl FnMut(&[u8], &[f64]) -> bool) {
    let Some(((first, first_weight), rest)) = inputs.split_first() else { return };
    let mut scores = Vec::with_capacity(inputs.len());
    first.each(|member, score| {
        member.with_bytes(|member| {
            scores.clear();
            scores.push(first_weight * score);
            let others =
                rest.iter().map(|(input, weight)| input.score(member).map(|score| weight * score));
            for score in others {
                match score {
                    Some(score) => scores.push(score),
                    None => return true,
                }
            }
            f(member, &scores)
        })
    });
}

fn difference(inputs: &[Weighted<'_>]) -> Members {
    let mut members = Members::new();
    let Some(((first, _), rest)) = inputs.split_first() else { return members };
    first.each(|member, score| {
        member.with_bytes(|member| {
            if rest.iter().all(|(input, _)| input.score(member).is_none()) {
                members.push((member.to_vec(), score));
            }
        });
        true
    });
    members
}

fn reply_with(
    cx: &mut Data<'_>,
    args: Args<'_>,
    operation: Operation,
    reply: &mut Reply,
) -> CommandResult {
    let keys = keys(cx, args, 1)?;
    touch_all(cx, &keys)?;
    let options = options(args.from(2 + keys.len()), keys.len(), operation, Output::Reply)?;
    let inputs = inputs(cx, keys, options.weights.as_deref())?;
    let members = combine(operation, options.aggregate, inputs);
    open_members(reply, members.len(), options.scores);
    for (member, score) in &members {
        write_member(reply, Element::Bytes(member), *score, options.scores);
    }
    Ok(())
}

fn store_result(
    cx: &mut Data<'_>,
    args: Args<'_>,
    operation: Operation,
    reply: &mut Reply,
) -> CommandResult {
    let keys = keys(cx, args, 2)?;
    touch_all(cx, &keys)?;
    let options = options(args.from(3 + keys.len()), keys.len(), operation, Output::Store)?;
    let inputs = inputs(cx, keys, options.weights.as_deref())?;
    let members = combine(operation, options.aggregate, inputs);
    let limits = cx.limits();
    let mut zset = ZSet::new();
    for (member, score) in &members {
        zset.insert(member, *score, &limits);
    }
    store(cx, cx.key(1)?, zset, operation.event());
    reply.integer(members.len() as i64);
    Ok(())
}

pub(super) fn zunion(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply_with(cx, args, Operation::Union, reply)
}

pub(super) fn zinter(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply_with(cx, args, Operation::Inter, reply)
}

pub(super) fn zdiff(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply_with(cx, args, Operation::Diff, reply)
}

pub(super) fn zunionstore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    store_result(cx, args, Operation::Union, reply)
}

pub(super) fn zinterstore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    store_result(cx, args, Operation::Inter, reply)
}

pub(super) fn zdiffstore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    store_result(cx, args, Operation::Diff, reply)
}

pub(super) fn zintercard(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let keys = keys(cx, args, 1)?;
    touch_all(cx, &keys)?;
    let rest = args.from(2 + keys.len());
    let options = options(rest, keys.len(), Operation::Inter, Output::Cardinality)?;
    let mut inputs = inputs(cx, keys, None)?;
    inputs.sort_by_key(|(input, _)| input.len());
    let mut found = 0;
    each_common(&inputs, |_, _| {
        found += 1;
        found != options.limit
    });
    reply.integer(found as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ballast_storage::types::Limits;

    use super::*;

    fn zset(members: &[(&str, f64)]) -> ZSet {
        let mut zset = ZSet::new();
        for (member, score) in members {
            zset.insert(member.as_bytes(), *score, &Limits::default());
        }
        zset
    }

    fn names(members: &Members) -> Vec<(&str, f64)> {
        members.iter().map(|(name, score)| (str::from_utf8(name).unwrap(), *score)).collect()
    }

    #[test]
    fn scores_are_weighted_and_combined() {
        let a = zset(&[("x", 1.0), ("y", 2.0)]);
        let b = zset(&[("y", 10.0), ("z", 20.0), ("1", 0.0)]);
        let inputs = vec![(Input::ZSet(b.as_ref()), 1.0), (Input::ZSet(a.as_ref()), 2.0)];
        let union = combine(Operation::Union, Aggregate::Sum, inputs.clone());
        assert_eq!(names(&union), [("1", 0.0), ("x", 2.0), ("y", 14.0), ("z", 20.0)]);
        let inter = combine(Operation::Inter, Aggregate::Min, inputs.clone());
        assert_eq!(names(&inter), [("y", 4.0)]);
        let diff = combine(Operation::Diff, Aggregate::Sum, inputs);
        assert_eq!(names(&diff), [("1", 0.0), ("z", 20.0)]);
    }

    #[test]
    fn what_is_no_number_counts_as_zero() {
        let high = zset(&[("m", f64::INFINITY)]);
        let low = zset(&[("m", f64::NEG_INFINITY)]);
        let inputs = vec![(Input::ZSet(high.as_ref()), 1.0), (Input::ZSet(low.as_ref()), 1.0)];
        for operation in [Operation::Union, Operation::Inter] {
            let result = combine(operation, Aggregate::Sum, inputs.clone());
            assert_eq!(names(&result), [("m", 0.0)]);
        }
        let inputs = vec![(Input::ZSet(high.as_ref()), 0.0)];
        let result = combine(Operation::Union, Aggregate::Sum, inputs);
        assert_eq!(names(&result), [("m", 0.0)]);
    }
}
