//! All connections of the process, for `CLIENT LIST` and its like. A lock is taken when a
//! connection opens or closes and when somebody looks, never on the way of a command.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use std::task::Waker;

use parking_lot::Mutex;

use super::blocked::Waiter;
use super::channels::{Kind, Pushed, Pushes, Waiting};
use crate::ids::{ClientId, CommandId, ShardId};

/// Memory of a connection beside its future and its buffers: the rest of its task, registry entry,
/// socket, waker. By what the allocator has handed out for thousands of them.
pub(crate) const CLIENT_BYTES: u64 = 850;

/// What any thread may know of a connection. Written by the connection's own thread.
#[derive(Debug)]
pub(crate) struct Client {
    /// Who.
    pub(crate) id: ClientId,
    /// The other end.
    pub(crate) address: SocketAddr,
    /// This end.
    pub(crate) local_address: SocketAddr,
    /// Whose thread serves it.
    pub(crate) shard: AtomicU16,
    /// Unix milliseconds of its begin.
    pub(crate) since_ms: i64,
    /// Unix milliseconds of its last command.
    pub(crate) last_ms: AtomicI64,
    /// `Command::index` of its last command; `u16::MAX`: none yet.
    pub(crate) last_command: AtomicU16,
    /// Selected database.
    pub(crate) db: AtomicU8,
    /// 2 or 3.
    pub(crate) protocol: AtomicU8,
    /// Commands in its transaction; -1: none begun.
    pub(crate) queued: AtomicI64,
    /// Watched keys.
    pub(crate) watching: AtomicU32,
    /// Set when one of them has changed; `None` without any.
    pub(crate) dirty: Mutex<Option<Arc<AtomicBool>>>,
    /// Subscriptions of each [`Kind`].
    pub(crate) subscriptions: [AtomicU32; 3],
    /// It is shown all commands.
    pub(crate) monitors: AtomicBool,
    /// What others have pushed to it.
    pushes: Pushes,
    /// Bytes of memory that it keeps, its buffers among it; a part of its shard's `clients_bytes`.
    pub(crate) bytes: AtomicU64,
    /// Bytes received, of which neither commands nor whole arguments have been made yet.
    pub(crate) query_bytes: AtomicU64,
    /// Bytes that the buffer for them has room for beside.
    pub(crate) query_free: AtomicU64,
    /// Bytes of the arguments of the command that is incomplete, or that waits.
    pub(crate) argument_bytes: AtomicU64,
    /// Bytes of the arguments of the commands that wait for `EXEC`.
    pub(crate) queued_bytes: AtomicU64,
    /// Bytes of the blocks of replies that wait to be sent.
    pub(crate) output_bytes: AtomicU64,
    /// How many those are.
    pub(crate) output_blocks: AtomicU64,
    /// Bytes received in all.
    pub(crate) net_in_bytes: AtomicU64,
    /// Bytes sent in all.
    pub(crate) net_out_bytes: AtomicU64,
    /// `CLIENT NO-EVICT`.
    pub(crate) no_evict: AtomicBool,
    /// `CLIENT NO-TOUCH`.
    pub(crate) no_touch: AtomicBool,
    /// Names and versions that it has told.
    pub(crate) labels: Mutex<Labels>,
    /// What it is blocked in.
    pub(crate) blocked: Mutex<Option<Waiter>>,
    /// `CLIENT UNBLOCK … ERROR`: the end of the wait is to be an error.
    pub(crate) unblock_error: AtomicBool,
    /// Number of its socket.
    pub(crate) descriptor: i32,
    /// Bits of [`signal`].
    signals: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// What others want of a connection.
mod signal {
    /// That it closes.
    pub(super) const KILLED: u8 = 1;
    /// That it takes what they have pushed.
    pub(super) const PUSHED: u8 = 1 << 1;
}

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// `CLIENT SETNAME`.
    pub(crate) name: String,
    /// `CLIENT SETINFO LIB-NAME`.
    pub(crate) lib_name: String,
    /// `CLIENT SETINFO LIB-VER`.
    pub(crate) lib_version: String,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        (address, local_address): (SocketAddr, SocketAddr),
        descriptor: i32,
        shard: ShardId,
        now_ms: i64,
    ) -> Client {
        Client {
            id,
            address,
            local_address,
            shard: AtomicU16::new(shard.0),
            since_ms: now_ms,
            last_ms: AtomicI64::new(now_ms),
            last_command: AtomicU16::new(u16::MAX),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            queued: AtomicI64::new(-1),
            watching: AtomicU32::new(0),
            dirty: Mutex::default(),
            subscriptions: Default::default(),
            monitors: AtomicBool::new(false),
            pushes: Pushes::default(),
            bytes: AtomicU64::new(0),
            query_bytes: AtomicU64::new(0),
            query_free: AtomicU64::new(0),
            argument_bytes: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            output_blocks: AtomicU64::new(0),
            net_in_bytes: AtomicU64::new(0),
            net_out_bytes: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            labels: Mutex::default(),
            blocked: Mutex::default(),
            unblock_error: AtomicBool::new(false),
            descriptor,
            signals: AtomicU8::new(0),
            waker: Mutex::new(None),
        }
    }

    /// Notes the command that runs; of a batch of plain ones the last.
    #[inline(always)]
    pub(crate) fn runs(&self, command: CommandId) {
        self.last_command.store(command.0, Relaxed);
    }

    /// Notes that what the client sent is no command.
    pub(crate) fn runs_unknown(&self) {
        self.last_command.store(u16::MAX, Relaxed);
    }

    /// Closes the connection from any thread: its task is woken and finds out.
    pub(crate) fn kill(&self) {
        self.signals.fetch_or(signal::KILLED, Relaxed);
        self.wake();
    }

    /// Has the connection's task look at what others want of it.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Whether somebody wants the connection closed.
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.signals.load(Relaxed) & signal::KILLED != 0
    }

    /// Whether others have pushed something that it has not taken.
    #[inline]
    pub(crate) fn is_pushed(&self) -> bool {
        self.signals.load(Relaxed) & signal::PUSHED != 0
    }

    /// Puts a block behind what waits already, unless that were more than `limit_bytes`
    /// with all that waits to be sent; 0: there is no limit.
    pub(super) fn push(&self, block: &Arc<[u8]>, limit_bytes: u64) -> Pushed {
        let pushed = self.pushes.push(block, self.output_bytes.load(Relaxed), limit_bytes);
        if pushed.wakes {
            self.signals.fetch_or(signal::PUSHED, Relaxed);
        }
        pushed
    }

    /// What others have pushed; the connection's own thread takes it.
    pub(super) fn take_pushed(&self) -> Waiting {
        self.signals.fetch_and(!signal::PUSHED, Relaxed);
        self.pushes.take()
    }

    /// Bytes of what others have pushed and it has not taken.
    pub(crate) fn pushed_bytes(&self) -> u64 {
        self.pushes.bytes()
    }

    /// How many subscriptions of a kind it has.
    pub(crate) fn subscribed(&self, kind: Kind) -> u32 {
        self.subscriptions[kind.index()].load(Relaxed)
    }

    /// Whether it is of the class `pubsub`.
    pub(crate) fn is_subscriber(&self) -> bool {
        Kind::ALL.into_iter().any(|kind| self.subscribed(kind) > 0)
    }

    /// Whether what it reads comes from others, so that it may be silent itself.
    pub(crate) fn listens(&self) -> bool {
        self.is_subscriber() || self.monitors.load(Relaxed)
    }

    /// How to wake the connection's task, which is one and the same until it moves.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    /// Whether a key that it watches has changed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.lock().as_ref().is_some_and(|dirty| dirty.load(Relaxed))
    }

    /// Whether it waits in a blocking command.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.lock().is_some()
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    /// Bytes that all of them together may keep; 0: any number.
    limit_bytes: AtomicU64,
    /// Closed because they kept the most when all together kept too much.
    pub(crate) evicted: AtomicU64,
    /// Refused because there were `maxclients` already.
    pub(crate) rejected: AtomicU64,
}

impl Clients {
    /// A number for the next connection.
    pub(crate) fn next_id(&self) -> ClientId {
        ClientId(self.last_id.fetch_add(1, Relaxed) + 1)
    }

    /// How many listen to a channel.
    pub(crate) fn subscribers(&self) -> usize {
        self.open.lock().values().filter(|client| client.is_subscriber()).count()
    }

    /// Registers a connection.
    pub(crate) fn add(&self, client: Arc<Client>) {
        self.open.lock().insert(client.id.0, client);
    }

    /// Forgets a connection.
    pub(crate) fn remove(&self, id: ClientId) {
        self.open.lock().remove(&id.0);
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// All that are not about to be closed, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.open.lock().values().filter(|client| !client.is_killed()).cloned().collect()
    }

    /// One of [`Self::all`].
    pub(crate) fn find(&self, id: ClientId) -> Option<Arc<Client>> {
        self.open.lock().get(&id.0).filter(|client| !client.is_killed()).cloned()
    }

    /// The other end of an open connection, also of one that is about to be closed.
    pub(crate) fn address(&self, id: ClientId) -> Option<SocketAddr> {
        self.open.lock().get(&id.0).map(|client| client.address)
    }

    /// `maxmemory-clients` in bytes, and whether that is new.
    pub(crate) fn set_limit(&self, bytes: u64) -> bool {
        self.limit_bytes.swap(bytes, Relaxed) != bytes
    }

    /// The limit of what all may keep together, if there is one.
    #[inline]
    pub(crate) fn limit(&self) -> Option<u64> {
        Some(self.limit_bytes.load(Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Closes the largest clients until all others keep less than the limit, and returns them.
    /// Those that must not be closed (`CLIENT NO-EVICT`) count all the same, as in Redis.
    pub(crate) fn evict(&self, limit: u64) -> Vec<Arc<Client>> {
        let open = self.open.lock();
        let bytes = |client: &Client| client.bytes.load(Relaxed);
        let staying = open.values().filter(|client| !client.is_killed());
        let mut left: u64 = staying.clone().map(|client| bytes(client)).sum();
        let mut largest: Vec<_> =
            staying.filter(|client| !client.no_evict.load(Relaxed)).cloned().collect();
        largest.sort_by_key(|client| Reverse(bytes(client)));
        largest.retain(|client| {
            let evicts = left >= limit;
            if evicts {
                left = left.saturating_sub(bytes(client));
                client.kill();
            }
            evicts
        });
        self.evicted.fetch_add(largest.len() as u64, Relaxed);
        largest
    }

    /// Has the connections look again whose replies wait: a limit on those has changed.
    pub(crate) fn wake_waiting(&self) {
        for client in self.open.lock().values() {
            if client.output_bytes.load(Relaxed) > 0 {
                client.wake();
            }
        }
    }

    /// Address and name for the slow log; empty for work that no client asked for.
    pub(crate) fn describe(&self, id: ClientId) -> (String, String) {
        self.find(id).map_or_else(Default::default, |client| {
            (client.address.to_string(), client.labels.lock().name.clone())
        })
    }
}
