//! What the shards' threads share: the node, and the ways to each other.

use std::ops::Deref;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::log::Log;
use crate::node::Node;
use crate::shard::ShardState;
use crate::shard::home::Home;
use crate::shard::mailbox::Mailbox;
use crate::shard::message::Message;

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
    pub(crate) fn new(config: Config, clock: Clock, log: Log, seed: u64) -> Shared {
        let node = Arc::new(Node::new(config, clock, log, seed));
        let shards = node.shards();
        Shared {
            node,
            mailboxes: (0..shards).map(|_| Mailbox::new()).collect(),
            homes: (0..shards).map(|_| Arc::default()).collect(),
        }
    }
}

impl Deref for Shared {
    type Target = Node;

    #[inline(always)]
    fn deref(&self) -> &Node {
        &self.node
    }
}
