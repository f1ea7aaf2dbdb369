//! Hashes: the table, and what the parts of the family share.

mod read;
mod walk;
mod write;

use ballast_protocol::Reply;
use ballast_storage::types::Element;

use super::table::{ALWAYS, Access, Definition, FEW, Group, ONE, Run, flag};

const BASE: Definition = Definition { group: Group::Hash, keys: ONE, ..Definition::BASE };

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "hdel",
        syntax: "key field [field ...]",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW delete")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(write::hdel),
        since: "2.0.0",
        complexity: "O(N) in the number of fields named",
        summary: "Deletes fields of a hash; deletes the key with its last field.",
        ..BASE
    },
    Definition {
        name: "hexists",
        syntax: "key field",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 3,
        run: Run::Data(read::hexists),
        since: "2.0.0",
        summary: "Tells whether a hash has a field.",
        ..BASE
    },
    Definition {
        name: "hget",
        syntax: "key field",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        constant: 3,
        run: Run::Data(read::hget),
        since: "2.0.0",
        summary: "Returns the value of a field of a hash.",
        ..BASE
    },
    Definition {
        name: "hgetall",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY,
        run: Run::Data(read::hgetall),
        tips: &["nondeterministic_output_order"],
        since: "2.0.0",
        complexity: "O(N) in the size of the hash",
        summary: "Returns all fields of a hash with their values.",
        ..BASE
    },
    Definition {
        name: "hincrby",
        syntax: "key field increment",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 4,
        repeats: ALWAYS,
        run: Run::Data(write::hincrby),
        since: "2.0.0",
        summary: "Adds to an integer in a hash; a missing field counts as 0.",
        ..BASE
    },
    Definition {
        name: "hincrbyfloat",
        syntax: "key field increment:double",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 4,
        run: Run::Data(write::hincrbyfloat),
        since: "2.6.0",
        summary: "Adds to a floating-point number in a hash; a missing field counts as 0.",
        ..BASE
    },
    Definition {
        name: "hkeys",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY,
        run: Run::Data(read::hkeys),
        tips: &["nondeterministic_output_order"],
        since: "2.0.0",
        complexity: "O(N) in the size of the hash",
        summary: "Returns all fields of a hash.",
        ..BASE
    },
    Definition {
        name: "hlen",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 2,
        run: Run::Data(read::hlen),
        since: "2.0.0",
        summary: "Returns the number of fields of a hash.",
        ..BASE
    },
    Definition {
        name: "hmget",
        syntax: "key field [field ...]",
        arity: -3,
        flags: flag::READONLY | flag::FAST,
        constant: FEW,
        run: Run::Data(read::hmget),
        since: "2.0.0",
        complexity: "O(N) in the number of fields named",
        summary: "Returns the values of several fields of a hash.",
        ..BASE
    },
    Definition {
        name: "hmset",
        syntax: "key field value [field value ...]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW update")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(write::hmset),
        since: "2.0.0",
        complexity: "O(N) in the number of fields",
        summary: "Sets fields of a hash; HSET's old form.",
        ..BASE
    },
    Definition {
        name: "hrandfield",
        syntax: "key [count [WITHVALUES]]",
        arity: -2,
        flags: flag::READONLY,
        run: Run::Data(walk::hrandfield),
        tips: &["nondeterministic_output"],
        since: "6.2.0",
        complexity: "O(N) in the number of fields returned",
        summary: "Returns fields of a hash chosen at random.",
        ..BASE
    },
    Definition {
        name: "hscan",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        arity: -3,
        flags: flag::READONLY,
        run: Run::Data(walk::hscan),
        tips: &["nondeterministic_output"],
        since: "2.8.0",
        complexity: "O(1) a call, O(N) for the whole hash",
        summary: "Walks through the fields of a hash with a cursor.",
        ..BASE
    },
    Definition {
        name: "hset",
        syntax: "key field value [field value ...]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW update")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(write::hset),
        since: "2.0.0",
        complexity: "O(N) in the number of fields",
        summary: "Sets fields of a hash; makes the hash if there is none.",
        ..BASE
    },
    Definition {
        name: "hsetnx",
        syntax: "key field value",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: 4,
        repeats: ALWAYS,
        run: Run::Data(write::hsetnx),
        since: "2.0.0",
        summary: "Sets a field of a hash, if the hash does not have it.",
        ..BASE
    },
    Definition {
        name: "hstrlen",
        syntax: "key field",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 3,
        run: Run::Data(read::hstrlen),
        since: "3.2.0",
        summary: "Returns the length of the value of a field of a hash.",
        ..BASE
    },
    Definition {
        name: "hvals",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY,
        run: Run::Data(read::hvals),
        tips: &["nondeterministic_output_order"],
        since: "2.0.0",
        complexity: "O(N) in the size of the hash",
        summary: "Returns all values of a hash.",
        ..BASE
    },
];

/// Replies with a field or a value.
#[inline]
fn write_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(number) => reply.bulk_integer(number),
    }
}
