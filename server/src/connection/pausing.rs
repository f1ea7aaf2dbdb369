//! A connection that `CLIENT PAUSE` holds up: its next command stays unread until the pause ends.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::{Connection, End};

impl Connection {
    /// Sends the replies to what came before the command, and waits for the end of a pause.
    pub(super) async fn wait_out_pause(&mut self, may_write: bool) -> Result<(), End> {
        self.park_input();
        self.account();
        self.flush().await?;
        // As in Redis, which counts it among the blocked.
        self.shard.state().counters.blocked_clients.add(1);
        let ended = self.until_pause_ends(may_write).await;
        self.shard.state().counters.blocked_clients.sub(1);
        ended
    }

    async fn until_pause_ends(&mut self, may_write: bool) -> Result<(), End> {
        let shared = Arc::clone(&self.shard.shared);
        while shared.pause.is_set() {
            // Before the look at the pause, so that no change of it is missed.
            let mut changed = std::pin::pin!(shared.pause.changed.notified());
            changed.as_mut().enable();
            // Read in this order, a clock that is moved in between ends the pause sooner.
            let mono_ms = shared.clock.mono_ms();
            let now_ms = shared.clock.wall_ms();
            let Some(until_ms) = shared.pause.until(now_ms, may_write) else { break };
            let left_ms = u64::try_from(until_ms - now_ms).unwrap_or(0).max(1);
            let over = shared.clock.sleep_until(mono_ms.saturating_add(left_ms));
            let mut over = std::pin::pin!(over);
            // The end of the pause and its change both lead to another look at the clock.
            poll_fn(|context| {
                if self.session.client.is_killed() {
                    return Poll::Ready(Err(End::Closed));
                }
                if let Poll::Ready(end) = self.poll_read_ahead(context) {
                    return Poll::Ready(Err(end));
                }
                if changed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                over.as_mut().poll(context).map(Ok)
            })
            .await?;
        }
        Ok(())
    }
}
