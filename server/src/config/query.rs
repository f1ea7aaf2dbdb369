//! CONFIG GET and CONFIG SET.

use std::collections::HashSet;

use ballast_protocol::glob::glob_match_nocase;

use super::Config;
use super::directive::{self, DirectiveId, Effect, Kind, Mutability};
use super::error::{ConfigSetError, Warning};
use super::settings::Allowed;
use super::value::Value;

/// Where the client that changes the configuration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// On this host.
    Local,
    /// Anywhere.
    Remote,
}

/// What a CONFIG SET changed, so that it can be acted on, or taken back with
/// [`Config::revert`].
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Changed {
    /// The directives whose values differ now, with the values before.
    before: Vec<(DirectiveId, Value)>,
    warnings: Vec<Warning>,
}

impl Changed {
    /// The names of the directives whose values differ now.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.before.iter().map(|(id, _)| id.directive().name)
    }

    /// Whether the directive of this name has another value now.
    pub fn contains(&self, name: &str) -> bool {
        let id = directive::find_id(name);
        self.before.iter().any(|(changed, _)| Some(*changed) == id)
    }

    /// Whether every value is what it was.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// What to say about directives that were set but do less than they seem to.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl Config {
    /// The directives that match any of the patterns, with their values. As in Redis a name
    /// without wildcards is answered as it was asked, aliases and hidden directives included,
    /// and nothing is listed twice.
    pub fn get<P: AsRef<str>>(&self, patterns: &[P]) -> Vec<(String, String)> {
        let mut listed = HashSet::new();
        let mut found = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if !pattern.contains(['*', '?', '[', '\\']) {
                let id = directive::find_id(pattern);
                if let Some(id) = id.filter(|_| listed.insert(pattern.to_ascii_lowercase())) {
                    found.push((pattern.to_owned(), self.value_of(id).render()));
                }
                continue;
            }
            for (name, id) in directive::names().filter(|(_, id)| !id.directive().hidden) {
                if glob_match_nocase(pattern.as_bytes(), name.as_bytes())
                    && listed.insert(name.to_owned())
                {
                    found.push((name.to_owned(), self.value_of(id).render()));
                }
            }
        }
        found
    }

    /// Sets all of the directives, or none, for a client anywhere.
    ///
    /// # Errors
    /// The first name or value that is refused; the configuration is then unchanged.
    pub fn set<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: &[(N, V)],
    ) -> Result<Changed, ConfigSetError> {
        self.set_as(Peer::Remote, pairs)
    }

    /// Sets all of the directives, or none, for a client at `peer`.
    ///
    /// # Errors
    /// The first name or value that is refused; the configuration is then unchanged.
    pub fn set_as<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        peer: Peer,
        pairs: &[(N, V)],
    ) -> Result<Changed, ConfigSetError> {
        let mut named = Vec::with_capacity(pairs.len());
        let mut seen = HashSet::new();
        for (name, value) in pairs {
            let name = name.as_ref();
            let id = self.settable(peer, name)?;
            // As in Redis an alias next to the name is no duplicate: the last one wins.
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(refused(name, "duplicate parameter"));
            }
            named.push((name, id, value.as_ref()));
        }
        let mut parsed: Vec<(DirectiveId, Value)> = Vec::with_capacity(named.len());
        for (name, id, text) in named {
            let previous = match id.directive().kind {
                Kind::OutputBufferLimits => Some(self.value_of(id)),
                _ => None,
            };
            let value = id.directive().parse(&[text], previous);
            let value = value.map_err(|reason| refused(name, reason))?;
            if let Effect::Refused(refusal) = id.directive().effect
                && value != *self.value_of(id)
            {
                return Err(refused(name, refusal.to_string()));
            }
            parsed.push((id, value));
        }
        Ok(self.store_all(parsed))
    }

    /// Sets a directive before the server starts, when none is immutable yet.
    ///
    /// # Errors
    /// An unknown name or a value that is refused; the value is then unchanged.
    pub fn preset(&mut self, name: &str, text: &str) -> Result<(), ConfigSetError> {
        let id = directive::find_id(name).ok_or_else(|| refused(name, "no such directive"))?;
        let value = id.directive().parse(&[text], Some(self.value_of(id)));
        let before = self.store(id, value.map_err(|reason| refused(name, reason))?);
        match self.refusal_at_start(id) {
            None => Ok(()),
            Some(reason) => {
                self.store(id, before);
                Err(refused(name, reason))
            }
        }
    }

    /// Takes a change back, as when the server could not act on it.
    pub fn revert(&mut self, changed: Changed) {
        for (id, value) in changed.before.into_iter().rev() {
            self.store(id, value);
        }
    }

    /// What the server does not do although its configuration says so: a line for the log each.
    pub fn warnings(&self) -> Vec<Warning> {
        let ids = (0..directive::directives().len()).map(DirectiveId);
        self.idle_lines.iter().cloned().chain(ids.filter_map(|id| self.warning(id))).collect()
    }

    /// Why the server does not start with the directive's value, if that promises what it does
    /// not keep.
    pub(super) fn refusal_at_start(&self, id: DirectiveId) -> Option<String> {
        let Effect::Refused(refusal) = id.directive().effect else { return None };
        (!self.is_default(id)).then(|| refusal.to_string())
    }

    /// The directive's warning, if its value does less than it seems to.
    fn warning(&self, id: DirectiveId) -> Option<Warning> {
        let directive = id.directive();
        let reason = match directive.effect {
            Effect::InForce => directive.caveat_of(self.value_of(id))?,
            Effect::Nothing(_) if self.is_default(id) => return None,
            Effect::Nothing(why) => format!("has no effect: {why}"),
            Effect::Refused(_) => return None,
        };
        let value = match directive.secret {
            true => "(secret)".to_owned(),
            false => self.value_of(id).render(),
        };
        Some(Warning { name: directive.name, value, reason })
    }

    /// Whether the value is the directive's default.
    pub(super) fn is_default(&self, id: DirectiveId) -> bool {
        self.value_of(id) == super::DEFAULT.value_of(id)
    }

    fn settable(&self, peer: Peer, name: &str) -> Result<DirectiveId, ConfigSetError> {
        let unknown = || ConfigSetError::Unknown { name: name.to_owned() };
        let id = directive::find_id(name).ok_or_else(unknown)?;
        let protected_is_allowed = match self.enable_protected_configs {
            Allowed::Yes => true,
            Allowed::Local => peer == Peer::Local,
            Allowed::No => false,
        };
        match id.directive().mutability {
            Mutability::Startup => Err(refused(name, "can't set immutable config")),
            Mutability::Protected if !protected_is_allowed => {
                Err(refused(name, "can't set protected config"))
            }
            _ => Ok(id),
        }
    }

    fn store_all(&mut self, parsed: Vec<(DirectiveId, Value)>) -> Changed {
        let mut changed = Changed::default();
        for (id, value) in parsed {
            if *self.value_of(id) != value {
                let before = self.store(id, value);
                changed.before.push((id, before));
            }
            changed.warnings.extend(self.warning(id));
        }
        changed
    }
}

fn refused(name: &str, reason: impl Into<String>) -> ConfigSetError {
    ConfigSetError::Refused { name: name.to_ascii_lowercase(), reason: reason.into() }
}
