//! What a configuration directive is, and how one is found by name.
//!
//! A directive is written once, in one of the [`super::tables`]; the configuration file, the
//! command line, CONFIG GET/SET/REWRITE, `--help` and the reference all read it from there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use super::settings::Settings;
use super::tables;
use super::value::Value;

/// One directive: its names, type, bounds, default and meaning.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// The name CONFIG REWRITE writes.
    pub name: &'static str,
    /// Older names that mean the same.
    pub aliases: &'static [&'static str],
    /// Type and bounds.
    pub kind: Kind,
    /// The default as it would stand in a file.
    pub default: &'static str,
    /// The unit of a number, empty where there is none.
    pub unit: &'static str,
    /// When it may change.
    pub mutability: Mutability,
    /// Whether globs of CONFIG GET skip it, so that only the exact name shows it.
    pub hidden: bool,
    /// Whether the value is a secret that no log may show.
    pub secret: bool,
    /// What follows from the value.
    pub effect: Effect,
    /// One sentence for `--help` and the reference.
    pub doc: &'static str,
    /// What else to say about a value that is accepted.
    pub(super) caveat: Option<fn(&Value) -> Option<String>>,
    /// A check beyond the kind, which may also adjust the value.
    pub(super) check: Option<fn(Value) -> Result<Value, String>>,
    /// Copies the value into the field that the server reads.
    pub(super) field: Option<fn(&mut Settings, &Value)>,
}

/// The type of a directive's value, with its bounds (both inclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A decimal integer.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// An integer in octal, as file modes are written.
    Octal {
        /// Greatest value.
        max: i64,
    },
    /// A memory size: digits and an optional unit (`k` = 1000, `kb` = 1024, `m`, `mb`, `g`, `gb`).
    Bytes {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A memory size, or a percentage of `maxmemory`.
    BytesOrPercent,
    /// `yes` or `no`.
    Bool,
    /// One of these names, in any case.
    Enum(&'static [&'static str]),
    /// Any of these names together; the first one means "none of the others".
    Flags(&'static [&'static str]),
    /// One string.
    Text,
    /// Words separated by spaces.
    List,
    /// Numbers separated by spaces, between so and so many of them.
    Numbers {
        /// Least count.
        count_min: usize,
        /// Greatest count.
        count_max: usize,
        /// Least value of each.
        min: i64,
        /// Greatest value of each.
        max: i64,
    },
    /// Percentiles, decimals from 0 to 100.
    Percentiles,
    /// Pairs of seconds and changes; several lines of a file add up.
    SavePoints,
    /// Class, hard limit, soft limit, soft seconds; classes that are not named keep theirs.
    OutputBufferLimits,
    /// The letters of `notify-keyspace-events`.
    KeyspaceEvents,
    /// What the balancer's policy makes of the text.
    Policy,
}

impl Kind {
    /// Whether the value is one word, so that a file line with more is an error.
    pub fn is_single(self) -> bool {
        !matches!(
            self,
            Kind::Flags(_)
                | Kind::List
                | Kind::Numbers { .. }
                | Kind::Percentiles
                | Kind::SavePoints
                | Kind::OutputBufferLimits
                | Kind::Policy
        )
    }
}

/// When a directive may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// With CONFIG SET at any time.
    Runtime,
    /// With CONFIG SET where `enable-protected-configs` allows it, else at start only.
    Protected,
    /// In the file or on the command line only.
    Startup,
}

/// What follows from a directive's value. There is no directive without one: a table holds what
/// a `Draft` becomes when its effect is named.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// The server does what the value asks for.
    InForce,
    /// The server keeps and shows the value, and says why it does nothing with it.
    Nothing(&'static str),
    /// The value promises safety (durability, access, replication) that the server does not give.
    Refused(Refusal),
}

/// Why a directive is refused: any value but its default, which nobody need have asked for.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// What is missing.
    pub why: &'static str,
    /// What the operator does instead.
    pub instead: &'static str,
}

impl Refusal {
    /// Refuses all values but the default.
    pub(super) const fn new(why: &'static str, instead: &'static str) -> Refusal {
        Refusal { why, instead }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.instead)
    }
}

/// A directive whose effect is not named yet.
pub(super) struct Draft(Directive);

impl Draft {
    /// The server does what the value asks for, by the field of [`Settings`] that takes it.
    pub(super) const fn field(self, field: fn(&mut Settings, &Value)) -> Directive {
        Directive { field: Some(field), ..self.0 }
    }

    /// The server does nothing with a value other than the default.
    pub(super) const fn without_effect(self, why: &'static str) -> Directive {
        Directive { effect: Effect::Nothing(why), ..self.0 }
    }

    /// The server refuses a value other than the default.
    pub(super) const fn refused(self, refusal: Refusal) -> Directive {
        Directive { effect: Effect::Refused(refusal), ..self.0 }
    }

    /// The balancer's policy takes the value.
    pub(super) const fn in_policy(self, effect: Effect) -> Directive {
        Directive { effect, ..self.0 }
    }

    /// Adds older names.
    pub(super) const fn aliases(self, aliases: &'static [&'static str]) -> Draft {
        Draft(Directive { aliases, ..self.0 })
    }

    /// Names the unit of the number.
    pub(super) const fn unit(self, unit: &'static str) -> Draft {
        Draft(Directive { unit, ..self.0 })
    }

    /// Makes it fixed after the start.
    pub(super) const fn startup(self) -> Draft {
        Draft(Directive { mutability: Mutability::Startup, ..self.0 })
    }

    /// Makes it changeable only where protected directives are.
    pub(super) const fn protected(self) -> Draft {
        Draft(Directive { mutability: Mutability::Protected, ..self.0 })
    }

    /// Hides it from globs.
    pub(super) const fn hidden(self) -> Draft {
        Draft(Directive { hidden: true, ..self.0 })
    }

    /// Marks the value as a secret.
    pub(super) const fn secret(self) -> Draft {
        Draft(Directive { secret: true, ..self.0 })
    }

    /// Says of some values that they do less than they seem to.
    pub(super) const fn caveat(self, caveat: fn(&Value) -> Option<String>) -> Draft {
        Draft(Directive { caveat: Some(caveat), ..self.0 })
    }

    /// Adds a check beyond the kind.
    pub(super) const fn check(self, check: fn(Value) -> Result<Value, String>) -> Draft {
        Draft(Directive { check: Some(check), ..self.0 })
    }
}

impl Directive {
    /// An integer from `min` to `max`.
    pub(super) const fn int(
        name: &'static str,
        (min, max): (i64, i64),
        default: &'static str,
        doc: &'static str,
    ) -> Draft {
        Directive::of(name, Kind::Int { min, max }, default, doc)
    }

    /// A memory size from `min` to `max` bytes.
    pub(super) const fn bytes(
        name: &'static str,
        (min, max): (u64, u64),
        default: &'static str,
        doc: &'static str,
    ) -> Draft {
        Directive::of(name, Kind::Bytes { min, max }, default, doc).unit("bytes")
    }

    /// `yes` or `no`.
    pub(super) const fn yes_no(
        name: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Draft {
        Directive::of(name, Kind::Bool, default, doc)
    }

    /// One of `names`.
    pub(super) const fn one_of(
        name: &'static str,
        names: &'static [&'static str],
        default: &'static str,
        doc: &'static str,
    ) -> Draft {
        Directive::of(name, Kind::Enum(names), default, doc)
    }

    /// One string.
    pub(super) const fn text(
        name: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Draft {
        Directive::of(name, Kind::Text, default, doc)
    }

    /// Any other kind.
    pub(super) const fn of(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Draft {
        Draft(Directive {
            name,
            aliases: &[],
            kind,
            default,
            unit: "",
            mutability: Mutability::Runtime,
            hidden: false,
            secret: false,
            effect: Effect::InForce,
            doc,
            caveat: None,
            check: None,
            field: None,
        })
    }

    /// Lets code read the value that is not chosen yet: the directive is refused, and the code
    /// that will follow it is there already.
    pub(super) const fn read_early(self, field: fn(&mut Settings, &Value)) -> Directive {
        Directive { field: Some(field), ..self }
    }

    /// Parses `words` as a value. `previous` is what directives that add up start from.
    ///
    /// # Errors
    /// The reason, in Redis's words.
    pub(super) fn parse(&self, words: &[&str], previous: Option<&Value>) -> Result<Value, String> {
        if self.kind == Kind::Policy {
            return tables::balancer::parse(self.name, words);
        }
        let value = Value::parse(self.kind, words, previous)?;
        match self.check {
            Some(check) => check(value),
            None => Ok(value),
        }
    }

    /// Takes the value over into what the server reads.
    pub(super) fn fill(&self, settings: &mut Settings, value: &Value) {
        match self.field {
            Some(field) => field(settings, value),
            None if self.kind == Kind::Policy => {
                tables::balancer::fill(&mut settings.balancer, self.name, value);
            }
            None => {}
        }
    }

    /// What to say about a value that is accepted but does less than it seems to.
    pub(super) fn caveat_of(&self, value: &Value) -> Option<String> {
        match self.caveat {
            Some(caveat) => caveat(value),
            None if self.kind == Kind::Policy => tables::balancer::caveat(self.name, value),
            None => None,
        }
    }
}

/// The place of a directive in [`directives`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirectiveId(pub(super) usize);

impl DirectiveId {
    /// The directive at this place.
    pub(super) fn directive(self) -> &'static Directive {
        DIRECTIVES[self.0]
    }
}

/// Every directive, in the order of the tables.
pub fn directives() -> &'static [&'static Directive] {
    &DIRECTIVES
}

/// The directive of this name or alias, in any case.
pub fn find(name: &str) -> Option<&'static Directive> {
    find_id(name).map(DirectiveId::directive)
}

/// The directive name that is nearest to a mistyped one by edit distance, if one is near at all.
pub fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let limit = (name.len() / 3).clamp(1, 4);
    NAMES
        .iter()
        .filter(|(_, id)| !id.directive().hidden)
        .map(|(known, _)| (edit_distance(&name, known), *known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

/// The id of this name or alias, in any case.
pub(super) fn find_id(name: &str) -> Option<DirectiveId> {
    match NAMES.get(name) {
        Some(id) => Some(*id),
        None => NAMES.get(name.to_ascii_lowercase().as_str()).copied(),
    }
}

/// Every name and alias with its directive, sorted by name.
pub(super) fn names() -> impl Iterator<Item = (&'static str, DirectiveId)> {
    NAMES.iter().map(|(name, id)| (*name, *id))
}

/// Longer names than this are not compared: the distance costs the product of the lengths.
const NAME_LEN_MAX: usize = 64;

static DIRECTIVES: LazyLock<Vec<&'static Directive>> =
    LazyLock::new(|| tables::families().iter().flat_map(|family| family.directives).collect());

static NAMES: LazyLock<BTreeMap<&'static str, DirectiveId>> = LazyLock::new(|| {
    let mut names = BTreeMap::new();
    for (place, directive) in DIRECTIVES.iter().enumerate() {
        for name in std::iter::once(&directive.name).chain(directive.aliases) {
            let taken = names.insert(*name, DirectiveId(place));
            assert!(taken.is_none(), "directive {name} is defined twice");
        }
    }
    names
});

/// Insertions, deletions, substitutions and swaps of neighbours between two names
/// (optimal string alignment).
fn edit_distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before: Vec<usize> = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let same = left[i - 1] == right[j - 1];
            let replaced = above[j - 1] + usize::from(!same);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_alias_is_found_in_any_case() {
        assert_eq!(find("MaxMemory").map(|d| d.name), Some("maxmemory"));
        assert_eq!(
            find("hash-max-ziplist-entries").map(|d| d.name),
            Some("hash-max-listpack-entries")
        );
        assert!(find("").is_none());
    }

    #[test]
    fn the_nearest_name_is_the_one_a_typing_error_away() {
        assert_eq!(nearest("maxmemroy"), Some("maxmemory"));
        assert_eq!(nearest("max-memory"), Some("maxmemory"));
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("MAXMEMORY-POLICI"), Some("maxmemory-policy"));
        assert_eq!(nearest("zzzzzzzzzz"), None);
        assert_eq!(nearest(&"a".repeat(100_000)), None);
    }

    #[test]
    fn the_edit_distance_counts_single_changes() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("ab", "ba"), 1);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn each_directive_has_a_sentence_and_an_effect_that_it_can_have() {
        for directive in directives() {
            let is_filled = directive.field.is_some() || directive.kind == Kind::Policy;
            match directive.effect {
                Effect::InForce => assert!(is_filled, "{} is read nowhere", directive.name),
                Effect::Nothing(why) => {
                    assert!(!why.is_empty() && directive.field.is_none(), "{}", directive.name);
                }
                Effect::Refused(refusal) => {
                    assert!(!refusal.why.is_empty() && !refusal.instead.is_empty());
                }
            }
            assert!(directive.doc.ends_with('.'), "{} needs a sentence", directive.name);
        }
    }
}
