//! The thread that writes the append-only file: it appends what the shards send, in order, has it
//! flushed as `appendfsync` says, and puts new files in the place of old ones.
//!
//! Invariant: the manifest never names a file that is not complete, and a file goes only when the
//! manifest on disk names it no more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::encode::Encoder;
use super::manifest::{Manifest, Part};
use super::place::{Place, UNFINISHED};
use crate::config::{Config, FlushPolicy, system_reason};
use crate::log::Level;
use crate::node::Node;
use crate::node::append_only::{Effort, Told};
use crate::node::effects::FILE;
use crate::node::latency::Event;

/// Bytes that are written at once, about.
const WRITE_BYTES: usize = 1 << 20;
/// What comes later is looked at no later.
const TICK: Duration = Duration::from_millis(100);
/// The same without a file.
const IDLE_TICK: Duration = Duration::from_secs(10);
/// Between two writes that no reply waits for.
const REST: Duration = Duration::from_millis(1);
/// Between two flushes with `everysec`.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// A flush that takes longer counts as delayed, as in Redis.
const SLOW_FLUSH: Duration = Duration::from_secs(2);

/// A file that is appended to.
pub(super) trait LogFile: Send + Sync {
    /// Writes all of it to the end, or fails with a part of it written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when all is on disk.
    fn flush(&self) -> io::Result<()>;
    /// Cuts what is behind so many bytes.
    fn cut(&self, len: u64) -> io::Result<()>;
}

impl LogFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Opens a file to append to, and says how long it is.
pub(super) type Opener = fn(&Path) -> io::Result<(Arc<dyn LogFile>, u64)>;

/// [`Opener`] of real files.
pub(super) fn open_file(path: &Path) -> io::Result<(Arc<dyn LogFile>, u64)> {
    let file = OpenOptions::new().append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((Arc::new(file), bytes))
}

/// What is written to.
struct Current {
    file: Arc<dyn LogFile>,
    /// Bytes of whole commands.
    bytes: u64,
    /// There may be a part of a command behind them.
    is_torn: bool,
    encoder: Encoder,
}

/// What a rewrite leaves behind if it fails.
enum Rewrite {
    /// There is none.
    None,
    /// The file that was begun with it is one more of the set.
    Listed,
    /// The file that was begun with it is not in the manifest: nothing that it continues is.
    Apart(PathBuf),
    /// Its file could not be made.
    Failed,
}

/// See the module.
pub(super) struct Writer {
    node: Arc<Node>,
    opener: Opener,
    place: Place,
    receiver: Receiver<Told>,
    manifest: Manifest,
    current: Option<Current>,
    rewrite: Rewrite,
    /// Commands that are not in the file yet.
    out: Vec<u8>,
    /// Bytes of effects whose commands are in `out`.
    taken_bytes: u64,
    /// Messages that have been received.
    received: u64,
    /// Something has been written and not flushed.
    is_unflushed: bool,
    flushed_at: Instant,
    flusher: Sender<Arc<dyn LogFile>>,
    ends: bool,
}

impl Writer {
    /// Goes on with the files of a manifest, if there is one; otherwise writes nothing yet.
    ///
    /// # Errors
    /// If the last file cannot be opened.
    pub(super) fn new(
        node: Arc<Node>,
        receiver: Receiver<Told>,
        manifest: Option<Manifest>,
        opener: Opener,
    ) -> io::Result<Writer> {
        let place = Place::of(&node.config.load());
        let (flusher, jobs) = bounded(1);
        let flushing = Arc::clone(&node);
        std::thread::Builder::new()
            .name("ballast-flush".into())
            .spawn(move || flush_all(&flushing, &jobs))?;
        let mut writer = Writer {
            node,
            opener,
            place,
            receiver,
            manifest: Manifest::default(),
            current: None,
            rewrite: Rewrite::None,
            out: Vec::new(),
            taken_bytes: 0,
            received: 0,
            is_unflushed: false,
            flushed_at: Instant::now(),
            flusher,
            ends: false,
        };
        if writer.node.config.load().appendonly {
            writer.place.remove_unfinished();
        }
        if let Some(manifest) = manifest {
            writer.manifest = manifest;
            writer.resume()?;
        }
        Ok(writer)
    }

    /// Opens the last file of the manifest, or a new one.
    fn resume(&mut self) -> io::Result<()> {
        let last = self.manifest.incremental().last().cloned();
        let part = match last {
            Some(part) => part,
            None => {
                let mut manifest = self.manifest.clone();
                let part = manifest.add_incremental(&self.place.stem);
                File::create(self.place.path(&part))?.sync_all()?;
                self.place.write_manifest(&manifest)?;
                self.manifest = manifest;
                part
            }
        };
        self.current = Some(self.open(&self.place.path(&part))?);
        self.remove_history();
        self.count_base();
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Current> {
        let (file, bytes) = (self.opener)(path)?;
        Ok(Current { file, bytes, is_torn: false, encoder: Encoder::new() })
    }

    /// Writes until the server ends.
    pub(super) fn run(mut self) {
        while !self.ends {
            // Without a file there is nothing to look after.
            let tick = if self.current.is_some() { TICK } else { IDLE_TICK };
            match self.receiver.recv_timeout(tick) {
                Ok(told) => self.take(told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.ends = true,
            }
            while self.out.len() < WRITE_BYTES && !self.ends {
                let Ok(told) = self.receiver.try_recv() else { break };
                self.take(told);
            }
            self.settle();
            if !self.ends && !self.is_strict() {
                // Nobody waits: what comes meanwhile is written in one go, and no shard has to wake
                // this thread for it.
                std::thread::sleep(REST);
            }
        }
    }

    fn is_strict(&self) -> bool {
        self.node.config.load().appendfsync == FlushPolicy::Always
    }

    /// Takes a message.
    fn take(&mut self, told: Told) {
        self.received += 1;
        match told {
            Told::Effects(effects) => self.encode(&effects),
            Told::NextFile => {
                self.settle();
                self.next_file();
            }
            Told::Base(base) => {
                self.settle();
                self.end_rewrite(base.as_deref());
            }
            Told::Written(sender) => {
                self.settle();
                // Who asked may have gone.
                let _ = sender.send(());
            }
            Told::Off => {
                self.settle();
                self.turn_off();
            }
            Told::End => {
                self.settle();
                self.flush_now();
                self.ends = true;
            }
        }
    }

    fn encode(&mut self, effects: &[u8]) {
        self.taken_bytes += effects.len() as u64;
        let Some(current) = &mut self.current else { return };
        if self.node.config.load().aof_timestamp_enabled {
            current.encoder.tell_time(self.node.clock.wall_ms() / 1000, &mut self.out);
        }
        current.encoder.append(effects, FILE, &mut self.out);
    }

    /// Writes what has come, and flushes it if its replies wait for that. While the file cannot be
    /// written nothing goes on.
    fn settle(&mut self) {
        let config = self.node.config.load();
        let is_strict = config.appendfsync == FlushPolicy::Always;
        while let Err(error) = self.write(is_strict) {
            self.fail(&error, is_strict);
            if self.node.stopping.load(Ordering::Acquire) {
                let lost = self.out.len();
                self.say(
                    Level::Warning,
                    &format!("{lost} bytes of commands could not be written to the AOF file."),
                );
                self.ends = true;
                return;
            }
            if !self.node.config.load().appendonly {
                // Whoever has switched it off wants to go on without.
                self.current = None;
            }
            std::thread::sleep(TICK);
        }
        if self.node.append_only.fails(Effort::Write) {
            self.node.append_only.set_failure(Effort::Write, None);
            self.node.look_at_files();
            self.say(Level::Warning, "AOF write error looks solved, the server can write again.");
        }
        self.node.append_only.written(std::mem::take(&mut self.taken_bytes));
        self.node.append_only.settled(self.received);
        self.flush_if_due(&config);
    }

    fn write(&mut self, is_strict: bool) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            self.out.clear();
            return Ok(());
        };
        if current.is_torn {
            // Nothing may come behind a part of a command.
            current.file.cut(current.bytes)?;
            current.is_torn = false;
        }
        if !self.out.is_empty() {
            let began = Instant::now();
            let appended = current.file.append(&self.out);
            note_write(&self.node, began.elapsed());
            if let Err(error) = appended {
                current.is_torn = current.file.cut(current.bytes).is_err();
                return Err(error);
            }
            current.bytes += self.out.len() as u64;
            self.node
                .append_only
                .figures
                .size_bytes
                .fetch_add(self.out.len() as u64, Ordering::Relaxed);
            self.out.clear();
            self.out.shrink_to(WRITE_BYTES);
            self.is_unflushed = true;
        }
        if is_strict && self.is_unflushed {
            let began = Instant::now();
            current.file.flush()?;
            self.is_unflushed = false;
            self.flushed_at = Instant::now();
            note(&self.node, Event::AofFsyncAlways, self.flushed_at - began);
        }
        Ok(())
    }

    /// The file cannot be written. With `always` the server ends, as Redis does: replies wait whose
    /// writes can't be kept, and none may leave.
    fn fail(&mut self, error: &io::Error, is_strict: bool) {
        let reason = system_reason(error);
        if self.node.append_only.set_failure(Effort::Write, Some(reason.clone())) {
            self.say(Level::Warning, &format!("Error writing to the AOF file: {reason}"));
            self.node.look_at_files();
        }
        if is_strict {
            self.say(
                Level::Warning,
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. \
                 Exiting...",
            );
            self.node.fail();
        }
    }

    fn flush_if_due(&mut self, config: &Config) {
        let rests = config.no_appendfsync_on_rewrite && !matches!(self.rewrite, Rewrite::None);
        let is_due = (self.is_unflushed || self.node.append_only.fails(Effort::Flush))
            && config.appendfsync == FlushPolicy::EverySecond
            && self.flushed_at.elapsed() >= FLUSH_INTERVAL
            && !rests;
        if let (true, Some(current)) = (is_due, &self.current)
            && !self.node.append_only.figures.is_flushing.load(Ordering::Acquire)
        {
            self.node.append_only.figures.is_flushing.store(true, Ordering::Release);
            // There is room, as no flush is under way.
            let _ = self.flusher.try_send(Arc::clone(&current.file));
            self.is_unflushed = false;
            self.flushed_at = Instant::now();
        }
    }

    /// Flushes at once, whatever the policy.
    fn flush_now(&mut self) {
        if let Some(current) = &self.current
            && let Err(error) = current.file.flush()
        {
            let reason = system_reason(&error);
            self.say(Level::Warning, &format!("Fail to fsync the AOF file: {reason}"));
        }
        self.is_unflushed = false;
    }

    /// Begins another file: what comes now continues the base that is being made.
    fn next_file(&mut self) {
        self.flush_now();
        let begun = match self.current {
            Some(_) => self.begin_listed(),
            None => self.begin_apart(),
        };
        self.rewrite = begun.unwrap_or_else(|error| {
            let reason = system_reason(&error);
            self.say(Level::Warning, &format!("Can't begin a new AOF file: {reason}"));
            Rewrite::Failed
        });
    }

    fn begin_listed(&mut self) -> io::Result<Rewrite> {
        let mut manifest = self.manifest.clone();
        let part = manifest.add_incremental(&self.place.stem);
        let path = self.place.path(&part);
        File::create(&path)?;
        let current = self.open(&path)?;
        self.place.write_manifest(&manifest)?;
        self.manifest = manifest;
        self.current = Some(current);
        Ok(Rewrite::Listed)
    }

    fn begin_apart(&mut self) -> io::Result<Rewrite> {
        self.place.make_directory()?;
        self.manifest = self.place.read_manifest()?;
        let path = self.place.directory.join(format!("{UNFINISHED}{}.incr", self.place.stem));
        File::create(&path)?;
        self.current = Some(self.open(&path)?);
        Ok(Rewrite::Apart(path))
    }

    /// A base is there, or could not be made.
    fn end_rewrite(&mut self, base: Option<&Path>) {
        let rewrite = std::mem::replace(&mut self.rewrite, Rewrite::None);
        self.flush_now();
        let done = match (&rewrite, base) {
            (Rewrite::Failed | Rewrite::None, _) | (_, None) => Err(None),
            (Rewrite::Listed, Some(base)) => self.put_base(base, None).map_err(Some),
            (Rewrite::Apart(apart), Some(base)) => self.put_base(base, Some(apart)).map_err(Some),
        };
        if let Err(error) = &done {
            let reason = error.as_ref().map(|error| format!(": {}", system_reason(error)));
            let reason = reason.unwrap_or_default();
            self.say(Level::Warning, &format!("Background AOF rewrite failed{reason}"));
            if let Some(base) = base {
                let _ = fs::remove_file(base);
            }
            if let Rewrite::Apart(apart) = &rewrite {
                let _ = fs::remove_file(apart);
                self.current = None;
            }
        } else {
            self.say(Level::Notice, "Background AOF rewrite finished successfully");
        }
        let now_ms = self.node.clock.wall_ms();
        self.node.append_only.figures.is_on.store(self.current.is_some(), Ordering::SeqCst);
        self.node.append_only.end_rewrite(now_ms, done.is_ok());
    }

    /// Puts a base in the place of all that came before the present file, which gets its name if it
    /// has none.
    fn put_base(&mut self, base: &Path, apart: Option<&Path>) -> io::Result<()> {
        let mut manifest = self.manifest.clone();
        if let Some(apart) = apart {
            let part = manifest.add_incremental(&self.place.stem);
            fs::rename(apart, self.place.path(&part))?;
        }
        let extension = if base.extension().is_some_and(|it| it == "aof") { "aof" } else { "rdb" };
        let part = manifest.replace_base(&self.place.stem, extension);
        fs::rename(base, self.place.path(&part))?;
        self.place.write_manifest(&manifest)?;
        self.manifest = manifest;
        self.remove_history();
        self.count_base();
        Ok(())
    }

    /// Removes files that the manifest on disk needs no more, and then their names from it.
    fn remove_history(&mut self) {
        let history: Vec<Part> = self.manifest.history().cloned().collect();
        if history.is_empty() || self.node.config.load().aof_disable_auto_gc {
            return;
        }
        for part in &history {
            let _ = fs::remove_file(self.place.path(part));
        }
        let mut manifest = self.manifest.clone();
        manifest.forget_history();
        if self.place.write_manifest(&manifest).is_ok() {
            self.manifest = manifest;
        }
    }

    /// Notes what the files have together.
    fn count_base(&self) {
        let bytes: u64 = self
            .manifest
            .base()
            .into_iter()
            .chain(self.manifest.incremental())
            .filter_map(|part| fs::metadata(self.place.path(part)).ok())
            .map(|found| found.len())
            .sum();
        let figures = &self.node.append_only.figures;
        figures.size_bytes.store(bytes, Ordering::Relaxed);
        figures.base_bytes.store(bytes, Ordering::Relaxed);
        figures.is_on.store(true, Ordering::SeqCst);
    }

    fn turn_off(&mut self) {
        self.flush_now();
        if self.node.append_only.set_failure(Effort::Flush, None) {
            self.node.look_at_files();
        }
        if let Rewrite::Apart(apart) = std::mem::replace(&mut self.rewrite, Rewrite::None) {
            let _ = fs::remove_file(apart);
        }
        self.current = None;
        self.node.append_only.figures.is_on.store(false, Ordering::SeqCst);
    }

    fn say(&self, level: Level, text: &str) {
        self.node.log.line(self.node.clock.wall_ms(), level, text);
    }
}

/// Notes how long writing took, and what the disk had to do meanwhile.
fn note_write(node: &Node, took: Duration) {
    note(node, Event::AofWrite, took);
    let is_flushing = node.append_only.figures.is_flushing.load(Ordering::Relaxed);
    let event = match node.snapshots.current() {
        _ if is_flushing => Event::AofWritePendingFsync,
        Some(_) => Event::AofWriteActiveChild,
        None => Event::AofWriteAlone,
    };
    note(node, event, took);
}

fn note(node: &Node, event: Event, took: Duration) {
    let threshold_ms = node.config.load().latency_monitor_threshold_ms;
    let mut latency = node.latency.lock();
    latency.configure(threshold_ms);
    latency.took(event, took, node.clock.wall_ms());
}

/// Flushes files one after the other, aside: the writer goes on meanwhile.
fn flush_all(node: &Node, jobs: &Receiver<Arc<dyn LogFile>>) {
    for file in jobs {
        let began = Instant::now();
        let failure = file.flush().err().map(|error| system_reason(&error));
        if node.append_only.set_failure(Effort::Flush, failure.clone()) {
            let text = match failure {
                Some(reason) => format!("Fail to fsync the AOF file: {reason}"),
                None => "The AOF file can be flushed again.".to_owned(),
            };
            node.log.line(node.clock.wall_ms(), Level::Warning, &text);
            node.look_at_files();
        }
        let figures = &node.append_only.figures;
        let is_slow = began.elapsed() > SLOW_FLUSH;
        figures.delayed_flushes.fetch_add(u64::from(is_slow), Ordering::Relaxed);
        figures.is_flushing.store(false, Ordering::Release);
    }
}
