//! `maxmemory` is the node's: nothing is refused or evicted below it, wherever keys lie, and what
//! is above it is gone before the next write. Several servers in one process have each their own.

#![forbid(unsafe_code)]

use std::time::Duration;

use ballast_server::{Clock, Server};
use ballast_tests::support::{Client, InProcess, Reply, Target, seed, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: ballast_storage::memory::CountingAllocator =
    ballast_storage::memory::CountingAllocator;

const MIB: u64 = 1 << 20;
const SHARDS: [u16; 3] = [1, 4, 16];
const EVICTING: [&str; 7] = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

struct Node {
    server: InProcess,
    client: Client,
    maxmemory: u64,
}

impl Node {
    fn start(shards: u16, maxmemory: u64, policy: &str) -> Node {
        let (clock, _) = Clock::manual(1_700_000_000_000);
        let builder = Server::builder()
            .directive("shards", &shards.to_string())
            .directive("maxmemory", &maxmemory.to_string())
            .directive("maxmemory-policy", policy)
            .directive("enable-debug-command", "yes")
            .clock(clock)
            .seed(seed());
        let server = InProcess::start(builder);
        let client = server.connect().expect("connected");
        Node { server, client, maxmemory }
    }

    fn call(&mut self, args: &[&str]) -> Reply {
        self.client.call(args).expect("an answer")
    }

    fn call_bytes(&mut self, args: &[&[u8]]) -> Reply {
        self.client.call(args).expect("an answer")
    }

    fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Reply> {
        self.client.pipeline(commands).expect("all replies")
    }

    fn info(&mut self, section: &str, field: &str) -> u64 {
        let Reply::Bulk(text) = self.call(&["INFO", section]) else { panic!("INFO is text") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {field}: {text}"))
    }

    /// What `maxmemory` is compared with.
    fn used(&mut self) -> u64 {
        self.info("memory", "used_memory_node")
    }

    fn evicted(&mut self) -> u64 {
        self.info("stats", "evicted_keys")
    }

    /// At most one per cent over, and what has been written since the limit was looked at.
    fn assert_within(&mut self, written: u64, when: &str) {
        let (used, maxmemory) = (self.used(), self.maxmemory);
        let most = maxmemory + maxmemory / 100 + written;
        assert!(used <= most, "{when}: {used} bytes of {maxmemory} after {written}");
    }

    fn assert_exact(&mut self) {
        let Reply::Array(items) = self.call(&["DEBUG", "SLOT-AUDIT"]) else { panic!("an audit") };
        for pair in items.chunks(2) {
            let [Reply::Bulk(name), Reply::Integer(value)] = pair else { panic!("{pair:?}") };
            if String::from_utf8_lossy(name).contains("drift") {
                assert_eq!(*value, 0, "{items:?}");
            }
        }
    }
}

fn is_oom(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(b"OOM command not allowed"))
}

fn words(args: &[&str]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

#[test]
fn one_key_may_take_all_of_the_memory() {
    let element = vec![b'e'; 1000];
    let push: Vec<Vec<u8>> =
        [words(&["RPUSH", "list"]), (0..100).map(|_| element.clone()).collect()].concat();
    for shards in SHARDS {
        let mut node = Node::start(shards, 40 * MIB, "noeviction");
        let refused = loop {
            let replies = node.pipeline(std::slice::from_ref(&push));
            if is_oom(&replies[0]) {
                break node.used();
            }
            node.assert_within(100_000, "while one list grows");
        };
        // What was refused counted to the client until it was.
        assert!(refused > node.maxmemory - 300_000, "{shards} shards: refused at {refused}");
        let value = "v".repeat(1000);
        let refused = (0..500).any(|n| is_oom(&node.call(&["SET", &format!("other{n}"), &value])));
        assert!(refused, "wherever it is");
        assert_eq!(node.call(&["DEL", "list"]), Reply::Integer(1));
        wait_until("freed", || node.used() < 10 * MIB);
        assert_eq!(node.call(&["SET", "other", "v"]), Reply::Simple(b"OK".to_vec()));
        node.assert_exact();
    }
}

#[test]
fn large_values_do_not_pile_up() {
    // The allocator's blocks are whole MiB.
    let large = vec![b'v'; (5 << 20) - 100];
    for (shards, policy) in SHARDS.iter().flat_map(|n| EVICTING.map(|policy| (*n, policy))) {
        let mut node = Node::start(shards, 24 * MIB, policy);
        let small = |n| words(&["SET", &format!("k{n}"), "0123456789", "EX", "9999"]);
        node.pipeline(&(0..20_000).map(small).collect::<Vec<_>>());
        assert_eq!(node.evicted(), 0, "{policy}: there was room for all");
        for n in 0..12 {
            let key = format!("large{n}");
            let reply = node.call_bytes(&[b"SET", key.as_bytes(), &large, b"EX", b"5000"]);
            assert_eq!(reply, Reply::Simple(b"OK".to_vec()), "{policy}, {shards} shards");
            node.assert_within(5 * MIB, policy);
        }
        assert!(node.evicted() > 0);
        node.assert_exact();
    }
}

#[test]
fn nothing_is_evicted_below_the_limit_wherever_keys_lie() {
    for policy in EVICTING {
        let mut node = Node::start(4, 30 * MIB, policy);
        let value = "v".repeat(1000);
        // One slot takes nearly all.
        let set = |n| words(&["SET", &format!("{{tag}}{n}"), &value, "EX", "1000"]);
        let mut n = 0;
        while node.used() + 300_000 < node.maxmemory {
            let commands: Vec<Vec<Vec<u8>>> = (n..n + 100).map(set).collect();
            assert!(node.pipeline(&commands).iter().all(|reply| !is_oom(reply)));
            n += 100;
        }
        assert_eq!((node.evicted(), node.call(&["DBSIZE"])), (0, Reply::Integer(n)), "{policy}");
        // From here on they go one for one, about.
        let commands: Vec<Vec<Vec<u8>>> = (n..n + 1000).map(set).collect();
        assert!(node.pipeline(&commands).iter().all(|reply| !is_oom(reply)));
        let evicted = node.evicted();
        assert!((500..1100).contains(&evicted), "{policy}: {evicted} evicted for 1000");
        node.assert_within(1000, policy);
    }
}

#[test]
fn commands_on_several_slots_are_held_to_the_limit() {
    for shards in SHARDS {
        let mut node = Node::start(shards, 24 * MIB, "noeviction");
        let value = vec![b'v'; 10_000];
        let mut refused = false;
        for n in 0..3000 {
            let key = format!("{{a}}{n}");
            let reply = node.call_bytes(&[b"MSET", key.as_bytes(), &value, b"{b}z", b"1"]);
            refused |= is_oom(&reply);
        }
        assert!(refused, "{shards} shards");
        node.assert_within(10_000, "MSET");
        // As a transaction too, and all of it is refused.
        node.call(&["MULTI"]);
        let queued = node.call(&["SET", "{c}x", "1"]);
        assert!(is_oom(&queued), "{queued:?}");
        assert!(matches!(node.call(&["EXEC"]), Reply::Error(_)));
        node.call(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        for n in 0..2000 {
            let key = format!("{{a}}{n}");
            let set = [b"SET", key.as_bytes(), &value].map(<[u8]>::to_vec).to_vec();
            let other = words(&["INCR", "{b}n"]);
            let commands = [words(&["MULTI"]), set, other, words(&["EXEC"])];
            let replies = node.pipeline(&commands);
            assert!(matches!(replies[3], Reply::Array(_)), "{replies:?}");
        }
        node.assert_within(10_000, "EXEC");
        node.assert_exact();
    }
}

#[test]
fn servers_of_one_process_have_each_their_own_limit() {
    let mut full = Node::start(2, 0, "noeviction");
    let mut small = Node::start(2, 24 * MIB, "allkeys-lru");
    full.call(&["DEBUG", "POPULATE", "40000", "k", "1000"]);
    small.call(&["DEBUG", "POPULATE", "10000", "k", "1000"]);
    assert!(full.used() > 40 * MIB && small.used() < 20 * MIB);
    assert_eq!(small.call(&["SET", "a", "1"]), Reply::Simple(b"OK".to_vec()));
    assert_eq!((small.evicted(), small.call(&["DBSIZE"])), (0, Reply::Integer(10_001)));
    small.call(&["DEBUG", "POPULATE", "20000", "m", "1000"]);
    wait_until("evicted", || small.used() <= small.maxmemory);
    assert!(small.evicted() > 0);
    assert_eq!((full.evicted(), full.call(&["DBSIZE"])), (0, Reply::Integer(40_000)));
}

#[test]
fn what_is_over_the_limit_goes_without_a_write() {
    for shards in SHARDS {
        let mut node = Node::start(shards, 0, "allkeys-random");
        node.call(&["DEBUG", "POPULATE", "20000", "k", "1000"]);
        let before = node.used();
        node.maxmemory = before - 5 * MIB;
        let maxmemory = node.maxmemory.to_string();
        node.call(&["CONFIG", "SET", "maxmemory", &maxmemory]);
        wait_until("within a lower limit", || node.used() <= node.maxmemory);
        assert!(node.used() > node.maxmemory - MIB, "no more than needed");
        let tail = vec![b't'; 8 << 20];
        node.call_bytes(&[b"APPEND", b"long", &tail]);
        wait_until("within the limit after APPEND", || node.used() <= node.maxmemory);
        node.assert_exact();
    }
}

#[test]
fn a_shard_without_anything_to_evict_has_its_siblings_evict() {
    for shards in [4, 16] {
        let mut node = Node::start(shards, 24 * MIB, "volatile-ttl");
        let value = "v".repeat(1000);
        let stays = |n: u64| words(&["SET", &format!("{{stays}}{n}"), &value]);
        let goes = |n: u64| words(&["SET", &format!("{{goes}}{n}"), &value, "EX", "100"]);
        assert!(node.pipeline(&(0..4000).map(goes).collect::<Vec<_>>()).iter().all(|r| !is_oom(r)));
        let mut n = 0;
        loop {
            let replies = node.pipeline(&(n..n + 50).map(stays).collect::<Vec<_>>());
            n += 50;
            if replies.iter().any(is_oom) {
                break;
            }
            node.assert_within(50_000, "while others evict");
        }
        assert_eq!(node.evicted(), 4000, "{shards} shards: all that could go went first");
        // As soon as there is something again, it goes.
        let expire = |n: u64| words(&["EXPIRE", &format!("{{stays}}{n}"), "100"]);
        node.pipeline(&(0..500).map(expire).collect::<Vec<_>>());
        // More than a lease, and than what clients have given back.
        let more = |n: u64| words(&["SET", &format!("{{more}}{n}"), &value]);
        assert!(node.pipeline(&(0..200).map(more).collect::<Vec<_>>()).iter().all(|r| !is_oom(r)));
        let evicted = node.evicted();
        assert!((4001..4500).contains(&evicted), "{shards} shards: {evicted}");
    }
}

#[test]
fn the_oldest_keys_of_the_node_go_first() {
    let (clock, hands) = Clock::manual(1_700_000_000_000);
    let builder = Server::builder()
        .directive("shards", "4")
        .directive("maxmemory-policy", "allkeys-lru")
        .directive("enable-debug-command", "yes")
        .clock(clock)
        .seed(seed());
    let server = InProcess::start(builder);
    let client = server.connect().expect("connected");
    let mut node = Node { server, client, maxmemory: 0 };
    // A slot of each shard; what is in them gets younger from slot to slot.
    let names: Vec<String> = (0..100).map(|n| format!("tag{n}")).collect();
    let tags = [0, 1, 2, 3].map(|shard| {
        let tag = names.iter().find(|tag| keyslot(&mut node, tag) / 4096 == shard);
        tag.expect("a tag of each shard").as_str()
    });
    let probe = |tag: &str| format!("{{{tag}}}probe");
    for tag in tags {
        node.call(&["SET", &probe(tag), "v"]);
    }
    // So far apart that none takes the place of another: what is about as old may go first.
    let mut elapsed_s = 0;
    for (tag, seconds) in tags.into_iter().zip([8000, 4000, 2000, 1000]) {
        let set = |n| words(&["SET", &format!("{{{tag}}}{n}"), &"v".repeat(1000)]);
        // The shard reads the clock of the eviction order in its periodic work.
        wait_until("the shard sees the time", || {
            node.call(&["OBJECT", "IDLETIME", &probe(tag)]) == Reply::Integer(elapsed_s)
        });
        node.pipeline(&(0..2000).map(set).collect::<Vec<_>>());
        hands.advance(Duration::from_secs(seconds));
        elapsed_s += i64::try_from(seconds).expect("a few hours");
    }
    let used = node.used();
    node.maxmemory = used - 1500 * 1100;
    let maxmemory = node.maxmemory.to_string();
    node.call(&["CONFIG", "SET", "maxmemory", &maxmemory]);
    wait_until("within the limit", || node.used() <= node.maxmemory);
    let mut left = Vec::new();
    for tag in tags {
        let slot = keyslot(&mut node, tag).to_string();
        let Reply::Integer(keys) = node.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) else {
            panic!("a number of keys");
        };
        left.push(keys);
    }
    // How many go depends on what the node keeps beside them, which grows with the balancer.
    // A shard whose sibling is at work does not wait for ever.
    assert!(left[0] < 1000, "{left:?}");
    let in_order = |pair: &[i64]| pair[0] < 300 || pair[1] > 1700;
    assert!(left.windows(2).all(in_order), "{left:?}");
}

fn keyslot(node: &mut Node, key: &str) -> u64 {
    match node.call(&["CLUSTER", "KEYSLOT", key]) {
        Reply::Integer(slot) => slot.unsigned_abs(),
        other => panic!("a slot is {other:?}"),
    }
}

#[test]
fn random_writes_of_all_kinds_stay_within_the_limit() {
    let mut random = StdRng::seed_from_u64(seed());
    for (shards, policy) in SHARDS.iter().flat_map(|n| EVICTING.map(|policy| (*n, policy))) {
        let mut node = Node::start(shards, 32 * MIB, policy);
        let mut others: Vec<Client> =
            (0..3).map(|_| node.server.connect().expect("connected")).collect();
        for _ in 0..60 {
            let mut written = 0;
            for client in &mut others {
                let commands: Vec<Vec<Vec<u8>>> =
                    (0..20).map(|_| any_write(&mut random, &mut written)).collect();
                client.pipeline(&commands).expect("all replies");
            }
            node.assert_within(written, policy);
        }
        node.assert_exact();
    }
}

/// A command that takes memory; adds how much at most.
fn any_write(random: &mut StdRng, written: &mut u64) -> Vec<Vec<u8>> {
    let mut number = || random.random_range(0..6000);
    let (a, b) = (format!("s{}", number()), format!("s{}", number()));
    let (list, other) = (format!("l{}", number()), format!("l{}", number()));
    let len = match random.random_range(0..20) {
        0 => 100_000,
        1..4 => 5_000,
        _ => 100,
    };
    let value = "v".repeat(len);
    // What APPEND makes longer may move as a whole.
    *written += 2 * len as u64 + 10_000;
    match random.random_range(0..6) {
        0 => words(&["MSET", &a, &value, &b, &value]),
        1 => words(&["APPEND", &a, &value]),
        2 => words(&["RPUSH", &list, &value, "1", "2"]),
        3 => words(&["EXPIRE", &a, "1000"]),
        4 => words(&["LMOVE", &list, &other, "LEFT", "RIGHT"]),
        _ => words(&["SET", &a, &value, "EX", "5000"]),
    }
}

#[test]
fn what_a_client_sends_leaves_no_lease_that_was_given_before() {
    let mut node = Node::start(2, 64 * MIB, "noeviction");
    // Each takes a block of 1.25 MiB: 50 MiB, with room for the buffers that bring them.
    let value = "x".repeat(1 << 20);
    for number in 0..40 {
        assert!(!is_oom(&node.call(&["SET", &format!("key:{number}"), &value])));
    }
    let mut other = node.server.connect().expect("connected");
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$30000000\r\n{}", "y".repeat(20 << 20));
    other.send_raw(request.as_bytes()).expect("sent");
    wait_until("received", || node.info("memory", "mem_clients_normal") > 20 * MIB);
    assert!(is_oom(&node.call(&["SET", "small", "value"])), "its shard had a lease");
}

#[test]
fn buffers_kept_for_speed_are_the_first_to_go() {
    let mut node = Node::start(16, 64 * MIB, "noeviction");
    let large = "x".repeat(10_000);
    let mut number = 0;
    while !is_oom(&node.call(&["SET", &format!("key:{number}"), &large])) {
        number += 1;
    }
    // Pipelines over all shards leave buffers on each.
    let value = "x".repeat(3000);
    let sets: Vec<_> = (0..300).map(|n| words(&["SET", &format!("key:{n}"), &value])).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut client = node.server.connect().expect("connected");
            let sets = &sets;
            scope.spawn(move || {
                for _ in 0..20 {
                    client.pipeline(sets).expect("all replies");
                }
            });
        }
    });
    wait_until("buffers gone", || node.used() <= node.maxmemory + node.maxmemory / 1000);
    node.assert_exact();
}

#[test]
fn refused_writes_of_several_clients_add_nothing() {
    for shards in SHARDS {
        let mut node = Node::start(shards, 24 * MIB, "volatile-lru");
        let value = "x".repeat(1000);
        let mut number = 0;
        while !is_oom(&node.call(&["SET", &format!("key:{number}"), &value])) {
            number += 1;
        }
        let clients: Vec<Client> =
            (0..4).map(|_| node.server.connect().expect("connected")).collect();
        let writers = clients.into_iter().map(|mut client| {
            let value = value.clone();
            std::thread::spawn(move || {
                for n in 0..200 {
                    let (a, b) = (format!("a:{n}"), format!("b:{n}"));
                    let commands = [
                        words(&["MSET", &a, &value, &b, &value]),
                        words(&["MULTI"]),
                        words(&["SET", &a, &value]),
                        words(&["EXEC"]),
                        words(&["SET", &b, &value]),
                    ];
                    client.pipeline(&commands).expect("all replies");
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.join().expect("no panic");
        }
        node.assert_within(10_000, "refused");
        assert_eq!(node.evicted(), 0);
        node.assert_exact();
    }
}
