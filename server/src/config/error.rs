//! What can be wrong with a configuration, in Redis's words where Redis has them.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the server cannot start with this file or these flags.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A line, or a flag, is not valid. Flags count as lines after those of the file.
    #[error(
        "\n*** FATAL CONFIG FILE ERROR (Ballast {}) ***\n\
         Reading the configuration file{}, at line {line}\n>>> '{text}'\n{reason}",
        env!("CARGO_PKG_VERSION"),
        shown(file.as_ref())
    )]
    Line {
        /// The included file that holds the line; none for the main file and the flags.
        file: Option<PathBuf>,
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("Fatal error, can't open config file '{}': {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The flags themselves are wrong.
    #[error("{0}")]
    Usage(String),
}

/// What the system says, in its own words alone.
pub(crate) fn system_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn shown(file: Option<&PathBuf>) -> String {
    file.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

/// A directive that was accepted but does not do all that its value asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The directive.
    pub name: &'static str,
    /// The value, hidden if it is a secret.
    pub value: String,
    /// What it does instead, as in "has no effect: …".
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Warning { name, value, reason } = self;
        write!(f, "'{name} {value}' is accepted, but {reason}")
    }
}

/// Why CONFIG SET changed nothing. The text is what the client reads, without the leading `ERR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigSetError {
    /// There is no such directive.
    #[error("Unknown option or number of arguments for CONFIG SET - '{name}'")]
    Unknown {
        /// The name as it was sent.
        name: String,
    },
    /// A value is not acceptable.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// The name or alias.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Why CONFIG REWRITE left the file as it was. The text is what the client reads, without `ERR`.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The server was started without a file.
    #[error("The server is running without a config file")]
    NoFile,
    /// Reading or writing failed.
    #[error("Rewriting config file: {0}")]
    Io(#[from] io::Error),
}
