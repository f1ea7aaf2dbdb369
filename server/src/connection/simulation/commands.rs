//! Random commands on keys, made from the syntax in the command table, and their replies counted.

use ballast_protocol::slot::key_slot;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::commands::syntax::{self, Argument, Kind};
use crate::commands::table::{Command, Run, flag};

/// Keys of the same and of other slots, and the empty one.
const KEYS: &[&str] =
    &["a", "b", "c", "d", "{a}1", "{a}2", "{b}1", "list", "list:2", "zset", "set", "hash", ""];
/// Numbers that commands do little work for, and those that none takes.
const INTEGERS: &[&str] =
    &["0", "1", "2", "3", "-1", "-2", "10", "100", "9223372036854775807", "-9223372036854775808"];
const DOUBLES: &[&str] = &["0", "1", "-1.5", "3.25", "inf", "-inf", "1e300"];
const STRINGS: &[&str] =
    &["v", "value", "10", "-3", "2.5", "", "(1", "[a", "-", "+", "NX", "COUNT"];
const PATTERNS: &[&str] = &["*", "a*", "#", "{a}*", "nosuch"];
const TIMES: &[&str] = &["1", "100000", "99999999999", "99999999999999"];

/// Keys of lists, and commands on them.
const LISTS: &[&str] = &["list", "list:2", "{a}1", "c"];
const WAITING: &[&str] = &[
    "LPUSH K1 v w",
    "RPUSH K1 v",
    "RPUSH K2 v w",
    "DEL K1",
    "BLPOP K1 K2 0",
    "BRPOP K1 0",
    "BLMOVE K1 K2 LEFT RIGHT 0",
    "BLMPOP 0 2 K1 K2 LEFT COUNT 2",
];

/// Draws commands on keys.
pub(super) struct Generator {
    commands: Vec<(&'static Command, Vec<Argument>)>,
}

impl Generator {
    pub(super) fn new() -> Generator {
        let commands = crate::commands::table().iter().filter(|command| is_drawn(command));
        let parsed =
            |command: &'static Command| (command, syntax::parse(command.syntax).expect("a syntax"));
        let commands: Vec<_> = commands.map(parsed).collect();
        assert!(commands.len() > 120, "{} commands are drawn", commands.len());
        Generator { commands }
    }

    /// The slot of one of the keys.
    pub(super) fn slot(&self, random: &mut SmallRng) -> u16 {
        key_slot(KEYS.choose(random).expect("there are keys").as_bytes())
    }

    /// The words of a command.
    pub(super) fn command(&self, random: &mut SmallRng) -> Vec<String> {
        if random.random_bool(0.3) {
            return waiting(random);
        }
        let (command, arguments) = self.commands.choose(random).expect("there are commands");
        let mut words = vec![command.name.to_owned()];
        arguments.iter().for_each(|argument| add(argument, random, &mut words));
        match random.random_range(0..20) {
            0 => drop(words.pop()),
            1 => words.push("a".to_owned()),
            _ => {}
        }
        if words.is_empty() { vec!["GET".to_owned()] } else { words }
    }
}

/// Some wait for what others push.
fn waiting(random: &mut SmallRng) -> Vec<String> {
    let command = WAITING.choose(random).expect("there are some");
    let keys = [0; 2].map(|_| *LISTS.choose(random).expect("there are keys"));
    command.replace("K1", keys[0]).replace("K2", keys[1]).split(' ').map(str::to_owned).collect()
}

/// On keys, and within database 1: what is counted is in another.
fn is_drawn(command: &Command) -> bool {
    matches!(command.run, Run::Data(_) | Run::Spread(..))
        && !["flushall", "swapdb", "debug", "move"].contains(&command.name)
        && !command.has(flag::ADMIN)
}

fn add(argument: &Argument, random: &mut SmallRng, words: &mut Vec<String>) {
    if argument.is_optional && !random.random_bool(0.3) {
        return;
    }
    // Another database is the only one that commands reach beside their own.
    if argument.name == "destination-db" {
        words.extend(argument.token.map(str::to_owned));
        return words.push("2".to_owned());
    }
    let times = if argument.is_multiple { random.random_range(1..4) } else { 1 };
    for time in 0..times {
        if time == 0 || argument.repeats_token {
            words.extend(argument.token.map(str::to_owned));
        }
        let mut of = |all: &[&str]| words.push((*all.choose(random).expect("some")).to_owned());
        match &argument.kind {
            _ if argument.name == "numkeys" => of(&["1", "2", "3"]),
            Kind::Key => of(KEYS),
            Kind::String => of(STRINGS),
            Kind::Integer => of(INTEGERS),
            Kind::Double => of(DOUBLES),
            Kind::Pattern => of(PATTERNS),
            Kind::UnixTime => of(TIMES),
            Kind::PureToken => {}
            Kind::OneOf(parts) => add(parts.choose(random).expect("some"), random, words),
            Kind::Block(parts) => parts.iter().for_each(|part| add(part, random, words)),
        }
    }
}

/// How many replies there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replies {
    pub(super) all: usize,
    /// Errors among them.
    pub(super) errors: usize,
}

/// Counts the replies in bytes of RESP 2, none of which may be half.
pub(super) fn count_replies(mut bytes: &[u8]) -> Replies {
    let mut replies = Replies::default();
    while !bytes.is_empty() {
        assert!(!bytes.starts_with(b"-ERR internal"), "{}", bytes.escape_ascii());
        replies.errors += usize::from(bytes[0] == b'-');
        replies.all += 1;
        bytes = behind_one(bytes);
    }
    replies
}

/// What follows the first reply.
fn behind_one(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a whole line");
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let number = || std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse().ok());
    match line[0] {
        b'+' | b'-' | b':' => rest,
        b'$' => match number().expect("a length") {
            -1_i64 => rest,
            length => &rest[usize::try_from(length).expect("a length") + 2..],
        },
        b'*' => {
            let items: i64 = number().expect("a length");
            (0..items.max(0)).fold(rest, |rest, _| behind_one(rest))
        }
        other => panic!("a reply of type {other}"),
    }
}
