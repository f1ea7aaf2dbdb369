//! The writer over files that fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Set;
use super::writer::{LogFile, Writer, open_file};
use crate::clock::Clock;
use crate::config::Config;
use crate::log::Log;
use crate::node::Node;
use crate::node::append_only::Told;
use crate::node::disk::SystemDisk;
use crate::node::effects::{FILE, record};

/// Bytes that the disk still takes; what is written beyond is not, and a write that crosses the
/// end is done in part.
static ROOM: AtomicUsize = AtomicUsize::new(usize::MAX);
/// One test at a time has the disk.
static DISK: Mutex<()> = Mutex::new(());
static CUTS: AtomicU32 = AtomicU32::new(0);
/// So many cuts fail.
static UNCUT: AtomicU32 = AtomicU32::new(0);
static FLUSHES: AtomicBool = AtomicBool::new(true);

struct Faulty(Arc<dyn LogFile>);

impl LogFile for Faulty {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let room = ROOM.load(Ordering::SeqCst);
        if bytes.len() <= room {
            return self.0.append(bytes);
        }
        self.0.append(&bytes[..room])?;
        // ENOSPC
        Err(io::Error::from_raw_os_error(28))
    }

    fn flush(&self) -> io::Result<()> {
        if FLUSHES.load(Ordering::SeqCst) {
            self.0.flush()
        } else {
            Err(io::Error::other("worn out"))
        }
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        if UNCUT
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(io::Error::other("worn out"));
        }
        CUTS.fetch_add(1, Ordering::SeqCst);
        self.0.cut(len)
    }
}

fn open_faulty(path: &Path) -> io::Result<(Arc<dyn LogFile>, u64)> {
    let (file, bytes) = open_file(path)?;
    Ok((Arc::new(Faulty(file)), bytes))
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn node(policy: &str) -> (Arc<Node>, Directory) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ballast-append-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).unwrap();
    let mut config = Config::default();
    config.preset("dir", path.to_str().unwrap()).unwrap();
    config.preset("shards", "1").unwrap();
    config.preset("appendonly", "yes").unwrap();
    config.preset("appendfsync", policy).unwrap();
    let log = Log::open("", crate::log::Level::Warning).unwrap();
    let disk = Arc::new(SystemDisk);
    (Arc::new(Node::new(config, Clock::system(), log, 1, disk)), Directory(path))
}

/// A running writer whose file is there.
fn start(node: &Arc<Node>) -> std::thread::JoinHandle<()> {
    let config = node.config.load();
    let receiver = node.append_only.take_receiver().unwrap();
    let writer = Writer::new(Arc::clone(node), receiver, None, open_faulty).unwrap();
    let thread = std::thread::spawn(move || writer.run());
    let base = super::temporary_base(&config).unwrap();
    std::fs::write(&base, "REDIS0010\u{ff}").unwrap();
    node.append_only.begin_rewrite(0);
    node.append_only.send(Told::NextFile);
    node.append_only.send(Told::Base(Some(base)));
    written(node);
    thread
}

fn written(node: &Node) {
    let (sender, receiver) = std::sync::mpsc::channel();
    node.append_only.send(Told::Written(sender));
    receiver.recv().unwrap();
}

fn send(node: &Node, value: &str) {
    let mut buffer = Vec::new();
    record(&mut buffer, (1, 0), FILE, 0, [b"DEL", value.as_bytes()].into_iter());
    node.append_only.send(Told::Effects(buffer));
}

fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::yield_now();
    }
}

fn file(node: &Node) -> String {
    let set = Set::find(&node.config.load()).unwrap().unwrap();
    std::fs::read_to_string(set.incremental().last().unwrap()).unwrap()
}

#[test]
fn what_a_full_disk_refuses_is_written_whole_when_there_is_room() {
    let _disk = DISK.lock();
    let (node, _directory) = node("no");
    let thread = start(&node);
    send(&node, "first");
    written(&node);
    let before = file(&node);
    ROOM.store(5, Ordering::SeqCst);
    let cuts = CUTS.load(Ordering::SeqCst);
    UNCUT.store(2, Ordering::SeqCst);
    send(&node, "second");
    wait_until(|| node.append_only.has_failed());
    // A part of the command was written, and is gone again.
    wait_until(|| CUTS.load(Ordering::SeqCst) > cuts + 1);
    let is_full = |why: String| why == "No space left on device";
    wait_until(|| node.append_only.failure().is_some_and(is_full));
    ROOM.store(usize::MAX, Ordering::SeqCst);
    wait_until(|| !node.append_only.has_failed());
    written(&node);
    assert_eq!(file(&node), format!("{before}*2\r\n$3\r\nDEL\r\n$6\r\nsecond\r\n"));
    node.append_only.shard_ended();
    thread.join().unwrap();
    assert!(!node.has_failed.load(Ordering::SeqCst));
}

#[test]
fn who_switches_it_off_goes_on_without() {
    let _disk = DISK.lock();
    let (node, _directory) = node("no");
    let thread = start(&node);
    ROOM.store(5, Ordering::SeqCst);
    send(&node, "first");
    wait_until(|| node.append_only.has_failed());
    assert!(node.refuses_writes().unwrap().starts_with("MISCONF Errors writing to the AOF file"));
    node.config.update(|config| config.preset("appendonly", "no")).unwrap();
    wait_until(|| !node.append_only.has_failed());
    assert_eq!(node.refuses_writes(), None);
    ROOM.store(usize::MAX, Ordering::SeqCst);
    node.append_only.shard_ended();
    thread.join().unwrap();
}

#[test]
fn with_always_the_server_ends_before_it_lets_a_reply_go() {
    let _disk = DISK.lock();
    let (node, _directory) = node("always");
    // As a shard does that takes over the configuration.
    node.look_at_files();
    let thread = start(&node);
    send(&node, "first");
    written(&node);
    FLUSHES.store(false, Ordering::SeqCst);
    send(&node, "second");
    thread.join().unwrap();
    FLUSHES.store(true, Ordering::SeqCst);
    assert!(node.has_failed.load(Ordering::SeqCst) && node.stopping.load(Ordering::SeqCst));
    assert!(node.append_only.is_slow(), "replies are still held");
}
