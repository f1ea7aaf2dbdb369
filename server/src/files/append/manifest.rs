//! The manifest of the append-only file: which files it is made of, in order. Redis 7's format: a
//! line per file, `file <name> seq <number> type <b|h|i>`.

use std::fmt::Write as _;

/// Bytes that a manifest has at most: it names some hundred files at the very worst.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What a file is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The data set as it was when the file was made.
    Base,
    /// Commands since then.
    Incremental,
    /// It is needed no more.
    History,
}

/// A file of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// In the manifest's directory.
    pub(super) name: String,
    /// Numbers grow, by role.
    pub(super) number: u64,
    pub(super) role: Role,
}

/// Why a manifest means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A line is no such line.
    #[error("line {0} is not 'file <name> seq <number> type <b|h|i>'")]
    Line(usize),
    /// A name leads out of the directory.
    #[error("line {0}: a file's name can't be a path")]
    Path(usize),
    /// There are two bases.
    #[error("line {0}: there is a base already")]
    SecondBase(usize),
    /// Numbers do not grow.
    #[error("line {0}: the number is not larger than that of the incremental file before")]
    Order(usize),
    /// It names no file.
    #[error("it names no file")]
    Empty,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    parts: Vec<Part>,
}

impl Manifest {
    /// Of one file.
    pub(super) fn of(part: Part) -> Manifest {
        Manifest { parts: vec![part] }
    }

    /// Reads a manifest.
    pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        for (line, text) in (1..).zip(text.lines()) {
            if text.starts_with('#') {
                continue;
            }
            let part = part(text).ok_or(ManifestError::Line(line))?;
            if part.name.contains(std::path::is_separator) || part.name.is_empty() {
                return Err(ManifestError::Path(line));
            }
            if part.role == Role::Base && manifest.base().is_some() {
                return Err(ManifestError::SecondBase(line));
            }
            let last = manifest.incremental().last().map_or(0, |last| last.number);
            if part.role == Role::Incremental && part.number <= last {
                return Err(ManifestError::Order(line));
            }
            manifest.parts.push(part);
        }
        if manifest.parts.is_empty() { Err(ManifestError::Empty) } else { Ok(manifest) }
    }

    /// As it is written.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for role in [Role::Base, Role::History, Role::Incremental] {
            for part in self.parts.iter().filter(|part| part.role == role) {
                let letter = match role {
                    Role::Base => 'b',
                    Role::History => 'h',
                    Role::Incremental => 'i',
                };
                let name = quoted(&part.name);
                let number = part.number;
                // Writing to a string cannot fail.
                let _ = writeln!(text, "file {name} seq {number} type {letter}");
            }
        }
        text
    }

    /// The data set that the commands start from; without one, an empty one.
    pub(super) fn base(&self) -> Option<&Part> {
        self.parts.iter().find(|part| part.role == Role::Base)
    }

    /// The files of commands, in order.
    pub(super) fn incremental(&self) -> impl DoubleEndedIterator<Item = &Part> {
        self.parts.iter().filter(|part| part.role == Role::Incremental)
    }

    /// Files that are needed no more.
    pub(super) fn history(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.role == Role::History)
    }

    /// Adds a file of commands, which is the last. `stem` is what names begin with.
    pub(super) fn add_incremental(&mut self, stem: &str) -> Part {
        let number = self.incremental().last().map_or(0, |last| last.number) + 1;
        let name = format!("{stem}.{number}.incr.aof");
        let part = Part { name, number, role: Role::Incremental };
        self.parts.push(part.clone());
        part
    }

    /// Adds the base that the last file of commands starts from: all before are needed no more.
    pub(super) fn replace_base(&mut self, stem: &str, extension: &str) -> Part {
        let number = self.base().map_or(0, |base| base.number) + 1;
        let last = self.incremental().last().map(|last| last.number);
        for part in &mut self.parts {
            let is_last = part.role == Role::Incremental && Some(part.number) == last;
            if !is_last {
                part.role = Role::History;
            }
        }
        let name = format!("{stem}.{number}.base.{extension}");
        let part = Part { name, number, role: Role::Base };
        self.parts.push(part.clone());
        part
    }

    /// Forgets what is needed no more.
    pub(super) fn forget_history(&mut self) {
        self.parts.retain(|part| part.role != Role::History);
    }
}

fn part(line: &str) -> Option<Part> {
    let mut words = words(line)?.into_iter();
    let (mut name, mut number, mut role) = (None, None, None);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.to_ascii_lowercase().as_str() {
            "file" => name = Some(value),
            "seq" => number = Some(value.parse().ok().filter(|number| *number > 0)?),
            "type" => {
                role = Some(match value.as_str() {
                    "b" => Role::Base,
                    "i" => Role::Incremental,
                    "h" => Role::History,
                    _ => return None,
                });
            }
            // Of a later version.
            _ => {}
        }
    }
    Some(Part { name: name?, number: number?, role: role? })
}

/// A name with blanks or quotes is written in quotes.
fn quoted(name: &str) -> String {
    let needs = name.contains(|c: char| c.is_whitespace() || c == '"' || c == '\\');
    if !needs {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The words of a line, of which some may be quoted.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut word = String::new();
        match rest.strip_prefix('"') {
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                word.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            Some(inside) => {
                let mut characters = inside.char_indices();
                let end = loop {
                    match characters.next()? {
                        (at, '"') => break at + 1,
                        (_, '\\') => word.push(characters.next()?.1),
                        (_, character) => word.push(character),
                    }
                };
                rest = &inside[end..];
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut manifest = Manifest::default();
        manifest.add_incremental("append only.aof");
        manifest.replace_base("append only.aof", "rdb");
        let text = "file \"append only.aof.1.base.rdb\" seq 1 type b\n\
                    file \"append only.aof.1.incr.aof\" seq 1 type i\n";
        assert_eq!(manifest.render(), text);
        let again = Manifest::parse(text).unwrap();
        assert_eq!(again.render(), text);
        assert_eq!(again.base(), manifest.base());
    }

    #[test]
    fn a_rewrite_leaves_the_last_file_of_commands() {
        let mut manifest = Manifest::default();
        manifest.add_incremental("a");
        manifest.replace_base("a", "rdb");
        manifest.add_incremental("a");
        assert_eq!(manifest.incremental().count(), 2);
        manifest.replace_base("a", "rdb");
        let text = "file a.2.base.rdb seq 2 type b\nfile a.1.incr.aof seq 1 type h\n\
                    file a.1.base.rdb seq 1 type h\nfile a.2.incr.aof seq 2 type i\n";
        assert_eq!(manifest.render(), text);
        manifest.forget_history();
        assert_eq!(manifest.render().lines().count(), 2);
    }

    #[test]
    fn lines_that_mean_nothing_are_named() {
        let cases = [
            ("", ManifestError::Empty),
            ("# made by hand\n", ManifestError::Empty),
            ("file a seq 1 type b\nfile b seq 1\n", ManifestError::Line(2)),
            ("file a seq 0 type i\n", ManifestError::Line(1)),
            ("file a seq 1 type x\n", ManifestError::Line(1)),
            ("file \"a seq 1 type i\n", ManifestError::Line(1)),
            ("file ../a seq 1 type i\n", ManifestError::Path(1)),
            ("file a seq 1 type b\nfile b seq 2 type b\n", ManifestError::SecondBase(2)),
            ("file a seq 2 type i\nfile b seq 2 type i\n", ManifestError::Order(2)),
        ];
        for (text, error) in cases {
            assert_eq!(Manifest::parse(text), Err(error), "{text}");
        }
    }
}
