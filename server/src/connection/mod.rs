//! One client's connection: reads, lets the batch be executed, writes, again. A connection
//! dispatches its next batch after the replies of the last, so its commands on a key never
//! overtake each other, and what it keeps is bounded by one batch.

mod account;
mod admission;
pub(crate) mod ahead;
pub(crate) mod barrier;
pub(crate) mod batch;
pub(crate) mod follow;
pub(crate) mod group;
mod input;
mod on_session;
mod outbox;
mod pausing;
pub(crate) mod transaction;

#[cfg(test)]
mod constant;
#[cfg(test)]
mod simulation;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ballast_protocol::{ArgRange, Limits, Reply, RequestParser};
use ballast_storage::memory::good_size;
use tokio::net::TcpStream;

use self::batch::{Group, Stop};
use self::follow::Follow;
use self::group::More;
use self::outbox::Outbox;
use crate::commands::context::SHORT_BYTES_MAX;
use crate::commands::session::Session;
use crate::ids::{ClientId, ShardId};
use crate::log::Level;
use crate::node::clients::Client;
use crate::shard::Shard;
use crate::shard::buffers::{READ_BYTES, SMALL_BYTES};
use crate::shard::lookahead::Planned;
use crate::shard::message::Message;

/// A connection on its way from the listener to its shard.
pub(crate) struct Accepted {
    /// The socket.
    pub(crate) stream: std::net::TcpStream,
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Its number.
    pub(crate) id: ClientId,
}

impl Accepted {
    /// The message that makes a shard serve it.
    pub(crate) fn message(self) -> Message {
        Message::Task(Box::new(move |shard| {
            spawn(&shard, Connection::serve(Rc::clone(&shard), self));
        }))
    }
}

/// One client's connection.
pub(crate) struct Connection {
    shard: Rc<Shard>,
    stream: TcpStream,
    /// What the client has told and begun.
    session: Session,
    /// The first `filled` bytes are received; `taken` of them are executed.
    input: Vec<u8>,
    filled: usize,
    taken: usize,
    /// No command can be complete before there are so many bytes in `input`.
    needed: usize,
    parser: RequestParser,
    ranges: Vec<ArgRange>,
    /// Replies to be sent, and those that wait until the client takes them.
    reply: Reply,
    outbox: Option<Box<Outbox>>,
    /// The only command in `input`, if it waits for its turn; its arguments are in `ranges`.
    foreseen: Option<Planned>,
    /// What other shards are executing for this connection.
    group: Group,
    /// Bytes of the arguments of the command that waits for keys.
    waiting_bytes: usize,
    /// Whether its memory, as of the last account, is what it takes to be there.
    is_at_rest: bool,
    /// Where its commands are carried out.
    follow: Follow,
}

/// Begins the task of a connection, and notes its size for the account. In a block of its own it
/// takes less than within tokio's, which is rounded up to a power of two.
fn spawn(shard: &Shard, serving: impl Future<Output = ()> + 'static) {
    shard.connection_task_bytes.set(good_size(size_of_val(&serving)) as u64);
    tokio::task::spawn_local(Box::pin(serving));
}

impl Connection {
    /// Serves a connection until it ends.
    async fn serve(shard: Rc<Shard>, accepted: Accepted) {
        let now_ms = shard.shared.clock.wall_ms();
        let Ok(local_address) = accepted.stream.local_addr() else { return };
        let client = Arc::new(Client::new(
            accepted.id,
            (accepted.address, local_address),
            std::os::fd::AsRawFd::as_raw_fd(&accepted.stream),
            shard.id,
            now_ms,
        ));
        shard.shared.clients.add(Arc::clone(&client));
        shard.state().counters.connections.add(1);
        // The shard takes over a new password with its next batch; it holds for this one.
        let authenticated = shard.shared.config.load().requirepass.is_empty();
        Self::serve_session(shard, accepted.stream, Session::new(client, authenticated)).await;
    }

    /// Serves a registered connection, that has nothing under way, until it ends or moves.
    async fn serve_session(shard: Rc<Shard>, stream: std::net::TcpStream, session: Session) {
        let Ok(stream) = TcpStream::from_std(stream) else {
            return shard.shared.clients.remove(session.client.id);
        };
        std::future::poll_fn(|context| {
            session.client.set_waker(context.waker().clone());
            Poll::Ready(())
        })
        .await;
        let follow = Self::follow_here(&shard, &session);
        let mut connection = Connection {
            session,
            stream,
            input: Vec::new(),
            filled: 0,
            taken: 0,
            needed: 1,
            parser: RequestParser::new(),
            ranges: Vec::new(),
            reply: Reply::new(ballast_protocol::Protocol::Resp2),
            outbox: None,
            foreseen: None,
            group: Group::default(),
            waiting_bytes: 0,
            is_at_rest: false,
            follow,
            shard,
        };
        connection.shard.state().counters.clients.add(1);
        connection.account();
        let _guard = crate::shard::thread::StopOnPanic(Arc::clone(&connection.shard.shared));
        match connection.run().await {
            End::Moves(to) => connection.depart(to),
            ended => connection.end(&ended).await,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            let stop = match poll_fn(|context| self.poll_turns(context)).await {
                Turn::Stopped(stop) => stop,
                Turn::Ended(End::Closed) => {
                    // It may have ended its own side only, and still be reading.
                    let _ = self.drain().await;
                    return End::Closed;
                }
                Turn::Ended(end) => return end,
            };
            if let Some(end) = self.execute_input(stop).await {
                return end;
            }
        }
    }

    /// The usual turns: bytes come in, all of them can be executed here, and the client takes the
    /// replies at once. In one function without an `await` within, because what a turn costs
    /// besides its commands is most of what an unpipelined command costs.
    ///
    /// A single command is executed when all connections with something to read have received it:
    /// what their look-ups will read is loaded for all of them together.
    fn poll_turns(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        loop {
            if self.session.client.is_pushed()
                && let Err(end) = self.send_pushed()
            {
                return Poll::Ready(Turn::Ended(end));
            }
            if self.outbox.is_some()
                && let Err(end) = self.poll_send(context)
            {
                return Poll::Ready(Turn::Ended(end));
            }
            if self.foreseen.is_none() {
                match ready!(self.poll_receive(context)) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(Turn::Ended(End::Closed)),
                    Err(error) => return Poll::Ready(Turn::Ended(End::Failed(error))),
                }
                if self.filled > READ_BYTES
                    && let Some(end) = self.too_much_input()
                {
                    return Poll::Ready(Turn::Ended(end));
                }
                if self.foresee() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if self.filled >= self.needed {
                let stop = self.execute_batch();
                let (Stop::Empty { needed }, true) = (&stop, self.group.is_empty()) else {
                    return Poll::Ready(Turn::Stopped(stop));
                };
                let on_behalf = self.group.on_behalf.take();
                match on_behalf {
                    None => self.follow.step_back(),
                    Some(of) => self.follow.turn_for(of),
                }
                self.settle_input(*needed);
                if self.shard.shared.append_only.is_slow() {
                    return Poll::Ready(Turn::Stopped(stop));
                }
                if let Err(end) = self.send() {
                    return Poll::Ready(Turn::Ended(end));
                }
                if self.session.closing {
                    return Poll::Ready(Turn::Stopped(Stop::Flush));
                }
                if on_behalf.is_some()
                    && let Some(to) = self.moves_to()
                {
                    return Poll::Ready(Turn::Ended(End::Moves(to)));
                }
                if self.outbox.is_some() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if self.session.transaction.is_some()
                && let Some(end) = self.too_much_input()
            {
                return Poll::Ready(Turn::Ended(end));
            }
        }
    }

    /// Lets the other shards execute what was collected for them, and puts the replies in order.
    async fn finish_group(&mut self) -> Result<(), End> {
        let mut group = std::mem::take(&mut self.group);
        let long = group.outgoing.iter().filter(|(_, batch)| batch.is_long());
        // While it waits with one of the shard's buffers, that counts as its own.
        let holds_buffer = self.filled > 0 && self.input.len() == READ_BYTES;
        let held = if holds_buffer { READ_BYTES } else { 0 };
        self.count_waiting(held + long.map(|(_, batch)| batch.bytes.len()).sum::<usize>());
        self.follow.turn(&group, !self.reply.is_empty());
        let mut under_way = group.send(&mut self.shard.state());
        let mut result = Ok(());
        while result.is_ok()
            && under_way.write(&group, &self.shard, &mut self.reply).await == More::Replies
        {
            result = self.flush().await;
        }
        under_way.end(&mut group, &mut self.shard.state());
        self.group = group;
        self.count_waiting(0);
        result
    }

    /// Looks at what has been received; true if that is one command on a key that is here.
    #[inline(always)]
    fn foresee(&mut self) -> bool {
        // So few bytes are within all limits on arguments.
        let is_single = self.taken == 0 && (self.needed..=SMALL_BYTES).contains(&self.filled);
        if !is_single || self.parser.is_inside() || !self.session.is_plain() {
            return false;
        }
        let received = &self.input[..self.filled];
        let (state, db) = (&mut self.shard.state(), self.session.db);
        self.foreseen = ahead::foresee(state, db, received, &mut self.ranges);
        if self.foreseen.is_none() {
            return false;
        }
        if self.input.len() == READ_BYTES {
            let small = self.shard.buffers.copy_small(received);
            self.shard.buffers.give(std::mem::replace(&mut self.input, small));
        }
        true
    }

    /// Executes what has been received, as far as it goes without waiting.
    #[inline(always)]
    fn execute_batch(&mut self) -> Stop {
        if self.reply.capacity() == 0 {
            self.reply.reuse(self.shard.buffers.take_for_reply());
        }
        let mut state = self.shard.state();
        let mut input = batch::Input {
            bytes: &self.input[..self.filled],
            taken: &mut self.taken,
            parser: &mut self.parser,
            ranges: &mut self.ranges,
        };
        let (session, group) = (&mut self.session, &mut self.group);
        let stop = match self.foreseen.take() {
            Some(planned) => {
                state.load_foreseen();
                let (state, reply) = (&mut state, &mut self.reply);
                batch::run_foreseen(state, session, group, &planned, &mut input, reply)
            }
            None => batch::run(&mut state, session, group, &mut input, &mut self.reply),
        };
        if group.take_over(&mut self.input) {
            self.filled = 0;
            self.taken = 0;
        }
        // Who has slots everywhere is not here because of one of them.
        if let Some(slot) = group.last_slot.take()
            && !self.follow.roams()
        {
            state.credit_turn(slot);
        }
        stop
    }

    /// Does what a batch has stopped for, goes on with it to its end, and sends the replies.
    async fn execute_input(&mut self, mut stop: Stop) -> Option<End> {
        loop {
            // Before waiting for others, so that the buffer serves other connections.
            match stop {
                Stop::Empty { needed } => self.settle_input(needed),
                _ if self.taken == self.filled => self.settle_input(1),
                _ => {}
            }
            if !self.group.is_empty()
                && let Err(end) = self.finish_group().await
            {
                return Some(end);
            }
            match stop {
                Stop::Empty { .. } => {
                    self.settle_effects().await;
                    match self.send() {
                        Ok(()) => break,
                        Err(end) => return Some(end),
                    }
                }
                Stop::Again => {}
                Stop::Flush => {
                    if let Err(end) = self.flush().await {
                        return Some(end);
                    }
                }
                Stop::Room => {
                    if let Err(end) = self.flush().await {
                        return Some(end);
                    }
                    if self.session.client.is_killed() {
                        return Some(End::Closed);
                    }
                    tokio::task::yield_now().await;
                }
                Stop::Pause { may_write } => {
                    if let Err(end) = self.wait_out_pause(may_write).await {
                        return Some(end);
                    }
                }
                Stop::Barrier(barrier) => {
                    // It may begin a transaction, or watch.
                    self.is_at_rest = false;
                    self.count_waiting(barrier.args.view().bytes());
                    let passed = self.pass(*barrier).await;
                    self.count_waiting(0);
                    if let Err(end) = passed {
                        return Some(end);
                    }
                }
                Stop::Close(reason) => {
                    // The client may have gone already.
                    let _ = self.drain().await;
                    return Some(End::Refused(reason));
                }
            }
            if self.session.closing {
                return Some(self.drain().await.err().unwrap_or(End::Closed));
            }
            stop = self.execute_batch();
        }
        if self.session.closing {
            return Some(self.drain().await.err().unwrap_or(End::Closed));
        }
        self.too_much_input().or_else(|| self.moves_to().map(End::Moves))
    }

    /// Before replies leave: waits until what they answer for is in the append-only file, if they
    /// are held for that.
    pub(super) async fn settle_effects(&self) {
        if self.shard.shared.append_only.is_slow() {
            self.shard.shared.append_only.wait().await;
        }
    }

    /// Counts what is kept of the input for commands under way, if it is long.
    fn count_waiting(&mut self, bytes: usize) {
        let bytes = if bytes >= SHORT_BYTES_MAX { bytes } else { 0 };
        if bytes != self.waiting_bytes {
            self.waiting_bytes = bytes;
            self.account();
        }
    }

    /// Forgets everything that the connection has begun.
    async fn end(mut self, end: &End) {
        self.unwatch_all();
        let shared = Arc::clone(&self.shard.shared);
        self.session.unsubscribe_all(&shared.node);
        // Nothing comes any more.
        shared.channels.forget(&self.session.client);
        self.leave_account();
        shared.clients.remove(self.session.client.id);
        let state = self.shard.state();
        state.counters.clients.sub(1);
        if let End::Refused(reason) = end {
            let message = format!("Closed {}: {reason}.", self.session.client.address);
            shared.log.line(shared.clock.wall_ms(), Level::Warning, &message);
        }
    }
}

/// Why [`Connection::poll_turns`] came to an end.
enum Turn {
    /// There is something to wait for.
    Stopped(Stop),
    /// The connection is at its end.
    Ended(End),
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed it, or asked us to.
    Closed,
    /// The socket failed.
    Failed(#[allow(dead_code, reason = "shown by Debug")] io::Error),
    /// We closed it, for a reason that the operator should know.
    Refused(&'static str),
    /// It goes on, on another shard.
    Moves(ShardId),
}

/// The limits on requests for a client that has, or has not, told the password.
pub(crate) fn limits(bulk_bytes_max: usize, authenticated: bool) -> Limits {
    if authenticated {
        Limits { bulk_bytes_max, ..Limits::default() }
    } else {
        Limits::unauthenticated()
    }
}
