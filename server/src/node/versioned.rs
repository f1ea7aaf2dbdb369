//! The configuration in force: read often, changed rarely.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::config::{Changed, Config};

/// The configuration and the number of its changes.
#[derive(Debug)]
pub(crate) struct Versioned {
    current: RwLock<Arc<Config>>,
    version: AtomicU64,
    /// Held by who changes it and acts on the change, so that nobody else does in between.
    pub(crate) changing: Mutex<()>,
}

impl Versioned {
    pub(super) fn new(config: Config) -> Versioned {
        Versioned {
            current: RwLock::new(Arc::new(config)),
            version: AtomicU64::new(1),
            changing: Mutex::default(),
        }
    }

    /// The current one.
    pub(crate) fn load(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// Counts changes, so that a shard notices one by a single load.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Has each shard look again at what it copies together with the configuration.
    pub(super) fn announce(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Takes a change back.
    pub(crate) fn revert(&self, changed: Changed) {
        let reverted: Result<(), std::convert::Infallible> = self.update(|config| {
            config.revert(changed);
            Ok(())
        });
        let Ok(()) = reverted;
    }

    /// Changes a copy and, if that succeeds, makes it the current one.
    pub(crate) fn update<R, E>(
        &self,
        change: impl FnOnce(&mut Config) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut current = self.current.write();
        let mut copy = Config::clone(&current);
        let result = change(&mut copy)?;
        *current = Arc::new(copy);
        self.version.fetch_add(1, Ordering::Release);
        Ok(result)
    }
}
