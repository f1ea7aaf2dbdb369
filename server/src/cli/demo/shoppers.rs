//! The visitors of the shop: connections that fill it and then look at pages, render those that
//! are missing, and change carts and sessions, at a pace that leaves the machine some air.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::shop::{Page, Shop};
use super::wire::{Frame, Wire};

/// Commands of one batch once the shop is open.
const BATCH: usize = 8;
/// Pages of one batch while it is filled.
const FILL_BATCH: usize = 8;
/// Of each batch: views of the hot product.
const HOT_VIEWS: usize = 2;
/// Of each batch: views of any product.
const VIEWS: usize = 4;
/// Seconds that a session lives after its last use.
const SESSION_S: std::ops::Range<u32> = 20..60;

/// When a latency was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Until the window opens.
    Before = 0,
    /// While slots move.
    Moving = 1,
    /// Afterwards.
    After = 2,
}

/// How fast visitors are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Over which the shop is filled; zero: as fast as it goes.
    pub(super) fill: Duration,
    /// Commands a second of all visitors together; 0: as many as it takes.
    pub(super) rate: u32,
    /// Connections.
    pub(super) clients: u16,
}

/// What the visitors saw, all together.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) commands: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) errors: AtomicU64,
    /// The first error's text.
    pub(super) complaint: Mutex<Option<String>>,
    /// Connections that have filled their part.
    filled: AtomicUsize,
    clients: usize,
    era: AtomicUsize,
    latencies: [Mutex<Histogram<u64>>; 3],
    /// Since it was last asked for.
    recent: Mutex<Histogram<u64>>,
    closed: AtomicBool,
}

impl Tally {
    fn new(clients: u16) -> Tally {
        // A minute at most, to two digits: always valid.
        let histogram = || {
            let made = Histogram::new_with_bounds(1, 60_000_000, 2).expect("valid bounds");
            Mutex::new(made)
        };
        Tally {
            commands: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            complaint: Mutex::new(None),
            filled: AtomicUsize::new(0),
            clients: usize::from(clients),
            era: AtomicUsize::new(Era::Before as usize),
            latencies: [histogram(), histogram(), histogram()],
            recent: histogram(),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether every page has been written once.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Relaxed) == self.clients
    }

    /// From now on latencies count as of this era.
    pub(super) fn begin(&self, era: Era) {
        self.era.store(era as usize, Relaxed);
    }

    /// 99th percentile of an era: a batch sent until its last reply is here, microseconds.
    pub(super) fn p99_us(&self, era: Era) -> u64 {
        self.latencies[era as usize].lock().value_at_quantile(0.99)
    }

    /// The same since the last call.
    pub(super) fn recent_p99_us(&self) -> u64 {
        let mut recent = self.recent.lock();
        let p99 = recent.value_at_quantile(0.99);
        recent.reset();
        p99
    }

    /// Sends the visitors home.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies[self.era.load(Relaxed)].lock().saturating_record(us);
        self.recent.lock().saturating_record(us);
    }

    fn complain(&self, text: String) {
        // Errors after closing time are those of connections that the end cut off.
        if !self.closed.load(Relaxed) {
            self.errors.fetch_add(1, Relaxed);
            self.complaint.lock().get_or_insert(text);
        }
    }
}

/// Visitors on their own thread; dropping it sends them home.
#[derive(Debug)]
pub(super) struct Shoppers {
    pub(super) tally: Arc<Tally>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Shoppers {
    /// Lets them in.
    ///
    /// # Errors
    /// No thread or runtime can be had.
    pub(super) fn start(address: SocketAddr, shop: &Arc<Shop>, pace: Pace) -> io::Result<Shoppers> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tally = Arc::new(Tally::new(pace.clients));
        let of = (Arc::clone(&tally), Arc::clone(shop));
        let thread =
            std::thread::Builder::new().name("ballast-demo-shop".into()).spawn(move || {
                let (tally, shop) = of;
                runtime.block_on(async {
                    let mut visits = Vec::new();
                    for number in 0..pace.clients {
                        let shopper = Shopper::new(number, &shop, &tally, pace);
                        visits.push(tokio::spawn(shopper.visit(address)));
                    }
                    for visit in visits {
                        // A task that panicked has said so on standard error.
                        let _ = visit.await;
                    }
                });
            })?;
        Ok(Shoppers { tally, thread: Some(thread) })
    }
}

impl Drop for Shoppers {
    fn drop(&mut self) {
        self.tally.close();
        if let Some(thread) = self.thread.take() {
            // As above.
            let _ = thread.join();
        }
    }
}

/// One connection's worth of visitors.
struct Shopper {
    number: usize,
    shop: Arc<Shop>,
    tally: Arc<Tally>,
    pace: Pace,
    random: StdRng,
    /// What pages, carts and sessions are cut from.
    paper: Vec<u8>,
}

impl Shopper {
    fn new(number: u16, shop: &Arc<Shop>, tally: &Arc<Tally>, pace: Pace) -> Shopper {
        let words = b"<p>A thing well made, light, and sure to please.</p>\n";
        Shopper {
            number: usize::from(number),
            shop: Arc::clone(shop),
            tally: Arc::clone(tally),
            pace,
            random: StdRng::seed_from_u64(shop.seed ^ (u64::from(number) + 1) << 32),
            paper: words.iter().copied().cycle().take(usize::from(u16::MAX)).collect(),
        }
    }

    async fn visit(mut self, address: SocketAddr) {
        if let Err(error) = self.stay(address).await {
            self.tally.complain(error.to_string());
        }
    }

    async fn stay(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut wire = Wire::connect(address).await?;
        self.fill(&mut wire).await?;
        self.tally.filled.fetch_add(1, Relaxed);
        let clients = u32::from(self.pace.clients);
        let batch = u32::try_from(BATCH).unwrap_or(1);
        let every = Duration::from_secs(1) * clients * batch / self.pace.rate.max(1);
        let mut missing = Vec::new();
        let mut next = Instant::now();
        while !self.tally.closed.load(Relaxed) {
            self.look_around(&mut wire, &mut missing).await?;
            if self.pace.rate > 0 {
                // Behind schedule it goes on at once, but does not catch up.
                next = (next + every).max(Instant::now());
                tokio::time::sleep_until(next.into()).await;
            }
        }
        Ok(())
    }

    /// This connection's part of the pages and visitors.
    async fn fill(&mut self, wire: &mut Wire) -> io::Result<()> {
        let shop = Arc::clone(&self.shop);
        let clients = usize::from(self.pace.clients);
        let mine: Vec<&Page> = shop.pages.iter().skip(self.number).step_by(clients).collect();
        let visitors_each = shop.visitors as usize / shop.pages.len().max(1) + 1;
        let start = Instant::now();
        for (at, batch) in mine.chunks(FILL_BATCH).enumerate() {
            if self.tally.closed.load(Relaxed) {
                return Ok(());
            }
            for page in batch {
                self.render(wire, page);
                for _ in 0..visitors_each {
                    self.change_cart(wire);
                    self.renew_session(wire);
                }
            }
            self.exchange(wire).await?;
            let batches = u32::try_from(mine.len() / FILL_BATCH + 1).unwrap_or(u32::MAX);
            let done = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let due = start + self.pace.fill.mul_f64(f64::from(done) / f64::from(batches));
            tokio::time::sleep_until(due.into()).await;
        }
        Ok(())
    }

    /// One batch of the open shop. `missing` are pages that the last one did not find.
    async fn look_around(&mut self, wire: &mut Wire, missing: &mut Vec<usize>) -> io::Result<()> {
        let shop = Arc::clone(&self.shop);
        let rendered = missing.len();
        for page in missing.drain(..) {
            self.render(wire, &shop.pages[page]);
        }
        let mut views = vec![shop.hot; HOT_VIEWS];
        views.extend((0..VIEWS).map(|_| self.random.random_range(0..shop.pages.len())));
        for page in &views {
            wire.queue(&[b"GET", shop.pages[*page].key.as_bytes()]);
        }
        self.change_cart(wire);
        self.renew_session(wire);
        let replies = self.exchange(wire).await?;
        for (page, reply) in views.iter().zip(&replies[rendered..]) {
            if matches!(reply, Frame::Null) {
                self.tally.misses.fetch_add(1, Relaxed);
                if !missing.contains(page) {
                    missing.push(*page);
                }
            } else {
                self.tally.hits.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    fn render(&self, wire: &mut Wire, page: &Page) {
        wire.queue(&[b"SET", page.key.as_bytes(), &self.paper[..usize::from(page.bytes)]]);
    }

    fn change_cart(&mut self, wire: &mut Wire) {
        let visitor = self.random.random_range(0..self.shop.visitors);
        let page = self.random.random_range(0..self.shop.pages.len());
        let count = self.random.random_range(1..10_u8).to_string();
        let cart = format!("cart:{visitor}");
        // Few different fields, so that carts do not grow without end.
        let product = format!("product-{}", page % 8);
        wire.queue(&[b"HSET", cart.as_bytes(), product.as_bytes(), count.as_bytes()]);
    }

    fn renew_session(&mut self, wire: &mut Wire) {
        let visitor = self.random.random_range(0..self.shop.visitors);
        let seconds = self.random.random_range(SESSION_S).to_string();
        let bytes = self.random.random_range(200..600_usize);
        let key = format!("session:{visitor:08x}");
        let words: [&[u8]; 5] =
            [b"SET", key.as_bytes(), &self.paper[..bytes], b"EX", seconds.as_bytes()];
        wire.queue(&words);
    }

    /// Sends the batch, takes its time, and counts errors.
    async fn exchange(&self, wire: &mut Wire) -> io::Result<Vec<Frame>> {
        let start = Instant::now();
        let replies = wire.exchange().await?;
        self.tally.record(start.elapsed());
        self.tally.commands.fetch_add(replies.len() as u64, Relaxed);
        for reply in &replies {
            if let Frame::Error(text) = reply {
                self.tally.complain(text.to_string());
            }
        }
        Ok(replies)
    }
}
