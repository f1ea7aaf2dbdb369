//! The configuration: one table of directives, from which the file, the flags, CONFIG
//! GET/SET/REWRITE, `--help` and the reference derive.
//!
//! [`Config`] holds a [`Value`] per directive; the typed [`Settings`] the server reads are
//! filled from those values and reached by dereferencing (`config.port`). Nothing here prints,
//! logs or opens a socket: warnings are returned, and what a change means is the caller's work.
//!
//! Invariant: every value was parsed by its directive, so `value → text → value` is the identity
//! and a rewritten file starts the same server.

mod arguments;
mod directive;
#[cfg(test)]
mod effect_tests;
mod error;
mod include;
mod load;
mod query;
mod reference;
mod rewrite;
mod settings;
mod startup;
mod tables;
#[cfg(test)]
mod tests;
mod value;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub use self::directive::{
    Directive, Effect, Kind, Mutability, Refusal, directives, find, nearest,
};
pub(crate) use self::error::system_reason;
pub use self::error::{ConfigError, ConfigSetError, RewriteError, Warning};
pub use self::query::{Changed, Peer};
pub use self::reference::{help, reference};
pub use self::settings::{
    Allowed, ClientClass, ClientsLimit, FlushPolicy, KeyspaceEvents, LogLevel, MaxmemoryPolicy,
    OutputBufferLimit, SavePoint, Settings, ShutdownOptions,
};
pub use self::startup::Startup;
pub use self::tables::{Family, families};
pub use self::value::Value;

use self::directive::DirectiveId;

/// No configuration allows a client less than this many bytes of a query.
pub(crate) const QUERY_BUFFER_LIMIT_MIN: usize = 1 << 20;

/// The configuration of one server. Cloning is cheap enough for a copy per change.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// By [`DirectiveId`].
    values: Vec<Value>,
    settings: Settings,
    file: Option<PathBuf>,
    /// Lines that are no directives and have no effect.
    idle_lines: Vec<Warning>,
}

impl Config {
    /// The file it was read from, as an absolute path.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The value of a directive by name or alias.
    pub fn value(&self, name: &str) -> Option<&Value> {
        directive::find_id(name).map(|id| self.value_of(id))
    }

    fn value_of(&self, id: DirectiveId) -> &Value {
        &self.values[id.0]
    }

    /// Stores a parsed value and fills the field of its directive; returns the old value.
    fn store(&mut self, id: DirectiveId, value: Value) -> Value {
        id.directive().fill(&mut self.settings, &value);
        std::mem::replace(&mut self.values[id.0], value)
    }
}

impl Default for Config {
    /// Every directive at its default.
    fn default() -> Config {
        DEFAULT.clone()
    }
}

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

static DEFAULT: LazyLock<Config> = LazyLock::new(|| {
    let mut settings = Settings::default();
    let parse = |directive: &&'static Directive| {
        let value = directive.parse(&[directive.default], None);
        let value = value.unwrap_or_else(|reason| {
            panic!("the default of {} is no value of it: {reason}", directive.name)
        });
        directive.fill(&mut settings, &value);
        value
    };
    let values = directives().iter().map(parse).collect();
    Config { values, settings, file: None, idle_lines: Vec::new() }
});
