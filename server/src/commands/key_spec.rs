//! Where a command's keys are among its arguments, and what it does to them: for routing, and for
//! the key specifications of `COMMAND INFO`.

use ballast_protocol::slot::key_slot;
use ballast_protocol::{Args, number};
use smallvec::SmallVec;

/// Where a command's keys stand among its arguments (0 = the command's name).
/// Finds the positions of keys among a command's arguments as its handler does.
pub(crate) type Parse = fn(Args<'_>) -> Option<usize>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum KeySpec {
    /// It has none.
    None,
    /// `first..=last` in steps of `step`; a negative `last` counts from the end.
    Range {
        /// First key.
        first: usize,
        /// Last key; -1 is the last argument.
        last: isize,
        /// Distance of one key to the next.
        step: usize,
    },
    /// An argument at `count` says how many keys follow it; `first` keys may stand before.
    Counted {
        /// A destination key before the count, if any.
        destination: Option<usize>,
        /// Position of the number of keys; the keys follow at once.
        count: usize,
    },
    /// The first argument, and where the command's own parser says.
    FirstAnd(Parse),
}

/// One key.
pub(crate) const ONE: KeySpec = KeySpec::Range { first: 1, last: 1, step: 1 };
/// Two keys.
pub(crate) const TWO: KeySpec = KeySpec::Range { first: 1, last: 2, step: 1 };
/// All arguments are keys.
pub(crate) const REST: KeySpec = KeySpec::Range { first: 1, last: -1, step: 1 };
/// The key of an `OBJECT`-like container.
pub(crate) const SECOND: KeySpec = KeySpec::Range { first: 2, last: 2, step: 1 };

impl KeySpec {
    /// The slots of a command's keys, ascending and without repeats.
    pub(crate) fn slots(self, args: Args<'_>) -> SmallVec<[u16; 8]> {
        let mut slots = SmallVec::new();
        self.each(args, |at| slots.push(key_slot(args.at(at))));
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Calls `f` with the position of every key in `args`. Positions that the arguments do not
    /// reach are left out; the handler answers for the malformed command.
    pub(crate) fn each(self, args: Args<'_>, mut f: impl FnMut(usize)) {
        match self {
            KeySpec::None => {}
            KeySpec::Range { first, last, step } => {
                let end = if last >= 0 {
                    last.unsigned_abs() + 1
                } else {
                    (args.len() + 1).saturating_sub(last.unsigned_abs())
                };
                let mut at = first;
                while at < end.min(args.len()) {
                    f(at);
                    at += step;
                }
            }
            KeySpec::Counted { destination, count } => {
                if let Some(at) = destination.filter(|at| *at < args.len()) {
                    f(at);
                }
                let keys = args
                    .get(count)
                    .and_then(number::parse_i64)
                    .and_then(|keys| usize::try_from(keys).ok())
                    .unwrap_or(0);
                let end = count.saturating_add(1).saturating_add(keys).min(args.len());
                (count + 1..end).for_each(f);
            }
            KeySpec::FirstAnd(parse) => {
                if args.len() > 1 {
                    f(1);
                }
                if let Some(at) = parse(args) {
                    f(at);
                }
            }
        }
    }
}

impl KeySpec {
    /// Whether the argument at this position is a key, as [`Self::each`] tells it.
    pub(crate) fn names(self, args: Args<'_>, at: usize) -> bool {
        match self {
            // Without going through what may be a million keys.
            KeySpec::Range { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => last + 1,
                    Err(_) => (args.len() + 1).saturating_sub(last.unsigned_abs()),
                };
                (first..end.min(args.len())).contains(&at) && (at - first).is_multiple_of(step)
            }
            other => {
                let mut found = false;
                other.each(args, |key| found |= key == at);
                found
            }
        }
    }

    /// Whether argument 1 is the first key.
    #[inline]
    pub(crate) fn begins_with_first(self) -> bool {
        match self {
            KeySpec::Range { first: 1, .. } | KeySpec::FirstAnd(_) => true,
            KeySpec::Counted { destination, .. } => destination == Some(1),
            KeySpec::Range { .. } | KeySpec::None => false,
        }
    }

    /// Whether argument 1 is the only key.
    pub(crate) fn is_first_only(self) -> bool {
        matches!(self, KeySpec::Range { first: 1, last: 1, .. })
    }

    /// Whether the arguments have as many keys as they say, and at least one.
    pub(crate) fn all_there(self, args: Args<'_>) -> bool {
        let KeySpec::Counted { count, .. } = self else { return true };
        let keys = args.get(count).and_then(number::parse_i64);
        let there = args.len().saturating_sub(count + 1);
        keys.and_then(|keys| usize::try_from(keys).ok()).is_some_and(|n| (1..=there).contains(&n))
    }
}

/// What a command does to the keys of one key specification, in the words of `COMMAND INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The specification's flags, with blanks between.
    pub(crate) flags: &'static str,
    /// What a reader of the flags should know.
    pub(crate) notes: &'static str,
    /// Nobody can tell from the arguments where these keys are.
    pub(crate) is_anywhere: bool,
}

impl Access {
    /// `RO`, `RW`, `OW` (overwrites) or `RM` (removes), and which of `access`, `update`, `insert`
    /// and `delete` it does with the value.
    pub(crate) const fn to(flags: &'static str) -> Access {
        Access { flags, notes: "", is_anywhere: false }
    }

    /// With notes.
    pub(crate) const fn noted(self, notes: &'static str) -> Access {
        Access { notes, ..self }
    }

    /// To keys whose place is unknown.
    pub(crate) const fn anywhere(self) -> Access {
        Access { is_anywhere: true, ..self }
    }
}

/// Reads the value.
const READS: Access = Access::to("RO access");

/// One key specification of `COMMAND INFO`: where the search begins and which keys follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Specification {
    /// What is done to the keys.
    pub(crate) access: Access,
    /// The argument with the first key, or with the number of keys.
    pub(crate) begin: usize,
    /// Which keys there are.
    pub(crate) found: Found,
}

/// How the keys of a specification are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// From the begin to `last`, counted from there, or from the end if negative.
    Range {
        /// The last key.
        last: isize,
        /// Distance of one key to the next.
        step: usize,
    },
    /// As many as the argument at the begin says.
    Counted,
}

impl KeySpec {
    /// The key specifications of a command with these keys, each with its access.
    pub(crate) fn specifications(self, access: &'static [Access]) -> Vec<Specification> {
        let of = |at: usize| access.get(at).copied().unwrap_or(READS);
        let one = |at: usize, begin: usize| {
            let found = Found::Range { last: 0, step: 1 };
            Specification { access: of(at), begin, found }
        };
        let mut all = Vec::new();
        match self {
            KeySpec::None => {}
            KeySpec::Range { first, last, step } => {
                // Each access but the last is to one key.
                let known = access.iter().filter(|access| !access.is_anywhere).count();
                let apart = known.saturating_sub(1);
                all.extend((0..apart).map(|at| one(at, first + at * step)));
                let begin = first + apart * step;
                let begin_signed = isize::try_from(begin).unwrap_or(isize::MAX);
                let last = if last < 0 { last } else { last - begin_signed };
                all.push(Specification {
                    access: of(apart),
                    begin,
                    found: Found::Range { last, step },
                });
            }
            KeySpec::Counted { destination, count } => {
                all.extend(destination.map(|at| one(0, at)));
                let access = of(all.len());
                all.push(Specification { access, begin: count, found: Found::Counted });
            }
            KeySpec::FirstAnd(_) => all.push(one(0, 1)),
        }
        all.extend(access.iter().filter(|access| access.is_anywhere).map(|access| {
            let found = Found::Range { last: 0, step: 1 };
            Specification { access: *access, begin: 0, found }
        }));
        all
    }
}
