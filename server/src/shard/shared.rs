//! What the shards' threads share: the node, and the ways to each other.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Clock;
use crate::commands::gather::{AllSlotsWork, SlicedWork};
use crate::config::Config;
use crate::ids::{ClientId, ShardId};
use crate::log::Log;
use crate::node::Node;
use crate::node::disk::Disk;
#[cfg(test)]
use crate::node::disk::SystemDisk;
use crate::node::siblings::Siblings;
use crate::shard::home::Home;
use crate::shard::mailbox::Mailbox;
use crate::shard::message::Message;
use crate::shard::{Shard, ShardState};

/// See the module. Stands for its node as well.
pub(crate) struct Shared {
    /// What is below the shards.
    pub(crate) node: Arc<Node>,
    /// One per shard.
    pub(crate) mailboxes: Vec<Mailbox<Message>>,
    /// The states of the shards.
    pub(crate) homes: Vec<Arc<Home<ShardState>>>,
}

impl Shared {
    #[cfg(test)]
    pub(crate) fn new(config: Config, clock: Clock, log: Log, seed: u64) -> Arc<Shared> {
        let mut config = config;
        config.preset("save", "").expect("no test of shards writes files");
        Shared::with_disk(config, clock, log, seed, Arc::new(SystemDisk))
    }

    /// Of a server whose files are written with `disk`.
    pub(crate) fn with_disk(
        config: Config,
        clock: Clock,
        log: Log,
        seed: u64,
        disk: Arc<dyn Disk>,
    ) -> Arc<Shared> {
        let node = Arc::new(Node::new(config, clock, log, seed, disk));
        let shards = node.shards();
        let shared = Arc::new(Shared {
            node,
            mailboxes: (0..shards).map(|_| Mailbox::new()).collect(),
            homes: (0..shards).map(|_| Arc::default()).collect(),
        });
        let siblings: Arc<dyn Siblings> = Arc::<Shared>::clone(&shared);
        shared.node.introduce(Arc::downgrade(&siblings));
        shared
    }
}

impl Shared {
    /// Has `work` done on a shard when all slots are there.
    pub(crate) fn with_all_slots(&self, on: ShardId, reason: &'static str, work: AllSlotsWork) {
        let begin = move |shard: Rc<Shard>| {
            let hold = async move { shard.hold_all(reason, work).await };
            drop(tokio::task::spawn_local(hold));
        };
        self.mailboxes[on.index()].push(Message::Task(Box::new(begin)));
    }

    /// [`Self::with_all_slots`] in slices, between which the shard serves others.
    pub(crate) fn with_all_slots_in_slices(
        &self,
        on: ShardId,
        reason: &'static str,
        work: SlicedWork,
    ) {
        let begin = move |shard: Rc<Shard>| {
            let hold = async move { shard.hold_all_in_slices(reason, work).await };
            drop(tokio::task::spawn_local(hold));
        };
        self.mailboxes[on.index()].push(Message::Task(Box::new(begin)));
    }
}

impl Siblings for Shared {
    fn give_up(&self, of: ShardId, score_min: u64) -> Option<bool> {
        self.homes[of.index()].visit(|state| {
            state.begin_batch(ClientId(0));
            state.give_up(score_min)
        })
    }
}

impl Deref for Shared {
    type Target = Node;

    #[inline(always)]
    fn deref(&self) -> &Node {
        &self.node
    }
}
