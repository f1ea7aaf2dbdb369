//! Removing ranges of positions, scores or members.

use ballast_protocol::{Args, Reply};
use ballast_storage::Create;
use ballast_storage::types::Order;

use super::arguments::{integer, member_bound, score_bound};
use super::ranges::Span;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

pub(super) fn zremrangebyrank(
    cx: &mut Data<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let span = Span::Ranks(integer(args.at(2))?, integer(args.at(3))?);
    remove(cx, cx.key(1)?, span, "zremrangebyrank", reply)
}

pub(super) fn zremrangebyscore(
    cx: &mut Data<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let span = Span::Scores(score_bound(args.at(2))?, score_bound(args.at(3))?);
    remove(cx, cx.key(1)?, span, "zremrangebyscore", reply)
}

pub(super) fn zremrangebylex(
    cx: &mut Data<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let span = Span::Members(member_bound(args.at(2))?, member_bound(args.at(3))?);
    remove(cx, cx.key(1)?, span, "zremrangebylex", reply)
}

fn remove(
    cx: &mut Data<'_>,
    key: Located<'_>,
    span: Span<'_>,
    event: &'static str,
    reply: &mut Reply,
) -> CommandResult {
    let mut write = cx.write(key);
    let removed = write.zset(Create::OnlyExisting, |zset, _| {
        let ranks = span.ranks(zset.as_ref(), Order::Ascending);
        zset.remove_ranks(ranks, &mut |_, _| {})
    })?;
    let removed = removed.unwrap_or(0);
    write.changed_if(removed > 0, event);
    reply.integer(removed as i64);
    Ok(())
}
