//! Who listens to which channels, and what waits for them: any thread may publish, and
//! puts the message behind what waits for each connection already. Locks are taken when somebody
//! subscribes or publishes, never on the way of another command.
//!
//! Invariant: a connection subscribes and unsubscribes itself, and takes what waits for it itself.
//! So what it finds waiting when it has unsubscribed came before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use ahash::RandomState;
use ballast_protocol::glob::glob_match;
use ballast_protocol::slot::key_slot;
use ballast_protocol::{Protocol, Reply};
use parking_lot::{Mutex, RwLock};

use super::clients::Client;
use crate::ids::ClientId;

/// What a subscription is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A channel of the whole server.
    Channel,
    /// All channels whose names match.
    Pattern,
    /// A channel of a slot.
    Sharded,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Sharded];

    /// Its place among all.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// Maps of one kind of channels, so that few wait for each other.
const STRIPES: usize = 64;

type Name = Arc<[u8]>;
type Subscribers = BTreeMap<ClientId, Arc<Client>>;
type Map = HashMap<Name, Subscribers, RandomState>;

/// All subscriptions of the node.
#[derive(Default)]
pub(crate) struct Channels {
    plain: Striped,
    /// A stripe has all channels of a slot.
    sharded: Striped,
    patterns: RwLock<Map>,
    /// How many patterns there are, to be seen without a lock.
    patterns_len: AtomicUsize,
    /// Bytes of the messages that wait for their connections, once for each.
    waiting_bytes: AtomicU64,
}

/// Maps by a hash of the name.
struct Striped(Box<[RwLock<Map>]>);

impl Default for Striped {
    fn default() -> Striped {
        Striped((0..STRIPES).map(|_| RwLock::default()).collect())
    }
}

impl Striped {
    fn of(&self, name: &[u8]) -> &RwLock<Map> {
        &self.0[usize::from(key_slot(name)) % STRIPES]
    }
}

/// What a connection has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    blocks: Vec<Arc<[u8]>>,
    bytes: u64,
    /// There was too much: the connection is to be closed.
    is_over: bool,
}

/// The connection cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over;

/// What was published.
pub(crate) struct Published {
    /// Subscriptions that got it.
    pub(crate) receivers: u64,
    /// Connections that do not know yet.
    pub(crate) to_wake: Vec<Arc<Client>>,
}

impl Channels {
    fn map(&self, kind: Kind, name: &[u8]) -> &RwLock<Map> {
        match kind {
            Kind::Channel => self.plain.of(name),
            Kind::Pattern => &self.patterns,
            Kind::Sharded => self.sharded.of(name),
        }
    }

    /// Has `client` listen, which does not yet.
    pub(crate) fn subscribe(&self, kind: Kind, name: &Name, client: &Arc<Client>) {
        let mut map = self.map(kind, name).write();
        map.entry(Arc::clone(name)).or_default().insert(client.id, Arc::clone(client));
        if kind == Kind::Pattern {
            self.patterns_len.store(map.len(), Relaxed);
        }
    }

    /// Has `client` listen no more.
    pub(crate) fn unsubscribe(&self, kind: Kind, name: &[u8], client: ClientId) {
        let mut map = self.map(kind, name).write();
        let Some(subscribers) = map.get_mut(name) else { return };
        subscribers.remove(&client);
        if subscribers.is_empty() {
            map.remove(name);
        }
        if kind == Kind::Pattern {
            self.patterns_len.store(map.len(), Relaxed);
        }
    }

    /// Pushes a message to all that listen to a channel, `Channel` or `Sharded`. No more than
    /// `limit_bytes` wait for anybody, if that is not 0.
    pub(crate) fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: &[u8],
        limit_bytes: u64,
    ) -> Published {
        let mut published = Published { receivers: 0, to_wake: Vec::new() };
        let mut grown = 0_u64;
        let mut deliver = |message: &mut Message<'_>, subscribers: &Subscribers| {
            published.receivers += subscribers.len() as u64;
            for client in subscribers.values() {
                let block = message.block(client.protocol.load(Relaxed) == 3);
                let pushed = client.push(block, limit_bytes);
                grown = grown.wrapping_add(pushed.grown);
                if pushed.wakes {
                    published.to_wake.push(Arc::clone(client));
                }
            }
        };
        if let Some(subscribers) = self.map(kind, channel).read().get(channel) {
            let name: &[u8] = if kind == Kind::Sharded { b"smessage" } else { b"message" };
            deliver(&mut Message::new(&[name, channel, payload]), subscribers);
        }
        if kind == Kind::Channel && self.patterns_len.load(Relaxed) > 0 {
            for (pattern, subscribers) in self.patterns.read().iter() {
                if glob_match(pattern, channel) {
                    let parts: [&[u8]; 4] = [b"pmessage", pattern, channel, payload];
                    deliver(&mut Message::new(&parts), subscribers);
                }
            }
        }
        self.waiting_bytes.fetch_add(grown, Relaxed);
        published
    }

    /// Puts a block behind what waits for `client`, no more than `limit_bytes`, if that is not 0.
    /// True if the connection does not know yet.
    pub(super) fn push(&self, client: &Client, block: &Arc<[u8]>, limit_bytes: u64) -> bool {
        let pushed = client.push(block, limit_bytes);
        self.waiting_bytes.fetch_add(pushed.grown, Relaxed);
        pushed.wakes
    }

    /// Appends what waits for `client`, in order. `Err`: it has let too much come.
    pub(crate) fn take(&self, client: &Client, reply: &mut Reply) -> Result<(), Over> {
        let waiting = self.forget(client);
        waiting.blocks.iter().for_each(|block| reply.raw(block));
        if waiting.is_over { Err(Over) } else { Ok(()) }
    }

    /// Nothing waits for `client` any more; answers with what did.
    pub(crate) fn forget(&self, client: &Client) -> Waiting {
        let waiting = client.take_pushed();
        self.waiting_bytes.fetch_sub(waiting.bytes, Relaxed);
        waiting
    }

    /// Bytes of the messages that wait for their connections, once for each.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Relaxed)
    }

    /// How many channels, or patterns, somebody listens to.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.plain.0.iter().map(|map| map.read().len()).sum(),
            Kind::Pattern => self.patterns_len.load(Relaxed),
            Kind::Sharded => self.sharded.0.iter().map(|map| map.read().len()).sum(),
        }
    }

    /// The channels that somebody listens to and whose names match.
    pub(crate) fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Name> {
        let striped = if kind == Kind::Sharded { &self.sharded } else { &self.plain };
        let mut names = Vec::new();
        for map in &striped.0 {
            let map = map.read();
            let fits = |name: &&Name| pattern.is_none_or(|pattern| glob_match(pattern, name));
            names.extend(map.keys().filter(fits).cloned());
        }
        names
    }

    /// How many listen to a channel.
    pub(crate) fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.map(kind, name).read().get(name).map_or(0, BTreeMap::len)
    }
}

/// A message, in the form of either protocol once somebody needs it.
struct Message<'a> {
    parts: &'a [&'a [u8]],
    blocks: [Option<Arc<[u8]>>; 2],
}

impl<'a> Message<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Message<'a> {
        Message { parts, blocks: [None, None] }
    }

    fn block(&mut self, is_resp3: bool) -> &Arc<[u8]> {
        self.blocks[usize::from(is_resp3)].get_or_insert_with(|| {
            let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
            let mut reply = Reply::new(protocol);
            reply.push(self.parts.len());
            self.parts.iter().for_each(|part| reply.bulk(part));
            reply.to_vec().into()
        })
    }
}

/// What came of pushing a block.
pub(super) struct Pushed {
    /// It was the first: the connection has to be told.
    pub(super) wakes: bool,
    /// Bytes that wait more than before; it wraps around.
    pub(super) grown: u64,
}

/// What others have pushed to a connection.
#[derive(Debug, Default)]
pub(super) struct Pushes(Mutex<Waiting>);

impl Pushes {
    /// Puts a block behind what waits, beside `queued_bytes` that wait elsewhere.
    pub(super) fn push(&self, block: &Arc<[u8]>, queued_bytes: u64, limit_bytes: u64) -> Pushed {
        let mut waiting = self.0.lock();
        if waiting.is_over {
            return Pushed { wakes: false, grown: 0 };
        }
        let (wakes, bytes) = (waiting.blocks.is_empty(), block.len() as u64);
        if limit_bytes > 0 && queued_bytes + waiting.bytes + bytes > limit_bytes {
            let before = std::mem::take(&mut *waiting);
            waiting.is_over = true;
            return Pushed { wakes: true, grown: before.bytes.wrapping_neg() };
        }
        waiting.blocks.push(Arc::clone(block));
        waiting.bytes += bytes;
        Pushed { wakes, grown: bytes }
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Waiting {
        let mut waiting = self.0.lock();
        // What came too late to be taken stays refused.
        let next = Waiting { is_over: waiting.is_over, ..Waiting::default() };
        std::mem::replace(&mut *waiting, next)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::ids::ShardId;

    fn client(id: u64) -> Arc<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Arc::new(Client::new(ClientId(id), (address, address), 0, ShardId(0), 0))
    }

    fn taken(channels: &Channels, client: &Client) -> Result<Vec<String>, Over> {
        let Waiting { blocks, is_over, .. } = channels.forget(client);
        let text = |block: &Arc<[u8]>| String::from_utf8(block.to_vec()).unwrap();
        if is_over { Err(Over) } else { Ok(blocks.iter().map(text).collect()) }
    }

    #[test]
    fn what_waits_is_counted_until_it_is_taken_or_too_much() {
        let channels = Channels::default();
        let (one, other) = (client(1), client(2));
        let name: Name = b"c"[..].into();
        channels.subscribe(Kind::Channel, &name, &one);
        channels.subscribe(Kind::Pattern, &b"*"[..].into(), &other);
        let told = channels.publish(Kind::Channel, b"c", b"first", 0);
        assert_eq!((told.receivers, told.to_wake.len()), (2, 2));
        assert!(one.is_pushed() && other.is_pushed());
        let told = channels.publish(Kind::Channel, b"c", b"second", 0);
        assert_eq!((told.receivers, told.to_wake.len()), (2, 0), "they know");
        assert_eq!(channels.waiting_bytes(), one.pushed_bytes() + other.pushed_bytes());
        let messages = taken(&channels, &one).unwrap();
        assert_eq!(messages[1], "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\nsecond\r\n");
        assert!(!one.is_pushed());
        let left = other.pushed_bytes();
        assert_eq!((messages.len(), channels.waiting_bytes()), (2, left));
        let told = channels.publish(Kind::Channel, b"c", b"third", left + 10);
        assert_eq!((told.receivers, told.to_wake.len()), (2, 2), "one is to end");
        assert_eq!(channels.waiting_bytes(), one.pushed_bytes());
        assert_eq!(taken(&channels, &other), Err(Over));
        channels.publish(Kind::Channel, b"c", b"fourth", 0);
        assert_eq!(taken(&channels, &other), Err(Over), "it stays");
        assert_eq!(taken(&channels, &one).unwrap().len(), 2);
        channels.unsubscribe(Kind::Channel, b"c", one.id);
        assert_eq!(channels.publish(Kind::Channel, b"c", b"x", 0).receivers, 1);
        assert_eq!((channels.count(Kind::Channel), channels.waiting_bytes()), (0, 0));
    }

    #[test]
    fn kinds_of_channels_are_apart() {
        let channels = Channels::default();
        let one = client(1);
        one.protocol.store(3, Relaxed);
        channels.subscribe(Kind::Sharded, &b"c"[..].into(), &one);
        assert_eq!(channels.publish(Kind::Channel, b"c", b"x", 0).receivers, 0);
        assert_eq!(channels.publish(Kind::Sharded, b"c", b"x", 0).receivers, 1);
        let messages = taken(&channels, &one).unwrap();
        assert_eq!(messages, [">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"]);
        assert_eq!(channels.names(Kind::Sharded, Some(b"?")).len(), 1);
        assert_eq!(channels.names(Kind::Channel, None).len(), 0);
    }
}
