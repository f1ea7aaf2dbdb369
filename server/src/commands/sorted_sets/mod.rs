//! Sorted sets: the table of the family. What its commands do is in the modules below.

mod algebra;
mod arguments;
mod members;
mod pop;
mod ranges;
mod removal;
mod sample;

use ballast_protocol::{Protocol, Reply};
use ballast_storage::Collection;
use ballast_storage::types::{Element, ZSet};

use super::context::Data;
use super::table::{ALWAYS, Access, Definition, FEW, Group, KeySpec, ONE, Run, TWO, flag};
use crate::engine::write::Located;

const BASE: Definition = Definition { group: Group::SortedSet, keys: ONE, ..Definition::BASE };

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "bzmpop",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        arity: -5,
        flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 2 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(pop::bzmpop),
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of keys, N the members of the \
                     sorted set and M those popped",
        summary: "Pops members with the lowest or highest scores from the first of several sorted \
                  sets that has any, waiting for one if necessary.",
        ..BASE
    },
    Definition {
        name: "bzpopmax",
        syntax: "key [key ...] timeout",
        arity: -3,
        flags: flag::WRITE | flag::FAST | flag::BLOCKING | flag::NOSCRIPT,
        keys: KeySpec::Range { first: 1, last: -2, step: 1 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(pop::bzpopmax),
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of members",
        summary: "Pops the member with the highest score from the first of several sorted sets \
                  that has any, waiting for one if necessary.",
        ..BASE
    },
    Definition {
        name: "bzpopmin",
        syntax: "key [key ...] timeout",
        arity: -3,
        flags: flag::WRITE | flag::FAST | flag::BLOCKING | flag::NOSCRIPT,
        keys: KeySpec::Range { first: 1, last: -2, step: 1 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(pop::bzpopmin),
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of members",
        summary: "Pops the member with the lowest score from the first of several sorted sets \
                  that has any, waiting for one if necessary.",
        ..BASE
    },
    Definition {
        name: "zadd",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW update")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(members::zadd),
        since: "1.2.0",
        complexity: "O(log(N)) for each member added, N being the number of members",
        summary: "Adds members to a sorted set, or changes their scores.",
        ..BASE
    },
    Definition {
        name: "zcard",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 2,
        run: Run::Data(members::zcard),
        since: "1.2.0",
        summary: "Counts the members of a sorted set.",
        ..BASE
    },
    Definition {
        name: "zcount",
        syntax: "key min:double max:double",
        arity: 4,
        flags: flag::READONLY | flag::FAST,
        constant: 4,
        run: Run::Data(ranges::zcount),
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of members",
        summary: "Counts the members of a sorted set within a range of scores.",
        ..BASE
    },
    Definition {
        name: "zdiff",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        arity: -3,
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        run: Run::Data(algebra::zdiff),
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) with L members in all sets, N in the first and K in the \
                     result",
        summary: "Returns the members of a sorted set that are in none of the others.",
        ..BASE
    },
    Definition {
        name: "zdiffstore",
        syntax: "destination numkeys key [key ...]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: Some(1), count: 2 },
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(algebra::zdiffstore),
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) with L members in all sets, N in the first and K in the \
                     result",
        summary: "Stores the members of a sorted set that are in none of the others.",
        ..BASE
    },
    Definition {
        name: "zincrby",
        syntax: "key increment member",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 4,
        repeats: ALWAYS,
        run: Run::Data(members::zincrby),
        since: "1.2.0",
        complexity: "O(log(N)) with N being the number of members",
        summary: "Adds to the score of a member of a sorted set.",
        ..BASE
    },
    Definition {
        name: "zinter",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] \
                 [WITHSCORES]",
        arity: -3,
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        run: Run::Data(algebra::zinter),
        since: "6.2.0",
        complexity: "O(N*K)+O(M*log(M)) with N members in the smallest of K sorted sets and M in \
                     the result",
        summary: "Returns the members that several sorted sets have in common.",
        ..BASE
    },
    Definition {
        name: "zintercard",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        arity: -3,
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        run: Run::Data(algebra::zintercard),
        since: "7.0.0",
        complexity: "O(N*K) with N members in the smallest of K sorted sets",
        summary: "Counts the members that several sorted sets have in common.",
        ..BASE
    },
    Definition {
        name: "zinterstore",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | \
                 MIN | MAX>]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: Some(1), count: 2 },
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(algebra::zinterstore),
        since: "2.0.0",
        complexity: "O(N*K)+O(M*log(M)) with N members in the smallest of K sorted sets and M in \
                     the result",
        summary: "Stores the members that several sorted sets have in common.",
        ..BASE
    },
    Definition {
        name: "zlexcount",
        syntax: "key min max",
        arity: 4,
        flags: flag::READONLY | flag::FAST,
        constant: 4,
        run: Run::Data(ranges::zlexcount),
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of members",
        summary: "Counts the members of a sorted set within a lexicographical range.",
        ..BASE
    },
    Definition {
        name: "zmpop",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        arity: -4,
        flags: flag::WRITE | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(pop::zmpop),
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of keys, N the members of the \
                     sorted set and M those popped",
        summary: "Pops members with the lowest or highest scores from the first of several sorted \
                  sets that has any.",
        ..BASE
    },
    Definition {
        name: "zmscore",
        syntax: "key member [member ...]",
        arity: -3,
        flags: flag::READONLY | flag::FAST,
        constant: FEW,
        run: Run::Data(members::zmscore),
        since: "6.2.0",
        complexity: "O(N) with N being the number of members asked for",
        summary: "Returns the scores of several members of a sorted set.",
        ..BASE
    },
    Definition {
        name: "zpopmax",
        syntax: "key [count]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access delete")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(pop::zpopmax),
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of members and M those popped",
        summary: "Pops the members with the highest scores from a sorted set.",
        ..BASE
    },
    Definition {
        name: "zpopmin",
        syntax: "key [count]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access delete")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(pop::zpopmin),
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of members and M those popped",
        summary: "Pops the members with the lowest scores from a sorted set.",
        ..BASE
    },
    Definition {
        name: "zrandmember",
        syntax: "key [count [WITHSCORES]]",
        arity: -2,
        flags: flag::READONLY,
        run: Run::Data(sample::zrandmember),
        tips: &["nondeterministic_output"],
        since: "6.2.0",
        complexity: "O(N) with N being the number of members returned",
        summary: "Returns random members of a sorted set.",
        ..BASE
    },
    Definition {
        name: "zrange",
        syntax: "key start:string stop:string [BYSCORE | BYLEX] [REV] [LIMIT offset count] \
                 [WITHSCORES]",
        arity: -4,
        flags: flag::READONLY,
        run: Run::Data(ranges::zrange),
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M those returned",
        summary: "Returns the members of a sorted set within a range.",
        ..BASE
    },
    Definition {
        name: "zrangebylex",
        syntax: "key min max [LIMIT offset count]",
        arity: -4,
        flags: flag::READONLY,
        run: Run::Data(ranges::zrangebylex),
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of members and M those returned",
        summary: "Returns the members of a sorted set within a lexicographical range.",
        ..BASE
    },
    Definition {
        name: "zrangebyscore",
        syntax: "key min:double max:double [WITHSCORES] [LIMIT offset count]",
        arity: -4,
        flags: flag::READONLY,
        run: Run::Data(ranges::zrangebyscore),
        since: "1.0.5",
        complexity: "O(log(N)+M) with N being the number of members and M those returned",
        summary: "Returns the members of a sorted set within a range of scores.",
        ..BASE
    },
    Definition {
        name: "zrangestore",
        syntax: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: TWO,
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(ranges::zrangestore),
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M those stored",
        summary: "Stores the members of a sorted set within a range under another key.",
        ..BASE
    },
    Definition {
        name: "zrank",
        syntax: "key member [WITHSCORE]",
        arity: -3,
        flags: flag::READONLY | flag::FAST,
        constant: 4,
        run: Run::Data(members::zrank),
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the position of a member in a sorted set, lowest score first.",
        ..BASE
    },
    Definition {
        name: "zrem",
        syntax: "key member [member ...]",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW delete")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(members::zrem),
        since: "1.2.0",
        complexity: "O(M*log(N)) with N being the number of members and M those removed",
        summary: "Removes members from a sorted set.",
        ..BASE
    },
    Definition {
        name: "zremrangebylex",
        syntax: "key min max",
        arity: 4,
        flags: flag::WRITE,
        access: &[Access::to("RW delete")],
        repeats: ALWAYS,
        run: Run::Data(removal::zremrangebylex),
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of members and M those removed",
        summary: "Removes the members of a sorted set within a lexicographical range.",
        ..BASE
    },
    Definition {
        name: "zremrangebyrank",
        syntax: "key start stop",
        arity: 4,
        flags: flag::WRITE,
        access: &[Access::to("RW delete")],
        repeats: ALWAYS,
        run: Run::Data(removal::zremrangebyrank),
        since: "2.0.0",
        complexity: "O(log(N)+M) with N being the number of members and M those removed",
        summary: "Removes the members of a sorted set within a range of positions.",
        ..BASE
    },
    Definition {
        name: "zremrangebyscore",
        syntax: "key min:double max:double",
        arity: 4,
        flags: flag::WRITE,
        access: &[Access::to("RW delete")],
        repeats: ALWAYS,
        run: Run::Data(removal::zremrangebyscore),
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M those removed",
        summary: "Removes the members of a sorted set within a range of scores.",
        ..BASE
    },
    Definition {
        name: "zrevrange",
        syntax: "key start stop [WITHSCORES]",
        arity: -4,
        flags: flag::READONLY,
        run: Run::Data(ranges::zrevrange),
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M those returned",
        summary: "Returns the members of a sorted set within a range of positions, highest score \
                  first.",
        ..BASE
    },
    Definition {
        name: "zrevrangebylex",
        syntax: "key max min [LIMIT offset count]",
        arity: -4,
        flags: flag::READONLY,
        run: Run::Data(ranges::zrevrangebylex),
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of members and M those returned",
        summary: "Returns the members of a sorted set within a lexicographical range, in reverse \
                  order.",
        ..BASE
    },
    Definition {
        name: "zrevrangebyscore",
        syntax: "key max:double min:double [WITHSCORES] [LIMIT offset count]",
        arity: -4,
        flags: flag::READONLY,
        run: Run::Data(ranges::zrevrangebyscore),
        since: "2.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M those returned",
        summary: "Returns the members of a sorted set within a range of scores, highest score \
                  first.",
        ..BASE
    },
    Definition {
        name: "zrevrank",
        syntax: "key member [WITHSCORE]",
        arity: -3,
        flags: flag::READONLY | flag::FAST,
        constant: 4,
        run: Run::Data(members::zrevrank),
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the position of a member in a sorted set, highest score first.",
        ..BASE
    },
    Definition {
        name: "zscan",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        arity: -3,
        flags: flag::READONLY,
        run: Run::Data(sample::zscan),
        tips: &["nondeterministic_output"],
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a complete iteration",
        summary: "Iterates over the members and scores of a sorted set.",
        ..BASE
    },
    Definition {
        name: "zscore",
        syntax: "key member",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        constant: 3,
        run: Run::Data(members::zscore),
        since: "1.2.0",
        summary: "Returns the score of a member of a sorted set.",
        ..BASE
    },
    Definition {
        name: "zunion",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] \
                 [WITHSCORES]",
        arity: -3,
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        run: Run::Data(algebra::zunion),
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)) with N members in all sorted sets and M in the result",
        summary: "Returns the members of several sorted sets together.",
        ..BASE
    },
    Definition {
        name: "zunionstore",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | \
                 MIN | MAX>]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: Some(1), count: 2 },
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(algebra::zunionstore),
        since: "2.0.0",
        complexity: "O(N)+O(M*log(M)) with N members in all sorted sets and M in the result",
        summary: "Stores the members of several sorted sets together.",
        ..BASE
    },
];

/// Whether members are returned with their scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scores {
    /// `WITHSCORES`
    With,
    /// Members only.
    Without,
}

/// Opens the array of `len` members.
fn open_members(reply: &mut Reply, len: usize, scores: Scores) {
    let flat = scores == Scores::With && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { len * 2 } else { len });
}

/// One member of the array; RESP3 pairs it with its score.
fn write_member(reply: &mut Reply, member: Element<'_>, score: f64, scores: Scores) {
    if scores == Scores::With && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    member.with_bytes(|member| reply.bulk(member));
    if scores == Scores::With {
        reply.double(score);
    }
}

/// Makes `zset` the value of `key`, or removes the key if it is empty.
fn store(cx: &mut Data<'_>, key: Located<'_>, zset: ZSet, event: &'static str) {
    if zset.is_empty() {
        cx.write(key).remove("del");
        return;
    }
    let mut write = cx.write(key);
    write.insert_collection(Collection::ZSet(zset));
    write.changed(event);
}
