//! The notation, and that every command's syntax agrees with its arity and its keys.

use ballast_protocol::ArgsBuf;

use super::super::table;
use super::super::table::{Command, KeySpec, Run};
use super::{Argument, Kind, parse};

/// How an instance of a syntax is made.
#[derive(Clone, Copy)]
enum Size {
    /// Nothing that may be left out.
    Minimal,
    /// Everything, what may be repeated twice; of alternatives the one with this number.
    Full(usize),
}

/// Arguments made from a syntax, and which of them are keys.
#[derive(Default)]
struct Instance {
    words: Vec<String>,
    keys: Vec<usize>,
}

impl Instance {
    fn of(command: &Command, size: Size) -> Instance {
        let mut instance = Instance::default();
        instance.words.extend(command.full_name.split('|').map(str::to_owned));
        let arguments = parse(command.syntax).expect("a syntax is well-formed");
        instance.add_all(&arguments, size);
        instance
    }

    fn add_all(&mut self, arguments: &[Argument], size: Size) {
        arguments.iter().for_each(|argument| self.add(argument, size));
    }

    fn add_shortest(&mut self, parts: &[Argument]) {
        let alone = |part: &Argument| {
            let mut instance = Instance::default();
            instance.add(part, Size::Minimal);
            instance.words.len()
        };
        let shortest = parts.iter().min_by_key(|part| alone(part)).expect("there are alternatives");
        self.add(shortest, Size::Minimal);
    }

    fn add(&mut self, argument: &Argument, size: Size) {
        let times = match size {
            Size::Minimal if argument.is_optional => 0,
            Size::Full(_) if argument.is_multiple => 2,
            _ => 1,
        };
        for time in 0..times {
            if time == 0 || argument.repeats_token {
                self.words.extend(argument.token.map(str::to_owned));
            }
            match (&argument.kind, size) {
                (Kind::PureToken, _) => {}
                (Kind::Block(parts), _) => self.add_all(parts, size),
                (Kind::OneOf(parts), Size::Minimal) => self.add_shortest(parts),
                (Kind::OneOf(parts), Size::Full(one)) => self.add(&parts[one % parts.len()], size),
                (kind, _) => {
                    if *kind == Kind::Key {
                        self.keys.push(self.words.len());
                    }
                    let many = matches!(size, Size::Full(_));
                    self.words.push(match argument.name.as_str() {
                        "numkeys" => (1 + usize::from(many)).to_string(),
                        name => name.to_owned(),
                    });
                }
            }
        }
    }
}

/// The commands with a syntax that any number of further words may follow.
const MORE_IS_IGNORED: &[&str] = &["quit"];

#[test]
fn every_command_has_a_syntax_that_fits_its_arity() {
    for command in table().with_subcommands().filter(|command| !command.name.is_empty()) {
        if matches!(command.run, Run::Container) {
            assert_eq!(command.syntax, "", "{}", command.full_name);
            continue;
        }
        let minimal = Instance::of(command, Size::Minimal);
        let least = usize::from(command.arity.unsigned_abs());
        assert_eq!(minimal.words.len(), least, "{}: {:?}", command.full_name, minimal.words);
        let full: Vec<_> = (0..8).map(|one| Instance::of(command, Size::Full(one)).words).collect();
        for words in &full {
            assert!(command.arity_ok(words.len()), "{}: {words:?}", command.full_name);
        }
        let takes_more = full.iter().any(|words| words.len() > minimal.words.len());
        let ignores_more = MORE_IS_IGNORED.contains(&command.name);
        assert_eq!(command.arity < 0 && !ignores_more, takes_more, "{}", command.full_name);
    }
}

#[test]
fn keys_are_found_where_the_syntax_has_them() {
    for command in table().with_subcommands().filter(|command| !command.name.is_empty()) {
        for size in (0..8).map(Size::Full).chain([Size::Minimal]) {
            let instance = Instance::of(command, size);
            let words: ArgsBuf = instance.words.iter().map(String::as_bytes).collect();
            let mut found = Vec::new();
            command.keys.each(words.view(), |at| found.push(at));
            assert_eq!(found, instance.keys, "{}: {:?}", command.full_name, instance.words);
            let has_keys = !matches!(command.keys, KeySpec::None);
            assert_eq!(has_keys, !found.is_empty(), "{}", command.full_name);
        }
    }
}

/// An argument in a line: what a client reads in `COMMAND DOCS`.
fn shown(arguments: &[Argument]) -> String {
    let one = |argument: &Argument| {
        let mut text = argument.token.map_or_else(String::new, |token| format!("{token}="));
        match &argument.kind {
            Kind::OneOf(parts) => text += &format!("oneof({})", shown(parts)),
            Kind::Block(parts) => text += &format!("block({})", shown(parts)),
            kind => text += &format!("{}:{}", argument.name, kind.name()),
        }
        let marks = [
            (argument.is_optional, "?"),
            (argument.is_multiple, "*"),
            (argument.repeats_token, "t"),
        ];
        text.extend(marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark));
        text
    };
    arguments.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_notation_is_read_as_documented() {
    for (syntax, wanted) in [
        ("", ""),
        ("key value", "key:key value:string"),
        ("[NX | XX] [GET]", "oneof(NX=nx:pure-token XX=xx:pure-token)? GET=get:pure-token?"),
        ("[EX seconds | KEEPTTL]", "oneof(EX=seconds:integer KEEPTTL=keepttl:pure-token)?"),
        ("min:double ip:port", "min:double ip:port:string"),
        ("key [key ...]", "key:key*"),
        ("key value [key value ...]", "block(key:key value:string)*"),
        ("[key [key ...]]", "key:key?*"),
        ("[LIMIT offset count]", "LIMIT=block(offset:integer count:integer)?"),
        ("[GET pattern [GET pattern ...]]", "GET=pattern:pattern?*t"),
        ("[WEIGHTS weight [weight ...]]", "WEIGHTS=weight:integer?*"),
        ("[AGGREGATE <SUM | MIN>]", "AGGREGATE=oneof(SUM=sum:pure-token MIN=min:pure-token)?"),
        ("[start [end [BIT]]]", "block(start:integer block(end:integer BIT=bit:pure-token?)?)?"),
        ("[<A x | B> [...]]", "oneof(A=x:string B=b:pure-token)?*"),
    ] {
        let arguments = parse(syntax).expect("a syntax");
        assert_eq!(shown(&arguments), wanted, "{syntax}");
    }
    for syntax in ["[a", "a]", "<a", "a |", "[a |]", "[...]", "a [b ...]", "[b a ...]", "a ..."] {
        assert!(parse(syntax).is_err(), "{syntax}");
    }
}
