//! Ranges of positions, scores or members: returned, counted, stored.

use std::ops::Range;

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::zset::{limited, ranks_by_index};
use ballast_storage::types::{MemberBound, Order, ScoreBound, ZSet, ZSetRef};

use super::arguments::{integer, member_bound, score_bound};
use super::{Scores, open_members, store, write_member};
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

/// What the ends of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

/// The part of a sorted set that a command names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span<'a> {
    /// Positions in the order of the command; negative ones count from the end.
    Ranks(i64, i64),
    /// Scores, the lower end first.
    Scores(ScoreBound, ScoreBound),
    /// Members, the lower end first.
    Members(MemberBound<'a>, MemberBound<'a>),
}

impl Span<'_> {
    /// The ascending ranks of the members in it.
    pub(super) fn ranks(self, zset: ZSetRef<'_>, order: Order) -> Range<usize> {
        match self {
            Span::Ranks(start, stop) => ranks_by_index(start, stop, zset.len(), order),
            Span::Scores(min, max) => zset.ranks_by_score(min, max),
            Span::Members(min, max) => zset.ranks_by_member(min, max),
        }
    }
}

/// A parsed range command.
struct Query<'a> {
    span: Span<'a>,
    order: Order,
    /// `LIMIT`: how many to leave out, and how many to return at most.
    limit: Option<(usize, usize)>,
    scores: Scores,
}

impl Query<'_> {
    fn ranks(&self, zset: ZSetRef<'_>) -> Range<usize> {
        let ranks = self.span.ranks(zset, self.order);
        match self.limit {
            Some((offset, count)) => limited(ranks, offset, count, self.order),
            None => ranks,
        }
    }
}

/// What a command's name fixes of its query; `ZRANGE` takes the rest from its options.
#[derive(Clone, Copy, Default)]
struct Fixed {
    by: Option<By>,
    order: Option<Order>,
    /// `ZRANGESTORE`: no `WITHSCORES`.
    stores: bool,
}

/// Parses `min max [options]`, which begin at argument `first`.
fn parse(args: Args<'_>, first: usize, fixed: Fixed) -> Result<Query<'_>, CommandError> {
    let Fixed { mut by, mut order, stores } = fixed;
    let mut scores = Scores::Without;
    let (mut offset, mut count) = (0, -1);
    let mut at = first + 2;
    while let Some(word) = args.get(at) {
        match word.to_ascii_lowercase().as_slice() {
            b"withscores" if !stores => scores = Scores::With,
            b"limit" if at + 2 < args.len() => {
                offset = integer(args.at(at + 1))?;
                count = integer(args.at(at + 2))?;
                at += 2;
            }
            b"rev" if order.is_none() => order = Some(Order::Descending),
            b"bylex" if by.is_none() => by = Some(By::Member),
            b"byscore" if by.is_none() => by = Some(By::Score),
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    let order = order.unwrap_or(Order::Ascending);
    let by = by.unwrap_or(By::Rank);
    if count != -1 && by == By::Rank {
        return Err(CommandError::other(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if scores == Scores::With && by == By::Member {
        return Err(CommandError::other(
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ));
    }
    let (left, right) = (args.at(first), args.at(first + 1));
    let (low, high) = match order {
        Order::Ascending => (left, right),
        Order::Descending => (right, left),
    };
    let span = match by {
        By::Rank => Span::Ranks(integer(left)?, integer(right)?),
        By::Score => Span::Scores(score_bound(low)?, score_bound(high)?),
        By::Member => Span::Members(member_bound(low)?, member_bound(high)?),
    };
    // A negative offset leaves nothing, a negative count everything.
    let limit = (by != By::Rank).then(|| {
        (
            usize::try_from(offset).unwrap_or(usize::MAX),
            usize::try_from(count).unwrap_or(usize::MAX),
        )
    });
    Ok(Query { span, order, limit, scores })
}

fn range(cx: &mut Data<'_>, args: Args<'_>, fixed: Fixed, reply: &mut Reply) -> CommandResult {
    let query = parse(args, 2, fixed)?;
    let Some(zset) = cx.read_zset(cx.key(1)?)? else {
        reply.array(0);
        return Ok(());
    };
    let members = zset.range(query.ranks(zset), query.order);
    open_members(reply, members.len(), query.scores);
    for (member, score) in members {
        write_member(reply, member, score, query.scores);
    }
    Ok(())
}

pub(super) fn zrange(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    range(cx, args, Fixed::default(), reply)
}

pub(super) fn zrevrange(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    fixed_range(cx, args, By::Rank, Order::Descending, reply)
}

pub(super) fn zrangebyscore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    fixed_range(cx, args, By::Score, Order::Ascending, reply)
}

pub(super) fn zrevrangebyscore(
    cx: &mut Data<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    fixed_range(cx, args, By::Score, Order::Descending, reply)
}

pub(super) fn zrangebylex(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    fixed_range(cx, args, By::Member, Order::Ascending, reply)
}

pub(super) fn zrevrangebylex(
    cx: &mut Data<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    fixed_range(cx, args, By::Member, Order::Descending, reply)
}

fn fixed_range(
    cx: &mut Data<'_>,
    args: Args<'_>,
    by: By,
    order: Order,
    reply: &mut Reply,
) -> CommandResult {
    range(cx, args, Fixed { by: Some(by), order: Some(order), stores: false }, reply)
}

pub(super) fn zrangestore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let query = parse(args, 3, Fixed { stores: true, ..Fixed::default() })?;
    let limits = cx.limits();
    let mut result = ZSet::new();
    if let Some(zset) = cx.read_zset(cx.key(2)?)? {
        for (member, score) in zset.range(query.ranks(zset), Order::Ascending) {
            member.with_bytes(|member| result.insert(member, score, &limits));
        }
    }
    reply.integer(result.len() as i64);
    store(cx, cx.key(1)?, result, "zrangestore");
    Ok(())
}

pub(super) fn zcount(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let span = Span::Scores(score_bound(args.at(2))?, score_bound(args.at(3))?);
    count(cx, cx.key(1)?, span, reply)
}

pub(super) fn zlexcount(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let span = Span::Members(member_bound(args.at(2))?, member_bound(args.at(3))?);
    count(cx, cx.key(1)?, span, reply)
}

fn count(cx: &mut Data<'_>, key: Located<'_>, span: Span<'_>, reply: &mut Reply) -> CommandResult {
    let zset = cx.read_zset(key)?;
    let members = zset.map_or(0, |zset| span.ranks(zset, Order::Ascending).len());
    reply.integer(members as i64);
    Ok(())
}
