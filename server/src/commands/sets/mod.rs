//! Sets: the table of the family. What its commands do is in the modules below.

mod algebra;
mod members;
mod sample;

use ballast_protocol::Reply;
use ballast_storage::types::Element;

use super::table::{ALWAYS, Access, Definition, FEW, Group, KeySpec, ONE, REST, Run, TWO, flag};

const BASE: Definition = Definition { group: Group::Set, keys: ONE, arity: -3, ..Definition::BASE };

/// Writes a member, kept in binary or not.
#[inline]
fn write_member(reply: &mut Reply, member: Element<'_>) {
    match member {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(value) => reply.bulk_integer(value),
    }
}

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "sadd",
        syntax: "key member [member ...]",
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(members::sadd),
        complexity: "O(1) for each member added, so O(N) to add N members.",
        summary: "Adds members to a set, which is created if it doesn't exist.",
        ..BASE
    },
    Definition {
        name: "scard",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 2,
        run: Run::Data(members::scard),
        summary: "Returns the number of members of a set.",
        ..BASE
    },
    Definition {
        name: "sdiff",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::READONLY,
        keys: REST,
        run: Run::Data(algebra::sdiff),
        tips: &["nondeterministic_output_order"],
        complexity: "O(N) where N is the total number of members in all sets.",
        summary: "Returns the members of the first set that are in none of the others.",
        ..BASE
    },
    Definition {
        name: "sdiffstore",
        syntax: "destination key [key ...]",
        flags: flag::WRITE | flag::DENYOOM,
        keys: REST,
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(algebra::sdiffstore),
        complexity: "O(N) where N is the total number of members in all sets.",
        summary: "Stores the members of the first set that are in none of the others in a key.",
        ..BASE
    },
    Definition {
        name: "sinter",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::READONLY,
        keys: REST,
        run: Run::Data(algebra::sinter),
        tips: &["nondeterministic_output_order"],
        complexity: "O(N*M) at worst, where N is the size of the smallest set and M the number \
                     of sets.",
        summary: "Returns the members that all of several sets have.",
        ..BASE
    },
    Definition {
        name: "sintercard",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        run: Run::Data(algebra::sintercard),
        since: "7.0.0",
        complexity: "O(N*M) at worst, where N is the size of the smallest set and M the number \
                     of sets.",
        summary: "Returns the number of members that all of several sets have.",
        ..BASE
    },
    Definition {
        name: "sinterstore",
        syntax: "destination key [key ...]",
        flags: flag::WRITE | flag::DENYOOM,
        keys: REST,
        access: &[Access::to("RW update"), Access::to("RO access")],
        run: Run::Data(algebra::sinterstore),
        complexity: "O(N*M) at worst, where N is the size of the smallest set and M the number \
                     of sets.",
        summary: "Stores the members that all of several sets have in a key.",
        ..BASE
    },
    Definition {
        name: "sismember",
        syntax: "key member",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 3,
        run: Run::Data(members::sismember),
        summary: "Tells whether a set has a member.",
        ..BASE
    },
    Definition {
        name: "smembers",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY,
        run: Run::Data(members::smembers),
        tips: &["nondeterministic_output_order"],
        complexity: "O(N) where N is the number of members.",
        summary: "Returns all members of a set.",
        ..BASE
    },
    Definition {
        name: "smismember",
        syntax: "key member [member ...]",
        flags: flag::READONLY | flag::FAST,
        constant: FEW,
        run: Run::Data(members::smismember),
        since: "6.2.0",
        complexity: "O(N) where N is the number of members asked for.",
        summary: "Tells of each of several members whether a set has it.",
        ..BASE
    },
    Definition {
        name: "smove",
        syntax: "source destination member",
        arity: 4,
        flags: flag::WRITE | flag::FAST,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("RW insert")],
        constant: 4,
        run: Run::Data(members::smove),
        summary: "Moves a member from one set to another.",
        ..BASE
    },
    Definition {
        name: "spop",
        syntax: "key [count]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access delete")],
        constant: 2,
        run: Run::Data(sample::spop),
        tips: &["nondeterministic_output"],
        complexity: "O(1) without a count, otherwise O(N) where N is the count.",
        summary: "Removes random members of a set and returns them.",
        ..BASE
    },
    Definition {
        name: "srandmember",
        syntax: "key [count]",
        arity: -2,
        flags: flag::READONLY,
        run: Run::Data(sample::srandmember),
        tips: &["nondeterministic_output"],
        complexity: "O(1) without a count, otherwise O(N) where N is the absolute count.",
        summary: "Returns random members of a set.",
        ..BASE
    },
    Definition {
        name: "srem",
        syntax: "key member [member ...]",
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW delete")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(members::srem),
        complexity: "O(N) where N is the number of members to remove.",
        summary: "Removes members from a set, and the set with its last member.",
        ..BASE
    },
    Definition {
        name: "sscan",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        flags: flag::READONLY,
        run: Run::Data(members::sscan),
        tips: &["nondeterministic_output"],
        since: "2.8.0",
        complexity: "O(1) for a call, O(N) for a whole iteration over N members.",
        summary: "Iterates over the members of a set.",
        ..BASE
    },
    Definition {
        name: "sunion",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::READONLY,
        keys: REST,
        run: Run::Data(algebra::sunion),
        tips: &["nondeterministic_output_order"],
        complexity: "O(N) where N is the total number of members in all sets.",
        summary: "Returns the members that any of several sets has.",
        ..BASE
    },
    Definition {
        name: "sunionstore",
        syntax: "destination key [key ...]",
        flags: flag::WRITE | flag::DENYOOM,
        keys: REST,
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(algebra::sunionstore),
        complexity: "O(N) where N is the total number of members in all sets.",
        summary: "Stores the members that any of several sets has in a key.",
        ..BASE
    },
];
