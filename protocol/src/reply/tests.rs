//! What is written, in both protocols, in one block and in many.

use super::*;

fn written(protocol: Protocol, write: impl Fn(&mut Reply)) -> String {
    let mut reply = Reply::new(protocol);
    write(&mut reply);
    reply.to_vec().escape_ascii().to_string().replace("\\r\\n", "|")
}

/// What RESP2 and RESP3 clients read.
fn both(write: impl Fn(&mut Reply)) -> (String, String) {
    (written(Protocol::Resp2, &write), written(Protocol::Resp3, &write))
}

fn assert_both(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
    assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
}

#[test]
fn values_that_both_protocols_write_alike() {
    let same = |write: fn(&mut Reply), text| assert_both(write, text, text);
    same(Reply::ok, "+OK|");
    same(|r| r.simple("QUEUED"), "+QUEUED|");
    same(|r| r.simple("a\r\nb"), "+a  b|");
    same(|r| r.error("ERR no such key"), "-ERR no such key|");
    same(|r| r.error("\r\nERR a\nb\r\n"), "-ERR a b|");
    same(|r| r.command_error(&CommandError::Syntax), "-ERR syntax error|");
    same(|r| r.bulk(b""), "$0||");
    same(|r| r.bulk_str("a\r\nb"), "$4|a|b|");
    same(|r| r.bulk_parts(&[b"ab", b"", b"c"]), "$3|abc|");
    same(|r| r.bulk_integer(-12), "$3|-12|");
    same(|r| r.raw(b"+x\r\n"), "+x|");
    same(|r| r.array(3), "*3|");
}

#[test]
fn values_that_differ() {
    assert_both(Reply::null, "$-1|", "_|");
    assert_both(Reply::null_array, "*-1|", "_|");
    assert_both(|r| r.map(300), "*600|", "%300|");
    assert_both(|r| r.set(2), "*2|", "~2|");
    assert_both(|r| r.push(3), "*3|", ">3|");
    assert_both(|r| assert_eq!(r.attribute(1), r.protocol() == Protocol::Resp3), "", "|1|");
    assert_both(|r| r.boolean(true), ":1|", "#t|");
    assert_both(|r| r.boolean(false), ":0|", "#f|");
    assert_both(|r| r.big_number("123"), "$3|123|", "(123|");
    assert_both(|r| r.verbatim("txt", b"hi"), "$2|hi|", "=6|txt:hi|");
    assert_both(|r| r.double(0.1), "$19|0.10000000000000001|", ",0.10000000000000001|");
    assert_both(|r| r.double(3.0), "$1|3|", ",3|");
    assert_both(|r| r.double(f64::INFINITY), "$3|inf|", ",inf|");
    assert_both(|r| r.double(f64::NEG_INFINITY), "$4|-inf|", ",-inf|");
    assert_both(|r| r.double(f64::NAN), "$3|nan|", ",nan|");
}

#[test]
fn headers_on_both_sides_of_the_table() {
    for len in [0, 9, 10, 99, 100, 255, 256, 1000, 65_536] {
        assert_eq!(written(Protocol::Resp2, |r| r.array(len)), format!("*{len}|"));
        let value = vec![b'x'; len];
        let bulk = written(Protocol::Resp2, |r| r.bulk(&value));
        assert_eq!(bulk, format!("${len}|{}|", "x".repeat(len)));
    }
    for value in [i64::MIN, -1, 0, 1, 10, 255, 256, i64::MAX] {
        assert_eq!(written(Protocol::Resp3, |r| r.integer(value)), format!(":{value}|"));
    }
}

#[test]
fn a_deferred_header_lands_in_front_of_its_elements() {
    let nested = |reply: &mut Reply| {
        reply.ok();
        let outer = reply.deferred();
        reply.integer(1);
        let inner = reply.deferred();
        reply.bulk(b"k");
        reply.bulk(b"v");
        reply.finish_map(inner, 1);
        let gone = reply.deferred();
        reply.integer(7);
        reply.abandon(gone);
        let empty = reply.deferred();
        reply.finish_set(empty, 0);
        reply.finish_array(outer, 3);
    };
    assert_both(nested, "+OK|*3|:1|*2|$1|k|$1|v|*0|", "+OK|*3|:1|%1|$1|k|$1|v|~0|");
}

#[test]
fn a_buffer_is_taken_and_given_back() {
    let mut reply = Reply::new(Protocol::Resp3);
    reply.ok();
    let len = reply.len();
    reply.null();
    reply.truncate(len);
    let buf = reply.take();
    assert_eq!(buf, b"+OK\r\n");
    assert!(reply.is_empty());
    reply.reuse(buf);
    assert_eq!(reply.to_vec(), b"");
    assert!(reply.capacity() > 0);
    assert_eq!(reply.protocol(), Protocol::Resp3);
}

/// A reply in several blocks, with the same bytes as in one.
fn long(write: impl Fn(&mut Reply)) -> Reply {
    let mut reply = Reply::new(Protocol::Resp3);
    write(&mut reply);
    assert!(reply.contiguous().is_none(), "several blocks");
    reply
}

#[test]
fn long_replies_take_little_more_than_their_bytes() {
    for (count, bytes) in [(10, 3 << 20), (40, 300_000), (2000, 5000), (3_000_000, 1)] {
        let value = vec![b'v'; bytes];
        let reply = long(|reply| {
            reply.array(count);
            (0..count).for_each(|_| reply.bulk(&value));
        });
        let len = reply.len();
        let blocks = reply.into_blocks();
        let capacity: usize = blocks.iter().map(Vec::capacity).sum();
        assert_eq!(blocks.iter().map(Vec::len).sum::<usize>(), len);
        assert!(capacity <= len + len / 8 + BLOCK_BYTES / 4, "{capacity} for {len}");
    }
}

#[test]
fn values_of_all_kinds_may_lie_across_blocks() {
    let piece = |reply: &mut Reply, at: usize| {
        let text = "x".repeat(at * 37 % 7000);
        reply.bulk(text.as_bytes());
        reply.integer(at as i64 * 1000);
        reply.simple("line");
        reply.ok();
        reply.null();
        reply.array(at);
        reply.error("ERR no");
        reply.bulk_parts(&[text.as_bytes(), b"end"]);
        reply.verbatim("txt", text.as_bytes());
        reply.raw(text.as_bytes());
        reply.boolean(at.is_multiple_of(2));
        reply.double(0.5);
    };
    let mut expected = Vec::new();
    for at in 0..400 {
        let mut one = Reply::new(Protocol::Resp3);
        piece(&mut one, at);
        expected.extend(one.take());
    }
    let mut reply = long(|reply| (0..400).for_each(|at| piece(reply, at)));
    assert_eq!(reply.len(), expected.len());
    assert_eq!(reply.to_vec(), expected);
    assert_eq!(reply.take(), expected);
    assert!(reply.is_empty());
}

#[test]
fn a_header_is_inserted_into_any_block() {
    let value = vec![b'v'; 100_000];
    for before in [0, 1, 4, 5, 6, 9, 20] {
        for after in [0, 1, 5, 20] {
            let mut reply = Reply::new(Protocol::Resp3);
            (0..before).for_each(|_| reply.bulk(&value));
            let mark = reply.deferred();
            (0..after).for_each(|_| reply.bulk(&value));
            reply.finish_array(mark, after);
            let mut expected = Reply::new(Protocol::Resp3);
            (0..before).for_each(|_| expected.bulk(&value));
            expected.array(after);
            (0..after).for_each(|_| expected.bulk(&value));
            assert_eq!(reply.len(), expected.len());
            assert!(reply.to_vec() == expected.to_vec(), "{before} before, {after} after");
        }
    }
}

#[test]
fn a_long_reply_is_cut_anywhere() {
    let value: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    for len in [0, 1, 100_000, 524_288, 1_000_000, 2_999_999, 3_000_000, 3_000_012] {
        let mut reply = long(|reply| reply.bulk(&value));
        let whole = reply.to_vec();
        let tail = reply.clone().split_off(len);
        assert_eq!(tail.len(), whole.len() - len.min(whole.len()));
        assert!(tail.to_vec() == whole[len..], "from {len}");
        reply.truncate(len);
        assert_eq!(reply.len(), len);
        assert!(reply.to_vec() == whole[..len], "to {len}");
        reply.ok();
        reply.append(tail);
        assert!(reply.to_vec() == [&whole[..len], b"+OK\r\n", &whole[len..]].concat());
    }
}
