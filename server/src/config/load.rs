//! Configuration text read into a [`Config`]: comments, quotes, `include`, lines that add up.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::directive::{self, DirectiveId, Kind};
use super::error::{ConfigError, Warning};
use super::tables::FILE_ONLY;
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
    /// Directives that a line has set, so that the first line of those that add up replaces the
    /// default.
    seen: HashSet<DirectiveId>,
    /// Lines that are no directives and have no effect.
    warnings: Vec<Warning>,
    files_read: usize,
    depth: usize,
}

impl<'a> Loader<'a> {
    pub(super) fn new(config: &'a mut Config) -> Loader<'a> {
        Loader { config, seen: HashSet::new(), warnings: Vec::new(), files_read: 0, depth: 0 }
    }

    /// Applies each line of `text`, which came from the included file `file`, or from the main
    /// file and the flags.
    pub(super) fn load(&mut self, text: &[u8], file: Option<&Path>) -> Result<(), ConfigError> {
        for (number, line) in lines(text) {
            self.apply_line(line).map_err(|failure| match failure {
                Failure::Reason(reason) => ConfigError::Line {
                    file: file.map(Path::to_owned),
                    line: number,
                    text: String::from_utf8_lossy(line).into_owned(),
                    reason,
                },
                Failure::Included(error) => *error,
            })?;
        }
        Ok(())
    }

    /// The warnings of everything loaded: lines without effect, then directives by name.
    pub(super) fn finish(mut self) -> Vec<Warning> {
        let mut set: Vec<DirectiveId> = self.seen.into_iter().collect();
        set.sort_unstable();
        self.warnings.extend(set.into_iter().filter_map(|id| self.config.warning(id)));
        self.warnings
    }

    fn apply_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let words = arguments::split(line).ok_or("Unbalanced quotes in configuration line")?;
        let words: Result<Vec<String>, _> = words.into_iter().map(String::from_utf8).collect();
        let words = words.map_err(|_| "arguments must be UTF-8")?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [name, arguments @ ..] = &words[..] else { return Ok(()) };
        if let Some(id) = directive::find_id(name) {
            return Ok(self.apply_directive(id, arguments)?);
        }
        self.apply_file_only(name, arguments)
    }

    fn apply_directive(&mut self, id: DirectiveId, words: &[&str]) -> Result<(), String> {
        let previous = match id.directive().kind {
            Kind::OutputBufferLimits => Some(self.config.value_of(id)),
            Kind::SavePoints if self.seen.contains(&id) => Some(self.config.value_of(id)),
            _ => None,
        };
        let value = id.directive().parse(words, previous)?;
        self.config.store(id, value);
        self.seen.insert(id);
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
            "user" => self.config.users.push(words.iter().map(|w| (*w).to_owned()).collect()),
            _ => self.warnings.push(Warning {
                name: known.name,
                value: words.join(" "),
                reason: format!("has no effect: {}", known.no_effect),
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
