//! Configuration text read into a [`Config`]: comments, quotes, `include`, lines that add up.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::directive::{self, DirectiveId, Effect, Kind};
use super::error::{ConfigError, Warning};
use super::tables::{DEFAULT_USER_RULES, FILE_ONLY};
use super::{Config, arguments, include};

/// `include` inside `include` goes no deeper than this.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files read for one configuration, so that includes cannot multiply without end.
const FILES_MAX: usize = 1000;
/// A configuration file is never this large.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads text into a configuration.
#[derive(Debug)]
pub(super) struct Loader<'a> {
    config: &'a mut Config,
    /// The last line that set each directive. The first line of those that add up replaces the
    /// default.
    seen: BTreeMap<DirectiveId, Place>,
    files_read: usize,
    depth: usize,
}

/// A line of a file, for errors.
#[derive(Debug, Clone, Default)]
struct Place {
    file: Option<PathBuf>,
    line: usize,
    text: String,
}

impl Place {
    fn error(self, reason: String) -> ConfigError {
        let Place { file, line, text } = self;
        ConfigError::Line { file, line, text, reason }
    }
}

impl<'a> Loader<'a> {
    pub(super) fn new(config: &'a mut Config) -> Loader<'a> {
        Loader { config, seen: BTreeMap::new(), files_read: 0, depth: 0 }
    }

    /// Applies each line of `text`, which came from the included file `file`, or from the main
    /// file and the flags.
    pub(super) fn load(&mut self, text: &[u8], file: Option<&Path>) -> Result<(), ConfigError> {
        for (number, line) in lines(text) {
            let place = Place {
                file: file.map(Path::to_owned),
                line: number,
                text: String::from_utf8_lossy(line).into_owned(),
            };
            self.apply_line(line, &place).map_err(|failure| match failure {
                Failure::Reason(reason) => place.error(reason),
                Failure::Included(error) => *error,
            })?;
        }
        Ok(())
    }

    /// Refuses what promises safety that the server does not give. Only the values that are left
    /// at the end count, so that a flag can take back what the file asks for.
    ///
    /// # Errors
    /// The last line of the first directive that is refused.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        for (id, place) in self.seen {
            if let Some(reason) = self.config.refusal_at_start(id) {
                return Err(place.error(reason));
            }
        }
        Ok(())
    }

    fn apply_line(&mut self, line: &[u8], place: &Place) -> Result<(), Failure> {
        let words = arguments::split(line).ok_or("Unbalanced quotes in configuration line")?;
        let words: Result<Vec<String>, _> = words.into_iter().map(String::from_utf8).collect();
        let words = words.map_err(|_| "arguments must be UTF-8")?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [name, arguments @ ..] = &words[..] else { return Ok(()) };
        if let Some(id) = directive::find_id(name) {
            self.apply_directive(id, arguments)?;
            self.seen.insert(id, place.clone());
            return Ok(());
        }
        self.apply_file_only(name, arguments)
    }

    fn apply_directive(&mut self, id: DirectiveId, words: &[&str]) -> Result<(), String> {
        let previous = match id.directive().kind {
            Kind::OutputBufferLimits => Some(self.config.value_of(id)),
            Kind::SavePoints if self.seen.contains_key(&id) => Some(self.config.value_of(id)),
            _ => None,
        };
        let value = id.directive().parse(words, previous)?;
        self.config.store(id, value);
        Ok(())
    }

    fn apply_file_only(&mut self, name: &str, words: &[&str]) -> Result<(), Failure> {
        let bad = "Bad directive or wrong number of arguments";
        let known = FILE_ONLY.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        let Some(known) = known else {
            return Err(match directive::nearest(name) {
                Some(near) => format!("{bad}, did you mean '{near}'?").into(),
                None => bad.into(),
            });
        };
        if words.len() < known.words_min {
            return Err(bad.into());
        }
        match known.name {
            "include" if words.len() == 1 => return self.include(words[0]),
            "include" => return Err(bad.into()),
            "user" if is_default_user(words) => return Ok(()),
            _ => {}
        }
        match known.effect {
            Effect::InForce => {}
            Effect::Refused(refusal) => return Err(refusal.to_string().into()),
            Effect::Nothing(why) => self.config.idle_lines.push(Warning {
                name: known.name,
                value: words.join(" "),
                reason: format!("has no effect: {why}"),
            }),
        }
        Ok(())
    }

    fn include(&mut self, pattern: &str) -> Result<(), Failure> {
        if self.depth == INCLUDE_DEPTH_MAX {
            return Err(format!("include nests deeper than {INCLUDE_DEPTH_MAX} files").into());
        }
        self.depth += 1;
        for path in include::expand(Path::new(pattern)) {
            if self.files_read == FILES_MAX {
                return Err(format!("more than {FILES_MAX} included files").into());
            }
            self.files_read += 1;
            let included = read_file(&path).and_then(|text| self.load(&text, Some(&path)));
            included.map_err(|error| Failure::Included(Box::new(error)))?;
        }
        self.depth -= 1;
        Ok(())
    }
}

/// Whether the rules of a `user` line are what holds for the one user anyway.
fn is_default_user(words: &[&str]) -> bool {
    let [name, rules @ ..] = words else { return false };
    let has = |rule: &str| rules.contains(&rule);
    *name == "default"
        && has("on")
        && has("nopass")
        && (has("~*") || has("allkeys"))
        && (has("+@all") || has("allcommands"))
        && rules.iter().all(|rule| DEFAULT_USER_RULES.contains(rule))
}

/// The lines that are neither blank nor comments, trimmed, with their numbers from 1.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let trimmed = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let numbered = trimmed.enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.is_empty() && line[0] != b'#')
}

/// Reads a whole configuration file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let open = || {
        let mut text = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    };
    open().map_err(|error| ConfigError::Open { path: path.to_owned(), error })
}

/// The path made absolute against the working directory, if that can be read.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Why a line cannot be applied.
enum Failure {
    /// The line itself is wrong.
    Reason(String),
    /// The file it includes is.
    Included(Box<ConfigError>),
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure::Reason(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Failure {
        Failure::Reason(reason.to_owned())
    }
}
