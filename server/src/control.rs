//! The control thread: accepts connections, follows signals, runs the coordinator of the thread
//! tier. It may be slow without a client noticing.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::appending;
use crate::commands::gather::{After, Local};
use crate::config::ShutdownOptions;
use crate::connection::Accepted;
use crate::files::{bgsave, save};
use crate::ids::ShardId;
use crate::log::Level;
use crate::node::Rates;
use crate::rebalance;
use crate::server::stop_shards;
use crate::shard::shared::Shared;

/// Starts the control thread.
pub(crate) fn spawn(shared: Arc<Shared>, follows_signals: bool) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("ballast-control".into()).spawn(move || {
        runtime.block_on(async {
            tokio::spawn(accept_all(Arc::clone(&shared)));
            tokio::spawn(rebalance::run(Arc::clone(&shared)));
            tokio::spawn(close_idle(Arc::clone(&shared)));
            tokio::spawn(sample_rates(Arc::clone(&shared)));
            tokio::spawn(follow_save_points(Arc::clone(&shared)));
            tokio::spawn(appending::supervise(Arc::clone(&shared)));
            if follows_signals {
                tokio::spawn(follow_signals(Arc::clone(&shared)));
            }
            until_stopped(&shared).await;
            bgsave::stop(&shared.node);
            shared.listeners.close();
            stop_shards(&shared);
        });
    })
}

/// SIGTERM and SIGINT end the server in order, with a snapshot if the configuration wants one; a
/// SIGINT meanwhile ends it at once. The server goes on if no snapshot can be written.
async fn follow_signals(shared: Arc<Shared>) {
    use tokio::signal::unix::{SignalKind, signal};
    for (kind, name) in IGNORED {
        if let Ok(mut received) = signal(SignalKind::from_raw(kind)) {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                while received.recv().await.is_some() {
                    let text = format!("Received {name}, which is ignored.");
                    shared.log.line(shared.clock.wall_ms(), Level::Verbose, &text);
                }
            });
        }
    }
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return report(&shared, "Can't follow signals; they end the process at once.");
    };
    loop {
        let is_terminate = tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => false,
        };
        let config = shared.config.load();
        let (name, options) = match is_terminate {
            true => ("SIGTERM", config.shutdown_on_sigterm),
            false => ("SIGINT", config.shutdown_on_sigint),
        };
        report(&shared, &format!("Received {name} scheduling shutdown..."));
        let ends = tokio::select! {
            ends = end(&shared, options) => ends,
            _ = interrupt.recv() => insist(&shared),
        };
        if ends {
            interrupt.recv().await;
            insist(&shared);
        }
    }
}

fn insist(shared: &Shared) -> ! {
    report(shared, "You insist... exiting now.");
    std::process::exit(1);
}

/// Asks the server to end, after a snapshot if it is to be saved. False if it goes on.
async fn end(shared: &Shared, options: ShutdownOptions) -> bool {
    if shared.is_loading() {
        report(shared, "Received shutdown signal during loading, scheduling shutdown.");
        shared.request_stop();
        return true;
    }
    if !save::saves_at_end(&shared.node, options.saves) {
        shared.request_stop();
        return true;
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let work = move |local: &mut dyn Local| {
        let ends = save::save_and_stop(local, options.is_forced);
        // This thread may have been told to end by someone else.
        let _ = sender.send(ends);
        if ends { After::Keep } else { After::GiveBack }
    };
    shared.with_all_slots(ShardId(0), "shutdown", Box::new(work));
    // Without an answer the shard has ended: so does the server.
    receiver.await.unwrap_or(true)
}

/// Signals that a terminal, a log rotation or a shell may send, and that would end the process
/// by default. Redis ignores SIGHUP and lets SIGUSR1 and SIGUSR2, which its children use, end it:
/// a server that has no children has no reason to die of them.
const IGNORED: [(i32, &str); 4] =
    [(1, "SIGHUP"), (10, "SIGUSR1"), (12, "SIGUSR2"), (14, "SIGALRM")];

async fn until_stopped(shared: &Shared) {
    while !shared.stopping.load(Ordering::Acquire) {
        shared.stop.notified().await;
    }
}

/// Accepts on all sockets that are opened, at start or later.
async fn accept_all(shared: Arc<Shared>) {
    loop {
        for listener in shared.listeners.take_fresh() {
            tokio::spawn(accept(Arc::clone(&shared), listener));
        }
        shared.listeners.changed.notified().await;
    }
}

/// Hands new connections to the shards with the fewest, until the socket is closed.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    if let Err(error) = listener.set_nonblocking(true) {
        report(&shared, &format!("Can't listen: {error}"));
        return;
    }
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return report(&shared, &format!("Can't listen: {error}")),
    };
    let mut turn = 0_u16;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Ok(stream) = stream.into_std() {
                    admit(&shared, stream, address, &mut turn);
                }
            }
            // What accepting answers on a socket that listens no more.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                // Out of descriptors, most likely: others must close first.
                report(&shared, &format!("Accepting client connection: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(
    shared: &Shared,
    stream: std::net::TcpStream,
    address: std::net::SocketAddr,
    turn: &mut u16,
) {
    let config = shared.config.load();
    if shared.clients.len() >= config.maxclients as usize {
        shared.clients.rejected.fetch_add(1, Ordering::Relaxed);
        refuse(stream, b"-ERR max number of clients reached\r\n");
        return;
    }
    if config.protected_mode && config.requirepass.is_empty() && !address.ip().is_loopback() {
        refuse(stream, PROTECTED);
        return;
    }
    let socket = SockRef::from(&stream);
    // Both are improvements only: a connection without them works.
    let _ = socket.set_tcp_nodelay(true);
    if config.tcp_keepalive_s > 0 {
        let every = Duration::from_secs(u64::from(config.tcp_keepalive_s));
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(every));
    }
    let shards = shared.shards();
    *turn = (*turn + 1) % shards;
    let to = (0..shards)
        .map(|step| (*turn + step) % shards)
        .min_by_key(|shard| shared.counters[usize::from(*shard)].clients.value())
        .unwrap_or(0);
    let accepted = Accepted { stream, address, id: shared.clients.next_id() };
    shared.mailboxes[ShardId(to).index()].push(accepted.message());
}

/// Best effort: the client may not wait for the reason.
fn refuse(mut stream: std::net::TcpStream, reason: &[u8]) {
    use std::io::Write;
    let _ = stream.write_all(reason);
}

/// As Redis says it.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is \
enabled and no password is set for the default user. In this mode connections are only accepted \
from the loopback interface. If you want to connect from external computers to Redis you may \
adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG \
SET protected-mode no' from the loopback interface by connecting to Redis from the same host the \
server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. \
Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the \
protected mode by editing the Redis configuration file, and setting the protected mode option to \
'no', and then restarting the server. 3) If you started the server manually just for testing, \
restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the \
default user. NOTE: You only need to do one of the above things in order for the server to start \
accepting connections from the outside.\r\n";

/// Closes connections that have been silent for longer than `timeout`.
async fn close_idle(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let timeout_s = shared.config.load().timeout_s;
        if timeout_s == 0 {
            continue;
        }
        let oldest_ms = shared.clock.wall_ms() - i64::from(timeout_s) * 1000;
        for client in shared.clients.all() {
            let is_silent = client.last_ms.load(Ordering::Relaxed) < oldest_ms;
            if is_silent && !client.is_blocked() && !client.listens() {
                client.kill();
            }
        }
    }
}

/// Once a second: how much work there was.
async fn sample_rates(shared: Arc<Shared>) {
    let figures = |shared: &Shared| {
        [
            shared.sum(|counters| counters.commands.value()),
            shared.sum(|counters| counters.net_in_bytes.value()),
            shared.sum(|counters| counters.net_out_bytes.value()),
        ]
    };
    let mut before = figures(&shared);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = figures(&shared);
        let [commands, net_in, net_out] =
            [0, 1, 2].map(|at: usize| now[at].saturating_sub(before[at]));
        before = now;
        #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let rates = Rates { commands, net_in_kib: kib(net_in), net_out_kib: kib(net_out) };
        *shared.rates.lock() = rates;
    }
}

/// How often the save points are looked at.
const SAVE_POINTS_EVERY_MS: u64 = 100;

/// Begins the snapshots that the save points ask for, and those that are scheduled.
async fn follow_save_points(shared: Arc<Shared>) {
    loop {
        let clock = &shared.clock;
        clock.sleep_until(clock.mono_ms() + SAVE_POINTS_EVERY_MS).await;
        if !bgsave::is_due(&shared.node) {
            continue;
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let work = move |local: &mut dyn Local| {
            // What keeps it from beginning is in the log; it is tried again.
            let _ = sender.send(bgsave::start(local));
            After::GiveBack
        };
        shared.with_all_slots(ShardId(0), "snapshot", Box::new(work));
        // Without an answer the shard has ended.
        let _ = receiver.await;
    }
}

fn report(shared: &Shared, message: &str) {
    shared.log.line(shared.clock.wall_ms(), Level::Warning, message);
}
