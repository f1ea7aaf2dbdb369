//! `ballast demo`: a server in this process, a shop whose data overflows one shard, and what the
//! balancer makes of it once its window opens. Everything is real: the visitors are connections,
//! and every figure shown is read from `INFO` and `BALANCER`.

mod frame;
mod picture;
mod plain;
mod reading;
mod shop;
mod shoppers;
mod story;
mod terminal;
mod wire;
mod words;

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Parser;

pub use self::plain::Summary;

use self::frame::{Frame, Memory, Visitors};
use self::reading::{Operator, PlanReading, Reading};
use self::shop::Shop;
use self::shoppers::{Era, Pace, Shoppers};
use self::story::{Facts, Lengths, Scene, Story};
use self::terminal::{Colours, Screen};
use crate::log::Log;
use crate::server::{Builder, Server};

/// The flags of `ballast demo`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ballast demo",
    about = "Fills a server in this process unevenly and shows how it levels itself.",
    after_help = "Without a terminal on standard output it is --plain. NO_COLOR turns colours off."
)]
pub struct Options {
    /// One line a second instead of the live picture.
    #[arg(long)]
    pub plain: bool,
    /// How long it takes; 0: until Ctrl-C.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub seconds: u64,
    /// Shard threads.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=16))]
    pub shards: u16,
    /// MiB that all slots together may hold.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    pub memory_mb: u64,
    /// Connections of visitors.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub clients: u16,
    /// Commands a second of all visitors together.
    #[arg(long, default_value_t = 6000, value_parser = clap::value_parser!(u32).range(8..))]
    pub rate: u32,
    /// What the shop's data and its visitors follow from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Port of the server, to look at it with redis-cli; 0: a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// Between two pictures.
const PICTURE_EVERY: Duration = Duration::from_millis(250);
/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The shop is filled in this part of the time, and in no less and no more than these.
const FILL_PART: u64 = 5;
const FILL_S: std::ops::RangeInclusive<u64> = 2..=10;
/// Spread under which it counts as level: the balancer's own start threshold, points.
const LEVEL_POINTS: f64 = 10.0;
/// Slots in one round of the balancer: slow motion, for its default would be done before anybody
/// has seen it. Once it is level the default applies.
const BATCH_SLOW: &str = "4";
const BATCH_DEFAULT: &str = "64";

/// Runs the demo on standard output, until it ends or a signal ends it.
///
/// # Errors
/// The server does not start, or a connection to it breaks.
pub fn run(options: &Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let demo = Demo::start(options, Lengths::of(options.seconds), pace(options)).await?;
        if options.plain || !io::stdout().is_terminal() {
            run_plain(demo, &mut io::stdout(), LINE_EVERY, u64::MAX, signalled()).await.map(drop)
        } else {
            run_live(demo).await
        }
    });
    match ended {
        // Whoever read this has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn pace(options: &Options) -> Pace {
    let fill_s = (options.seconds / FILL_PART).clamp(*FILL_S.start(), *FILL_S.end());
    let fill_s = if options.seconds == 0 { *FILL_S.end() } else { fill_s };
    Pace { fill: Duration::from_secs(fill_s), rate: options.rate, clients: options.clients }
}

/// When the process is told to end.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let ends = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = ends else {
        // Then signals end the process as usual.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes a line for each of at most `steps_max` looks, the plan, and the summary.
async fn run_plain(
    mut demo: Demo,
    output: &mut dyn Write,
    every: Duration,
    steps_max: u64,
    stop: impl Future<Output = ()>,
) -> io::Result<Summary> {
    let mut stop = pin!(stop);
    writeln!(output, "{}", demo.introduction())?;
    for _ in 0..steps_max {
        let (frame, begun) = demo.step().await?;
        writeln!(output, "{}", plain::line(&frame))?;
        if begun == Some(Scene::Levelling) {
            write!(output, "{}", plain::plan(frame.plan.as_ref().unwrap_or(&Default::default())))?;
        }
        match begun {
            Some(Scene::Levelling) => {
                writeln!(output, "-- balancer-windows \"{}\": now", demo.windows.1)?;
                writeln!(output, "-- {}", Scene::Levelling.sentence())?;
            }
            Some(scene) => writeln!(output, "-- {}", scene.sentence())?,
            None => {}
        }
        output.flush()?;
        if begun == Some(Scene::Done) {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = &mut stop => break,
        }
    }
    let summary = demo.finish().await?;
    write!(output, "{}", plain::summary(&summary))?;
    output.flush()?;
    Ok(summary)
}

/// Draws the live picture; leaves the last one and the summary behind.
async fn run_live(mut demo: Demo) -> io::Result<()> {
    let screen = Screen::enter(Colours::wanted())?;
    let mut stop = pin!(signalled());
    loop {
        let (frame, begun) = demo.step().await?;
        let (columns, rows) = Screen::size();
        screen.show(&picture::draw(&frame, columns, rows))?;
        if begun == Some(Scene::Done) {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(PICTURE_EVERY) => {}
            () = &mut stop => break,
        }
    }
    drop(screen);
    let summary = demo.finish().await?;
    write!(io::stdout(), "{}", plain::summary(&summary))
}

/// A running demo.
struct Demo {
    server: Server,
    operator: Operator,
    shoppers: Shoppers,
    story: Story,
    memory: Memory,
    start: Instant,
    /// The window in hours that are not now, and in those that are.
    windows: (String, String),
    plan: Option<PlanReading>,
    last: Option<(Reading, Frame)>,
    p99_us: u64,
    summary: Summary,
    /// Milliseconds and evicted keys when the window opened and when it was level.
    opened: Option<(u64, u64)>,
    level: Option<(u64, u64)>,
}

impl Demo {
    async fn start(options: &Options, lengths: Lengths, pace: Pace) -> io::Result<Demo> {
        let windows = windows(crate::clock::Clock::system().wall_ms());
        let memory = options.memory_mb << 20;
        let server =
            builder(options, memory, &windows.0).start().await.map_err(io::Error::other)?;
        let address = server.address();
        let mut operator = Operator::connect(address).await?;
        // What the process itself needs comes on top.
        let share = operator.read(0).await?.capacity;
        let overhead = memory.saturating_sub(share * u64::from(options.shards));
        operator.set("maxmemory", &(memory + overhead).to_string()).await?;
        let shop = Shop::new(options.seed, options.shards, memory / u64::from(options.shards));
        let shoppers = Shoppers::start(address, &shop, pace)?;
        Ok(Demo {
            server,
            operator,
            shoppers,
            story: Story::new(lengths),
            memory: Memory::default(),
            start: Instant::now(),
            windows,
            plan: None,
            last: None,
            p99_us: 0,
            summary: Summary { shards: usize::from(options.shards), ..Summary::default() },
            opened: None,
            level: None,
        })
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn introduction(&self) -> String {
        format!(
            "A shop on {} with {} shards; balancer-windows \"{}\", which is not now.",
            self.address(),
            self.summary.shards,
            self.windows.0
        )
    }

    /// Looks once, and does what the story asks for. The scene, if one begins.
    async fn step(&mut self) -> io::Result<(Frame, Option<Scene>)> {
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let reading = self.operator.read(at_ms).await?;
        let visitors = self.visitors(at_ms);
        let facts = self.facts(&reading);
        let mut frame = self.memory.frame(&reading, visitors, self.story.scene());
        frame.address = self.address().to_string();
        let begun = self.story.step(facts);
        match begun {
            Some(Scene::Levelling) => self.open_window(&frame, at_ms).await?,
            Some(Scene::Level) => {
                self.level = Some((at_ms, reading.evicted()));
                self.summary.moved_until_level = (reading.moves, reading.moved_bytes);
                self.shoppers.tally.begin(Era::After);
                self.operator.set("balancer-thread-batch", BATCH_DEFAULT).await?;
            }
            _ => {}
        }
        frame.scene = self.story.scene();
        frame.plan.clone_from(&self.plan);
        self.last = Some((reading, frame.clone()));
        Ok((frame, begun))
    }

    fn visitors(&mut self, at_ms: u64) -> Visitors {
        let tally = &self.shoppers.tally;
        let new_second =
            self.last.as_ref().is_none_or(|(last, _)| last.at_ms / 1000 != at_ms / 1000);
        if new_second {
            self.p99_us = tally.recent_p99_us();
        }
        Visitors {
            commands: tally.commands.load(Relaxed),
            hits: tally.hits.load(Relaxed),
            misses: tally.misses.load(Relaxed),
            errors: tally.errors.load(Relaxed),
            p99_us: self.p99_us,
        }
    }

    fn facts(&self, reading: &Reading) -> Facts {
        let evicted_before = self.last.as_ref().map_or(0, |(last, _)| last.evicted());
        // Small moves may go on, because evicted pages come back where they were. And it may need
        // fewer than in the plan that was shown before the window opened.
        let planned = self.plan.as_ref().map_or(0, |plan| plan.slots);
        let done = reading.moves >= planned || reading.state == "idle";
        Facts {
            at_ms: reading.at_ms,
            filled: self.shoppers.tally.is_filled(),
            uneven: reading.evicted() > 0 && reading.queued_moves > 0,
            level: reading.moves > 0 && done && reading.spread() < LEVEL_POINTS,
            quiet: reading.evicted() == evicted_before,
        }
    }

    /// Asks for the plan that waits, then moves the window to the hours of now.
    async fn open_window(&mut self, frame: &Frame, at_ms: u64) -> io::Result<()> {
        self.plan = Some(self.operator.plan().await?);
        self.summary.spread.0 = frame.spread;
        self.summary.evictions_per_s.0 = frame.evictions;
        self.summary.hit_rate.0 = frame.hit_rate;
        self.opened = Some((at_ms, frame.evicted));
        self.shoppers.tally.begin(Era::Moving);
        self.operator.set("balancer-windows", &self.windows.1).await
    }

    /// The figures; stops the server.
    async fn finish(mut self) -> io::Result<Summary> {
        let mut summary = std::mem::take(&mut self.summary);
        if let Some((reading, frame)) = &self.last {
            let now = reading.evicted();
            let opened = self.opened.map_or(now, |(_, evicted)| evicted);
            let level = self.level.map_or(now, |(_, evicted)| evicted);
            summary.evicted = (opened, level - opened, now - level);
            summary.spread.1 = frame.spread;
            summary.evictions_per_s.1 = frame.evictions;
            summary.hit_rate.1 = frame.hit_rate;
            summary.moved = (reading.moves, reading.moved_bytes);
            if self.level.is_none() {
                summary.moved_until_level = summary.moved;
            }
            summary.failed_moves = reading.failed_moves;
        }
        let between = self.opened.zip(self.level);
        summary.level_after_ms = between.map(|((opened, _), (level, _))| level - opened);
        summary.lower_bound = self.plan.as_ref().map_or(0, |plan| plan.lower_bound);
        summary.relief = self.operator.relief().await?;
        let tally = &self.shoppers.tally;
        tally.close();
        summary.commands = tally.commands.load(Relaxed);
        summary.errors = tally.errors.load(Relaxed);
        summary.complaint = tally.complaint.lock().clone();
        summary.p99_us =
            (tally.p99_us(Era::Before), tally.p99_us(Era::Moving), tally.p99_us(Era::After));
        let Demo { server, shoppers, .. } = self;
        drop(shoppers);
        server.shutdown().await;
        Ok(summary)
    }
}

fn builder(options: &Options, memory: u64, windows: &str) -> Builder {
    let builder = Server::builder()
        .log(Log::in_memory())
        .start_empty()
        .seed(options.seed)
        .directive("shards", &options.shards.to_string())
        .directive("maxmemory", &memory.to_string())
        .directive("maxmemory-policy", "allkeys-lru")
        // Otherwise one shard may take what the others leave, and nothing is evicted.
        .directive("maxmemory-shard-percent", "100")
        .directive("save", "")
        .directive("balancer-thread-mode", "auto")
        .directive("balancer-windows", windows)
        // Without this, a full shard is relieved outside windows, too.
        .directive("balancer-emergency", "off")
        .directive("balancer-interval", "1 60")
        .directive("balancer-thread-batch", BATCH_SLOW);
    if options.port == 0 {
        return builder.any_port();
    }
    builder.directive("bind", "127.0.0.1").directive("port", &options.port.to_string())
}

/// Windows that are closed and open at a moment, for hours to come.
fn windows(now_ms: i64) -> (String, String) {
    let hour = now_ms.div_euclid(3_600_000);
    let at = |hours: i64| (hour + hours).rem_euclid(24);
    let window = |from: i64, to: i64| format!("daily {:02}:00-{:02}:00", at(from), at(to));
    (window(8, 10), window(-1, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_understood() {
        let options = Options::try_parse_from(["demo", "--plain", "--seconds", "5"]);
        let options = options.expect("valid flags");
        assert!(options.plain);
        assert_eq!((options.seconds, options.shards, options.seed), (5, 4, 1));
        assert!(Options::try_parse_from(["demo", "--shards", "1"]).is_err());
    }

    #[test]
    fn windows_are_of_now_and_not_of_now() {
        let (closed, open) = windows(17 * 3_600_000 + 1_800_000);
        assert_eq!((closed.as_str(), open.as_str()), ("daily 01:00-03:00", "daily 16:00-23:00"));
    }

    /// The whole demo, as fast as it goes: each scene waits for what it is about, none for time.
    #[test]
    fn the_story_is_true() {
        let arguments = ["demo", "--plain", "--memory-mb", "32", "--clients", "4"];
        let options = Options::try_parse_from(arguments).expect("valid flags");
        let lengths = Lengths { uneven_ms: 0, level_ms: 0, total_ms: 1, give_up_ms: 0 };
        let pace = Pace { fill: Duration::ZERO, rate: 4000, clients: options.clients };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut output = Vec::new();
        let summary = runtime.expect("a runtime").block_on(async {
            let demo = Demo::start(&options, lengths, pace).await?;
            let every = Duration::from_millis(10);
            run_plain(demo, &mut output, every, 20_000, std::future::pending()).await
        });
        let text = String::from_utf8(output).expect("text");
        let summary = summary.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let told = |scene: Scene| text.contains(&format!("-- {}", scene.sentence()));
        for scene in [Scene::Uneven, Scene::Levelling, Scene::Level, Scene::Done] {
            assert!(told(scene), "{scene:?}\n{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(text.contains("\nplan: "), "{text}");
        assert_eq!((summary.errors, summary.failed_moves), (0, 0), "{text}");
        assert!(summary.spread.0 > 20.0 && summary.spread.1 < LEVEL_POINTS, "{text}");
        assert!(summary.evicted.0 > 0 && summary.moved.0 > 0, "{text}");
    }
}
