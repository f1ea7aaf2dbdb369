//! The notation in which the table gives a command's arguments, as Redis's documentation has it:
//!
//! ```text
//! key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]
//! numkeys key [key ...] <LEFT | RIGHT> [COUNT count]
//! ```
//!
//! Words in capitals are said as they are, others stand for a value. A word in capitals and the
//! values right behind it are one argument with a token. `[…]` may be left out, `<…>` holds
//! alternatives together, `[x ...]` after `x` says that `x` may be repeated, and `[...]` says it of
//! what stands before, whatever that is. The type of a value follows from its name; `name:type`
//! gives another one.

/// An argument of a command, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// What it is called.
    pub(crate) name: String,
    /// The word that announces it.
    pub(crate) token: Option<&'static str>,
    /// What it stands for.
    pub(crate) kind: Kind,
    /// It may be left out.
    pub(crate) is_optional: bool,
    /// It may be said several times in a row.
    pub(crate) is_multiple: bool,
    /// … each time with its token.
    pub(crate) repeats_token: bool,
}

/// What an argument stands for, in the words of `COMMAND DOCS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key.
    Key,
    /// Bytes.
    String,
    /// An integer.
    Integer,
    /// A floating-point number.
    Double,
    /// A glob, or a name with a `*` to be replaced.
    Pattern,
    /// A time since 1970.
    UnixTime,
    /// Its token alone.
    PureToken,
    /// One of these.
    OneOf(Vec<Argument>),
    /// All of these.
    Block(Vec<Argument>),
}

impl Kind {
    /// Its name in `COMMAND DOCS`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Key => "key",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }

    fn of_type(name: &str) -> Option<Kind> {
        Some(match name {
            "key" => Kind::Key,
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "double" => Kind::Double,
            "pattern" => Kind::Pattern,
            "unix-time" => Kind::UnixTime,
            _ => return None,
        })
    }

    /// The type that a value has by its name.
    fn of_value(name: &str) -> Kind {
        match name {
            "destination" | "destkey" | "dst" | "key" | "key1" | "key2" | "newkey" | "source"
            | "src" => Kind::Key,
            "pattern" => Kind::Pattern,
            "unix-time-milliseconds" | "unix-time-seconds" => Kind::UnixTime,
            "duration" | "score" | "timeout" => Kind::Double,
            "bit" | "bytes" | "client-id" | "cluster_bus_port" | "config-epoch" | "count"
            | "cursor" | "db" | "decrement" | "destination-db" | "end" | "end-slot" | "flag"
            | "frequency" | "increment" | "index" | "index1" | "index2" | "len" | "limit"
            | "maxage" | "milliseconds" | "num-matches" | "numkeys" | "numlocal"
            | "numreplicas" | "offset" | "plan-id" | "port" | "protover" | "rank" | "rate"
            | "seconds" | "shard" | "size" | "slot" | "start" | "start-slot" | "stop" | "ttl"
            | "version" | "weight" => Kind::Integer,
            _ => Kind::String,
        }
    }
}

impl Argument {
    fn new(name: String, kind: Kind) -> Argument {
        Argument {
            name,
            token: None,
            kind,
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
        }
    }

    /// Several as one: `kind` of them, unless it is one only.
    fn grouped(mut parts: Vec<Argument>, kind: fn(Vec<Argument>) -> Kind) -> Argument {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
                Argument::new(names.join("_"), kind(parts))
            }
        }
    }
}

/// The arguments that `syntax` describes.
///
/// # Errors
/// What is wrong with the notation.
pub(crate) fn parse(syntax: &'static str) -> Result<Vec<Argument>, String> {
    let mut parser = Parser { marks: marks(syntax), at: 0 };
    let (arguments, repeats) = parser.sequence()?;
    match parser.next() {
        None if !repeats => Ok(arguments),
        other => Err(format!("{other:?} at the end of {syntax}")),
    }
}

/// The brackets, bars and words of a syntax.
fn marks(syntax: &'static str) -> Vec<&'static str> {
    let mut marks = Vec::new();
    for word in syntax.split_ascii_whitespace() {
        let mut rest = word;
        while let Some(end) = rest.find(['[', ']', '<', '>', '|']) {
            let (before, mark) = rest.split_at(end);
            marks.extend(Some(before).filter(|before| !before.is_empty()));
            marks.push(&mark[..1]);
            rest = &mark[1..];
        }
        marks.extend(Some(rest).filter(|rest| !rest.is_empty()));
    }
    marks
}

/// Whether a word is said as it is.
fn is_token(word: &str) -> bool {
    word.bytes().all(|byte| !byte.is_ascii_lowercase())
}

struct Parser {
    marks: Vec<&'static str>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&'static str> {
        self.marks.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'static str> {
        let mark = self.peek();
        self.at += usize::from(mark.is_some());
        mark
    }

    /// Arguments up to a bar, a closing bracket or the end; and whether `...` stands there.
    fn sequence(&mut self) -> Result<(Vec<Argument>, bool), String> {
        let mut found = Vec::new();
        loop {
            match self.peek() {
                None | Some("|" | "]" | ">") => return Ok((found, false)),
                Some("...") => {
                    self.at += 1;
                    return Ok((found, true));
                }
                Some("[") => self.bracket(&mut found)?,
                Some("<") => found.push(self.group()?),
                Some(word) if is_token(word) => {
                    self.at += 1;
                    found.push(self.announced_by(word)?);
                }
                Some(word) => {
                    self.at += 1;
                    found.push(value(word)?);
                }
            }
        }
    }

    /// A token, with the values and groups right behind it.
    fn announced_by(&mut self, token: &'static str) -> Result<Argument, String> {
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Some("<") => values.push(self.group()?),
                Some(word) if !is_token(word) => {
                    self.at += 1;
                    values.push(value(word)?);
                }
                _ => break,
            }
        }
        let mut argument = match values.is_empty() {
            true => Argument::new(token.to_ascii_lowercase(), Kind::PureToken),
            false => Argument::grouped(values, Kind::Block),
        };
        argument.token = Some(token);
        Ok(argument)
    }

    /// `<…>`
    fn group(&mut self) -> Result<Argument, String> {
        self.at += 1;
        let (group, repeats) = self.alternatives()?;
        match self.next() {
            Some(">") if !repeats => Ok(group),
            other => Err(format!("{other:?} within <>")),
        }
    }

    /// `[…]`: what may be left out, or says that the arguments before may be repeated.
    fn bracket(&mut self, before: &mut Vec<Argument>) -> Result<(), String> {
        self.at += 1;
        if self.peek() == Some("...") {
            self.at += 1;
            let last = before.last_mut().ok_or("nothing to repeat")?;
            (last.is_multiple, last.repeats_token) = (true, last.token.is_some());
        } else {
            let start = self.at;
            let (sequence, repeats) = self.sequence()?;
            if repeats {
                repeat(before, &sequence)?;
            } else {
                self.at = start;
                let (mut argument, _) = self.alternatives()?;
                argument.is_optional = true;
                before.push(argument);
            }
        }
        match self.next() {
            Some("]") => Ok(()),
            other => Err(format!("{other:?} within []")),
        }
    }

    /// Sequences with bars between them.
    fn alternatives(&mut self) -> Result<(Argument, bool), String> {
        let mut all = Vec::new();
        loop {
            let (sequence, repeats) = self.sequence()?;
            if sequence.is_empty() {
                return Err(format!("an empty alternative before mark {}", self.at));
            }
            all.push(Argument::grouped(sequence, Kind::Block));
            if repeats || self.peek() != Some("|") {
                return Ok((Argument::grouped(all, Kind::OneOf), repeats));
            }
            self.at += 1;
        }
    }
}

/// A word that stands for a value; `name:type` if the type does not follow from the name.
fn value(word: &'static str) -> Result<Argument, String> {
    if let Some((name, kind)) = word.rsplit_once(':')
        && let Some(kind) = Kind::of_type(kind)
    {
        return Ok(Argument::new(name.to_owned(), kind));
    }
    Ok(Argument::new(word.to_owned(), Kind::of_value(word)))
}

/// Marks the last arguments as repeatable, which `again` says once more, with their token or
/// without.
fn repeat(before: &mut Vec<Argument>, again: &[Argument]) -> Result<(), String> {
    let Some(first) = before.len().checked_sub(again.len()).filter(|_| !again.is_empty()) else {
        return Err("more is repeated than there is".to_owned());
    };
    let same = before[first..] == *again;
    let without_token = match (&before[first..], again) {
        ([one], [again]) => Argument { token: None, ..one.clone() } == *again,
        _ => false,
    };
    if !same && !without_token {
        return Err(format!("{again:?} repeats what does not stand before"));
    }
    let mut repeated = Argument::grouped(before.split_off(first), Kind::Block);
    repeated.is_multiple = true;
    repeated.repeats_token = same && repeated.token.is_some();
    before.push(repeated);
    Ok(())
}

#[cfg(test)]
mod tests;
