//! The connections that are shown all commands (`MONITOR`).
//!
//! Invariant: one lock is held while a command is timed and pushed to all of them. So each of them
//! sees the same order, and times never go back in it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::channels::Channels;
use super::clients::Client;
use crate::config::{ClientClass, OutputBufferLimit};
use crate::ids::ClientId;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Monitors(Mutex<Vec<Arc<Client>>>);

impl Monitors {
    /// Shows everything to `client` from now on. Calls `begin` if it is the first, while no other
    /// comes or goes.
    pub(super) fn add(&self, client: Arc<Client>, begin: impl FnOnce()) {
        let mut all = self.0.lock();
        all.push(client);
        if all.len() == 1 {
            begin();
        }
    }

    /// Shows `client` nothing any more. Calls `end` if it was the last, while no other comes or
    /// goes.
    pub(super) fn remove(&self, client: ClientId, end: impl FnOnce()) {
        let mut all = self.0.lock();
        let before = all.len();
        all.retain(|one| one.id != client);
        if before > 0 && all.is_empty() {
            end();
        }
    }

    /// Pushes to each of them what `block` makes, and wakes those who do not know yet. No more
    /// than their class allows waits for anybody.
    pub(crate) fn show(
        &self,
        channels: &Channels,
        limits: &[OutputBufferLimit],
        block: impl FnOnce() -> Arc<[u8]>,
    ) {
        let mut to_wake = Vec::new();
        {
            let all = self.0.lock();
            if all.is_empty() {
                return;
            }
            let block = block();
            for client in all.iter() {
                let is_subscriber = client.is_subscriber();
                let class = if is_subscriber { ClientClass::Pubsub } else { ClientClass::Normal };
                let limit_bytes = limits[class.index()].hard_bytes;
                if channels.push(client, &block, limit_bytes) {
                    to_wake.push(Arc::clone(client));
                }
            }
        }
        to_wake.iter().for_each(|client| client.wake());
    }
}
