//! `SORT` and `SORT_RO`.
//!
//! The patterns of `BY` and `GET` name keys that only the elements tell, which may be in any
//! slot: with such patterns the commands ask for all slots (see [`reaches_other_slots`]).

use std::cmp::Ordering;

use ballast_protocol::number::{parse_f64, parse_i64};
use ballast_protocol::slot::key_slot;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::{Element, List, Order};
use ballast_storage::{Collection, Value};

use super::context::Data;
use super::table::{Access, CommandResult, Definition, Group, KeySpec, Run, flag};
use crate::engine::write::Located;

const BASE: Definition = Definition {
    arity: -2,
    keys: KeySpec::FirstAnd(destination),
    all_slots_if: Some(reaches_other_slots),
    group: Group::Generic,
    complexity: "O(N+M*log(M)) where N is the number of elements and M the number of elements \
                 returned.",
    ..Definition::BASE
};

const FLAGS: u32 = flag::MOVABLEKEYS | flag::DANGEROUS | flag::ALL_SLOTS;
const CATEGORIES: Option<&[&str]> = Some(&["@set", "@sortedset", "@list"]);
const PATTERNS: Access = Access::to("RO access")
    .noted("The keys of BY and GET patterns: their names come out of what is sorted.")
    .anywhere();
const STORE: Access =
    Access::to("OW update").noted("The key after STORE, wherever that stands.").anywhere();

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "sort",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | \
                 DESC] [ALPHA] [STORE destination]",
        flags: flag::WRITE | flag::DENYOOM | FLAGS,
        categories: CATEGORIES,
        access: &[Access::to("RO access"), PATTERNS, STORE],
        run: Run::Data(sort),
        summary: "Sorts the elements of a list, set or sorted set, and returns or stores them.",
        ..BASE
    },
    Definition {
        name: "sort_ro",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | \
                 DESC] [ALPHA]",
        flags: flag::READONLY | FLAGS,
        keys: super::table::ONE,
        categories: CATEGORIES,
        access: &[Access::to("RO access"), PATTERNS],
        run: Run::Data(sort_read_only),
        since: "7.0.0",
        summary: "Sorts the elements of a list, set or sorted set and returns them.",
        ..BASE
    },
];

/// The arguments.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request<'a> {
    descending: bool,
    alphabetic: bool,
    /// `BY` something without a star: the elements stay in their order.
    unsorted: bool,
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    /// `LIMIT offset count`
    limit: Option<(i64, i64)>,
    /// The position of the destination among the options.
    store: Option<usize>,
}

impl<'a> Request<'a> {
    /// Parses what follows the key. `STORE` is an option of `SORT` only; there it is parsed even
    /// if the command turns out to be the other.
    fn parse(options: Args<'a>) -> Result<Request<'a>, CommandError> {
        let (request, error) = Request::read(options);
        error.map_or(Ok(request), Err)
    }

    /// The options as far as they make sense, and the first fault in them.
    fn read(options: Args<'a>) -> (Request<'a>, Option<CommandError>) {
        let mut request = Request::default();
        let mut error = None;
        let mut at = 0;
        while let Some(word) = options.get(at) {
            let value = options.get(at + 1);
            let taken = match (word.to_ascii_lowercase().as_slice(), value) {
                (b"asc", _) => {
                    request.descending = false;
                    1
                }
                (b"desc", _) => {
                    request.descending = true;
                    1
                }
                (b"alpha", _) => {
                    request.alphabetic = true;
                    1
                }
                (b"limit", Some(offset)) if at + 2 < options.len() => {
                    request.limit = parse_i64(offset).zip(parse_i64(options.at(at + 2)));
                    if request.limit.is_none() {
                        error.get_or_insert(CommandError::NotInteger);
                    }
                    3
                }
                (b"store", Some(_)) => {
                    request.store = Some(at + 1);
                    2
                }
                (b"by", Some(pattern)) => {
                    request.unsorted |= !pattern.contains(&b'*');
                    request.by = Some(pattern);
                    2
                }
                (b"get", Some(pattern)) => {
                    request.get.push(pattern);
                    2
                }
                _ => return (request, Some(error.unwrap_or(CommandError::Syntax))),
            };
            at += taken;
        }
        (request, error)
    }

    /// The patterns that name keys: the one to sort by, if it does, and those to get.
    fn patterns(&self) -> impl Iterator<Item = &'a [u8]> {
        let by = self.by.filter(|_| !self.unsorted);
        by.into_iter().chain(self.get.iter().copied()).filter(|pattern| pattern.contains(&b'*'))
    }

    /// The part of `len` elements that is wanted.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let (offset, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(offset.max(0)).map_or(len, |offset| offset.min(len));
        let end = usize::try_from(count).map_or(len, |count| start.saturating_add(count).min(len));
        start..end
    }
}

/// Where the options begin.
const OPTIONS: usize = 2;

/// The position of the key to store the result at.
fn destination(args: Args<'_>) -> Option<usize> {
    Some(OPTIONS + Request::read(args.from(OPTIONS)).0.store?)
}

/// Whether some pattern names keys of other slots than the first key's.
fn reaches_other_slots(args: Args<'_>) -> bool {
    // What cannot be parsed is refused before it reaches anything.
    let Ok(request) = Request::parse(args.from(OPTIONS)) else { return false };
    let slot = key_slot(args.at(1));
    request.patterns().any(|pattern| pattern_slot(pattern) != Some(slot))
}

/// The slot of all keys that a pattern names, if its hash tag stands before the star.
fn pattern_slot(pattern: &[u8]) -> Option<u16> {
    let fixed = pattern.split(|byte| *byte == b'*').next()?;
    let open = fixed.iter().position(|byte| *byte == b'{')?;
    let tag = fixed[open + 1..].iter().position(|byte| *byte == b'}')?;
    (tag > 0).then(|| key_slot(fixed))
}

fn sort_read_only(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let request = Request::parse(args.from(OPTIONS))?;
    if request.store.is_some() {
        return Err(CommandError::Syntax);
    }
    run(cx, cx.key(1)?, request, reply)
}

fn sort(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let request = Request::parse(args.from(OPTIONS))?;
    run(cx, cx.key(1)?, request, reply)
}

fn run(
    cx: &mut Data<'_>,
    key: Located<'_>,
    mut request: Request<'_>,
    reply: &mut Reply,
) -> CommandResult {
    refuse_in_cluster(cx, key, &request)?;
    let mut elements = read(cx, key, &mut request)?;
    let wanted = request.range(elements.len());
    if !request.unsorted {
        elements = sorted(cx, elements, &request)?;
    }
    let elements = &elements[wanted];
    let Some(destination) = request.store else {
        reply.array(elements.len() * request.get.len().max(1));
        return each_output(cx, elements, &request.get, &mut |output| match output {
            Some(output) => reply.bulk(output),
            None => reply.null(),
        });
    };
    let limits = cx.limits();
    let mut list = List::new();
    each_output(cx, elements, &request.get, &mut |output| {
        list.push_back(output.unwrap_or_default(), &limits);
    })?;
    let destination = cx.key(OPTIONS + destination)?;
    reply.integer(list.len() as i64);
    store(cx, destination, list);
    Ok(())
}

/// A cluster's node has not all slots, so a pattern must stay in the key's.
fn refuse_in_cluster(cx: &Data<'_>, key: Located<'_>, request: &Request<'_>) -> CommandResult {
    if !cx.config().cluster_enabled {
        return Ok(());
    }
    let slot = key.slot;
    match request.patterns().find(|pattern| pattern_slot(pattern) != Some(slot)) {
        None => Ok(()),
        Some(pattern) if Some(pattern) == request.by => {
            Err(CommandError::other("ERR BY option of SORT denied in cluster mode."))
        }
        Some(_) => Err(CommandError::other("ERR GET option of SORT denied in cluster mode.")),
    }
}

/// The elements, in the order that they have without sorting.
fn read(
    cx: &mut Data<'_>,
    key: Located<'_>,
    request: &mut Request<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    Ok(match cx.read(key) {
        None => Vec::new(),
        Some(Value::List(list)) => {
            let mut elements: Vec<Vec<u8>> = list.iter().map(Element::to_vec).collect();
            if request.unsorted && request.descending {
                elements.reverse();
            }
            elements
        }
        Some(Value::Set(set)) => {
            if request.unsorted && request.store.is_some() {
                // What is stored must not depend on the order in which a set happens to be.
                request.unsorted = false;
                request.alphabetic = true;
                request.by = None;
            }
            set.iter().map(Element::to_vec).collect()
        }
        Some(Value::ZSet(zset)) => {
            let order = match request.descending {
                true => Order::Descending,
                false => Order::Ascending,
            };
            zset.range(0..zset.len(), order).map(|(member, _)| member.to_vec()).collect()
        }
        Some(_) => return Err(CommandError::WrongType),
    })
}

fn sorted(
    cx: &mut Data<'_>,
    elements: Vec<Vec<u8>>,
    request: &Request<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let direction = |order: Ordering| if request.descending { order.reverse() } else { order };
    if request.alphabetic {
        let Some(by) = request.by else {
            let mut elements = elements;
            elements.sort_by(|a, b| direction(a.cmp(b)));
            return Ok(elements);
        };
        let mut keyed = Vec::with_capacity(elements.len());
        for element in elements {
            keyed.push((look_up(cx, by, &element)?, element));
        }
        keyed.sort_by(|(a, _), (b, _)| direction(a.cmp(b)));
        return Ok(keyed.into_iter().map(|(_, element)| element).collect());
    }
    let mut keyed = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match request.by {
            None => weight(&element)?,
            Some(by) => look_up(cx, by, &element)?.map_or(Ok(0.0), |text| weight(&text))?,
        };
        keyed.push((weight, element));
    }
    keyed.sort_by(|(a, element_a), (b, element_b)| {
        let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
        direction(order.then_with(|| element_a.cmp(element_b)))
    });
    Ok(keyed.into_iter().map(|(_, element)| element).collect())
}

/// A number to sort by, read as by C's `strtod`: blanks may stand before it, a zero byte ends
/// it, and nothing at all is 0.
fn weight(text: &[u8]) -> Result<f64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
    parse_f64(&text[blanks..])
        .ok_or(CommandError::other("ERR One or more scores can't be converted into double"))
}

/// Calls `f` with what is to be returned or stored for each element.
fn each_output(
    cx: &mut Data<'_>,
    elements: &[Vec<u8>],
    patterns: &[&[u8]],
    f: &mut dyn FnMut(Option<&[u8]>),
) -> CommandResult {
    for element in elements {
        if patterns.is_empty() {
            f(Some(element));
        }
        for pattern in patterns {
            if *pattern == b"#" {
                f(Some(element));
            } else {
                f(look_up(cx, pattern, element)?.as_deref());
            }
        }
    }
    Ok(())
}

/// The value that `pattern` means for `element`: of the string at the key that results from
/// putting it in the star's place, or of a field of the hash there (`key*->field`).
fn look_up(
    cx: &mut Data<'_>,
    pattern: &[u8],
    element: &[u8],
) -> Result<Option<Vec<u8>>, CommandError> {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return Ok(None) };
    let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = rest.windows(2).position(|two| two == b"->").filter(|at| at + 2 < rest.len());
    let (suffix, field) = match arrow {
        Some(at) => (&rest[..at], Some(&rest[at + 2..])),
        None => (rest, None),
    };
    let key = [prefix, element, suffix].concat();
    Ok(match (cx.read(cx.locate(&key)?), field) {
        (Some(Value::Str(text)), None) => Some(text.to_vec()),
        (Some(Value::Int(number)), None) => Some(Element::Int(number).to_vec()),
        (Some(Value::Hash(hash)), Some(field)) => hash.get(field).map(Element::to_vec),
        _ => None,
    })
}

/// Puts the result where `STORE` says; an empty one leaves nothing there.
fn store(cx: &mut Data<'_>, destination: Located<'_>, list: List) {
    if list.is_empty() {
        cx.write(destination).remove("del");
        return;
    }
    let mut write = cx.write(destination);
    write.insert_collection(Collection::List(list));
    write.changed("sortstore");
}

#[cfg(test)]
mod tests {
    use ballast_protocol::ArgsBuf;

    use super::*;

    #[test]
    fn only_patterns_with_a_star_reach_other_slots() {
        let reaches = |line: &str| reaches_other_slots(ArgsBuf::new(line.split(' ')).view());
        for line in [
            "SORT l",
            "SORT l BY nosort",
            "SORT l BY nosort GET # GET plain",
            "SORT l STORE w_*",
            "SORT l LIMIT 0 10 ALPHA DESC STORE by",
            "SORT {l}1 BY {l}w_* GET x{l}*->field",
            "SORT l BY w_* FOO",
            "SORT l BY",
        ] {
            assert!(!reaches(line), "{line}");
        }
        for line in [
            "SORT l BY w_*",
            "SORT l by w_*->f",
            "SORT l BY nosort GET # GET d_*",
            "SORT {l}1 BY {m}w_*",
            "SORT {l}1 BY w_*{l}",
            "SORT {l}1 BY {l*}",
            "SORT {l}1 BY {}{l}*",
        ] {
            assert!(reaches(line), "{line}");
        }
    }

    #[test]
    fn limits_stay_inside() {
        for (limit, range) in [
            (None, 0..5),
            (Some((1, 2)), 1..3),
            (Some((-1, 2)), 0..2),
            (Some((3, -1)), 3..5),
            (Some((9, 1)), 5..5),
            (Some((i64::MAX, i64::MAX)), 5..5),
            (Some((i64::MIN, i64::MIN)), 0..5),
            (Some((2, 0)), 2..2),
        ] {
            assert_eq!(Request { limit, ..Request::default() }.range(5), range, "{limit:?}");
        }
    }

    #[test]
    fn weights_are_read_as_by_strtod() {
        for (text, value) in [("", 0.0), (" 1.5", 1.5), ("2\0x", 2.0), ("\0", 0.0), ("0x10", 16.0)]
        {
            assert_eq!(weight(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in [" ", "1 ", "x", "nan", "1e400"] {
            assert!(weight(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
