//! `BALANCER` of a running server: what operators say counts at once, and what is told is true.

use std::io;

use ballast_server::{Clock, Server};
use ballast_tests::support::{Client, InProcess, Reply, Target};

fn start(shards: &str) -> InProcess {
    let (clock, _) = Clock::manual(1_780_272_000_000);
    let builder = Server::builder().directive("shards", shards).clock(clock);
    InProcess::start(builder)
}

fn call(client: &mut Client, line: &str) -> Reply {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words).expect("a reply")
}

/// All texts and numbers of a reply, in their order.
fn flat(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(text) | Reply::Simple(text) | Reply::Error(text) => {
            vec![String::from_utf8_lossy(text).into_owned()]
        }
        Reply::Integer(number) => vec![number.to_string()],
        Reply::Array(list) => list.iter().flat_map(flat).collect(),
        Reply::Map(pairs) => {
            pairs.iter().flat_map(|(name, value)| [flat(name), flat(value)].concat()).collect()
        }
        _ => vec![String::new()],
    }
}

fn after(words: &[String], name: &str) -> String {
    let at = words.iter().position(|word| word == name).expect(name);
    words[at + 1].clone()
}

/// Waits until the coordinator has looked at the shards once: it does so by itself at the start.
fn looked(client: &mut Client) {
    while flat(&call(client, "BALANCER STATUS")).iter().filter(|word| *word == "fill").count() == 0
    {
        std::thread::yield_now();
    }
}

#[test]
fn a_plan_honours_a_pin_of_just_now() -> io::Result<()> {
    let server = start("2");
    let mut client = server.connect()?;
    looked(&mut client);
    assert_eq!(call(&mut client, "BALANCER PIN 3 10-12 11"), Reply::Integer(4));
    let plan = flat(&call(&mut client, "BALANCER PLAN REMOVE 0"));
    assert_eq!(after(&plan, "slots"), (8_192 - 4).to_string());
    assert!(plan.contains(&"4-9".to_owned()) && plan.contains(&"0-2".to_owned()), "{plan:?}");
    assert!(plan.iter().any(|note| note.starts_with("pinned")), "{plan:?}");
    assert_eq!(call(&mut client, "BALANCER UNPIN 3 10-12"), Reply::Integer(4));
    let plan = flat(&call(&mut client, "BALANCER PLAN REMOVE 0"));
    assert_eq!(after(&plan, "slots"), "8192");
    Ok(())
}

#[test]
fn what_is_said_is_seen_at_once() -> io::Result<()> {
    let server = start("2");
    let mut client = server.connect()?;
    looked(&mut client);
    let state = |client: &mut Client| {
        let told = flat(&call(client, "BALANCER STATUS"));
        let info = flat(&call(client, "INFO balancer")).concat();
        let told = after(&told, "state");
        assert!(info.contains(&format!("balancer_thread_state:{told}\r\n")), "{told}: {info}");
        told
    };
    assert_eq!(call(&mut client, "BALANCER PAUSE 60 REASON tests"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(state(&mut client), "paused");
    assert_eq!(call(&mut client, "BALANCER RESUME"), Reply::Integer(1));
    assert_eq!(call(&mut client, "BALANCER RESUME"), Reply::Integer(0));
    assert_ne!(call(&mut client, "BALANCER PAUSE 18446744073709551615"), Reply::Null);
    assert_eq!(state(&mut client), "paused");
    Ok(())
}

/// Also where other threads and transactions are about.
#[test]
fn a_tag_is_explained_wherever_its_slot_is() -> io::Result<()> {
    let server = start("4");
    let mut client = server.connect()?;
    looked(&mut client);
    let pairs: Vec<String> = (0..3_000).map(|n| format!("{{hot}}:{n} {n}")).collect();
    for some in pairs.chunks(500) {
        let answer = call(&mut client, &format!("MSET {}", some.join(" ")));
        assert_eq!(answer, Reply::Simple(b"OK".to_vec()));
    }
    let Reply::Integer(slot) = call(&mut client, "CLUSTER KEYSLOT {hot}") else {
        panic!("no slot")
    };
    let explain = format!("BALANCER EXPLAIN SLOT {slot}");
    for _ in 0..4 {
        let mut other = server.connect()?;
        let told = flat(&call(&mut other, &explain));
        assert!(told.contains(&"100 % of it is hash tag {hot}".to_owned()), "{told:?}");
    }
    assert_eq!(call(&mut client, "MULTI"), Reply::Simple(b"OK".to_vec()));
    call(&mut client, "SET other 1");
    call(&mut client, &explain);
    let told = flat(&call(&mut client, "EXEC"));
    assert!(told.contains(&"100 % of it is hash tag {hot}".to_owned()), "{told:?}");
    Ok(())
}
