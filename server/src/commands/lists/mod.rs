//! Lists: the table of the family. What its commands do is in the modules below.

mod arguments;
mod blocking;
mod ends;
mod moves;
mod places;

use ballast_protocol::Reply;
use ballast_storage::types::{Element, Limits, List, ListRef};

use super::table::{ALWAYS, Access, Definition, FEW, Group, KeySpec, ONE, Run, TWO, flag};

const BASE: Definition = Definition { group: Group::List, keys: ONE, ..Definition::BASE };

/// The end of a list that is pushed to or popped from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl End {
    /// `LEFT` or `RIGHT`.
    fn parse(word: &[u8]) -> Option<End> {
        if word.eq_ignore_ascii_case(b"left") {
            Some(End::Left)
        } else if word.eq_ignore_ascii_case(b"right") {
            Some(End::Right)
        } else {
            None
        }
    }

    /// `LEFT` or `RIGHT`.
    fn word(self) -> &'static [u8] {
        match self {
            End::Left => b"LEFT",
            End::Right => b"RIGHT",
        }
    }

    /// The event of a list that got something at this end, named after the command.
    fn push_event(self) -> &'static str {
        match self {
            End::Left => "lpush",
            End::Right => "rpush",
        }
    }

    /// The event of a list that lost something at this end, named after the command.
    fn pop_event(self) -> &'static str {
        match self {
            End::Left => "lpop",
            End::Right => "rpop",
        }
    }

    fn push(self, list: &mut List, value: &[u8], limits: &Limits) {
        match self {
            End::Left => list.push_front(value, limits),
            End::Right => list.push_back(value, limits),
        }
    }

    /// What the element at this end has at most, in bytes.
    fn element_bytes_max(self, list: &List) -> usize {
        match self {
            End::Left => list.as_ref().first_bytes_max(),
            End::Right => list.as_ref().last_bytes_max(),
        }
    }

    /// The element at this end.
    fn look(self, list: ListRef<'_>) -> Option<Vec<u8>> {
        let at = match self {
            End::Left => 0,
            End::Right => -1,
        };
        list.get(at).map(Element::to_vec)
    }

    fn pop(self, list: &mut List, limits: &Limits) -> Option<Vec<u8>> {
        match self {
            End::Left => list.pop_front(limits),
            End::Right => list.pop_back(limits),
        }
    }

    /// Takes up to `count` elements off this end and writes them as an array.
    fn pop_many(self, list: &mut List, count: usize, limits: &Limits, reply: &mut Reply) {
        let len = list.len();
        let count = count.min(len);
        reply.array(count);
        if count == 1 {
            if let Some(value) = self.pop(list, limits) {
                reply.bulk(&value);
            }
            return;
        }
        let (taken, start) = match self {
            End::Left => (0..count, count),
            End::Right => (len - count..len, 0),
        };
        let written = list.as_ref().range(taken.start as i64, taken.end as i64 - 1);
        match self {
            End::Left => written.for_each(|element| write_element(reply, element)),
            End::Right => {
                let written: Vec<_> = written.collect();
                written.into_iter().rev().for_each(|element| write_element(reply, element));
            }
        }
        let kept = len - count;
        if kept == 0 {
            *list = List::new();
        } else {
            list.trim(start as i64, (start + kept - 1) as i64, limits);
        }
    }
}

/// Writes an element, kept in binary or not.
#[inline]
fn write_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(value) => reply.bulk_integer(value),
    }
}

/// Flags of a command that may wait for a list to get elements.
const WAITS: u32 = flag::WRITE | flag::NOSCRIPT | flag::BLOCKING;

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "blmove",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        arity: 6,
        flags: WAITS | flag::DENYOOM,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("RW insert")],
        run: Run::Data(blocking::blmove),
        since: "6.2.0",
        summary: "Moves an element from one end of a list to an end of another, waiting for one \
                  if necessary.",
        ..BASE
    },
    Definition {
        name: "blmpop",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        arity: -5,
        flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 2 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(blocking::blmpop),
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of keys and M the number of elements popped.",
        summary: "Pops elements from the first of several lists that has any, waiting for one if \
                  necessary.",
        ..BASE
    },
    Definition {
        name: "blpop",
        syntax: "key [key ...] timeout",
        arity: -3,
        flags: WAITS,
        keys: KeySpec::Range { first: 1, last: -2, step: 1 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(blocking::blpop),
        since: "2.0.0",
        complexity: "O(N) where N is the number of keys.",
        summary: "Pops the first element of the first of several lists that has any, waiting for \
                  one if necessary.",
        ..BASE
    },
    Definition {
        name: "brpop",
        syntax: "key [key ...] timeout",
        arity: -3,
        flags: WAITS,
        keys: KeySpec::Range { first: 1, last: -2, step: 1 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(blocking::brpop),
        since: "2.0.0",
        complexity: "O(N) where N is the number of keys.",
        summary: "Pops the last element of the first of several lists that has any, waiting for \
                  one if necessary.",
        ..BASE
    },
    Definition {
        name: "brpoplpush",
        syntax: "source destination timeout",
        arity: 4,
        flags: WAITS | flag::DENYOOM,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("RW insert")],
        run: Run::Data(blocking::brpoplpush),
        since: "2.2.0",
        summary: "Moves the last element of a list to the front of another, waiting for one if \
                  necessary.",
        ..BASE
    },
    Definition {
        name: "lindex",
        syntax: "key index",
        arity: 3,
        flags: flag::READONLY,
        run: Run::Data(places::lindex),
        complexity: "O(N) where N is the number of elements on the way to the index; O(1) for \
                     the first and the last.",
        summary: "Returns the element at an index of a list.",
        ..BASE
    },
    Definition {
        name: "linsert",
        syntax: "key <BEFORE | AFTER> pivot element",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("RW insert")],
        repeats: ALWAYS,
        run: Run::Data(places::linsert),
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements on the way to the pivot.",
        summary: "Inserts an element before or after another one of a list.",
        ..BASE
    },
    Definition {
        name: "llen",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 2,
        run: Run::Data(ends::llen),
        summary: "Returns the length of a list.",
        ..BASE
    },
    Definition {
        name: "lmove",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("RW insert")],
        run: Run::Data(moves::lmove),
        since: "6.2.0",
        summary: "Moves an element from one end of a list to an end of another.",
        ..BASE
    },
    Definition {
        name: "lmpop",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        arity: -4,
        flags: flag::WRITE | flag::MOVABLEKEYS,
        keys: KeySpec::Counted { destination: None, count: 1 },
        access: &[Access::to("RW access delete")],
        run: Run::Data(ends::lmpop),
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of keys and M the number of elements popped.",
        summary: "Pops elements from the first of several lists that has any.",
        ..BASE
    },
    Definition {
        name: "lpop",
        syntax: "key [count]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access delete")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(ends::lpop),
        complexity: "O(N) where N is the number of elements popped.",
        summary: "Removes the first elements of a list and returns them.",
        ..BASE
    },
    Definition {
        name: "lpos",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        arity: -3,
        flags: flag::READONLY,
        run: Run::Data(places::lpos),
        since: "6.0.6",
        complexity: "O(N) where N is the number of elements looked at.",
        summary: "Returns the indexes of matching elements of a list.",
        ..BASE
    },
    Definition {
        name: "lpush",
        syntax: "key element [element ...]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(ends::lpush),
        complexity: "O(1) for each element added, so O(N) to add N elements.",
        summary: "Puts elements in front of a list, which is created if it doesn't exist.",
        ..BASE
    },
    Definition {
        name: "lpushx",
        syntax: "key element [element ...]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(ends::lpushx),
        since: "2.2.0",
        complexity: "O(1) for each element added, so O(N) to add N elements.",
        summary: "Puts elements in front of a list if it exists.",
        ..BASE
    },
    Definition {
        name: "lrange",
        syntax: "key start stop",
        arity: 4,
        flags: flag::READONLY,
        run: Run::Data(places::lrange),
        complexity: "O(S+N) where S is the distance of the first element from an end and N the \
                     number of elements returned.",
        summary: "Returns a range of elements of a list.",
        ..BASE
    },
    Definition {
        name: "lrem",
        syntax: "key count element",
        arity: 4,
        flags: flag::WRITE,
        access: &[Access::to("RW delete")],
        repeats: ALWAYS,
        run: Run::Data(places::lrem),
        complexity: "O(N+M) where N is the length of the list and M the number of elements \
                     removed.",
        summary: "Removes matching elements of a list, and the list with its last element.",
        ..BASE
    },
    Definition {
        name: "lset",
        syntax: "key index element",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("RW update")],
        repeats: ALWAYS,
        run: Run::Data(places::lset),
        complexity: "O(N) where N is the length of the list; O(1) for the first and the last \
                     element.",
        summary: "Replaces the element at an index of a list.",
        ..BASE
    },
    Definition {
        name: "ltrim",
        syntax: "key start stop",
        arity: 4,
        flags: flag::WRITE,
        access: &[Access::to("RW delete")],
        repeats: ALWAYS,
        run: Run::Data(places::ltrim),
        complexity: "O(N) where N is the number of elements removed.",
        summary: "Removes the elements on both sides of a range of a list, and the list if none \
                  is left.",
        ..BASE
    },
    Definition {
        name: "rpop",
        syntax: "key [count]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access delete")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(ends::rpop),
        complexity: "O(N) where N is the number of elements popped.",
        summary: "Removes the last elements of a list and returns them.",
        ..BASE
    },
    Definition {
        name: "rpoplpush",
        syntax: "source destination",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("RW insert")],
        run: Run::Data(moves::rpoplpush),
        since: "1.2.0",
        summary: "Moves the last element of a list to the front of another.",
        ..BASE
    },
    Definition {
        name: "rpush",
        syntax: "key element [element ...]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(ends::rpush),
        complexity: "O(1) for each element added, so O(N) to add N elements.",
        summary: "Appends elements to a list, which is created if it doesn't exist.",
        ..BASE
    },
    Definition {
        name: "rpushx",
        syntax: "key element [element ...]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: FEW,
        repeats: ALWAYS,
        run: Run::Data(ends::rpushx),
        since: "2.2.0",
        complexity: "O(1) for each element added, so O(N) to add N elements.",
        summary: "Appends elements to a list if it exists.",
        ..BASE
    },
];
