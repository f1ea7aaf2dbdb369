//! The hot paths: parsing a request, against redis-protocol's decoder; replies; slots.

use std::hint::black_box;

use ballast_protocol::{Limits, Protocol, Reply, request, slot};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use redis_protocol::resp2::decode::decode_range;

/// The frame of `SET key:000000000001 <value>`.
fn set_frame(value_bytes: usize) -> Vec<u8> {
    let value = "x".repeat(value_bytes);
    let head = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n${value_bytes}\r\n");
    [head.as_bytes(), value.as_bytes(), b"\r\n"].concat()
}

fn parse(c: &mut Criterion) {
    let limits = Limits::default();
    for value_bytes in [3, 64, 1024] {
        let frame = set_frame(value_bytes);
        let mut group = c.benchmark_group(format!("parse SET of {value_bytes} bytes"));
        group.throughput(Throughput::Elements(1));
        let mut args = Vec::with_capacity(8);
        group.bench_function("ballast", |b| {
            b.iter(|| request::parse(black_box(&frame), &limits, &mut args).is_ok());
        });
        group.bench_function("redis-protocol", |b| {
            b.iter(|| decode_range(black_box(&frame)).is_ok());
        });
        group.finish();
    }
}

fn reply(c: &mut Criterion) {
    let mut group = c.benchmark_group("reply");
    let value = [b'x'; 64];
    group.throughput(Throughput::Elements(100));
    let mut bench = |name: &str, write: &dyn Fn(&mut Reply)| {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || {
                    let mut reply = Reply::new(Protocol::Resp2);
                    reply.reserve(64 * 1024);
                    reply
                },
                |reply| write(reply),
                BatchSize::SmallInput,
            );
        });
    };
    bench("ok", &|reply| (0..100).for_each(|_| reply.ok()));
    bench("bulk of 64 bytes", &|reply| (0..100).for_each(|_| reply.bulk(black_box(&value))));
    bench("small integer", &|reply| (0..100).for_each(|i| reply.integer(black_box(i))));
    bench("large integer", &|reply| {
        (0..100).for_each(|i| reply.integer(black_box(i << 40 | 1)));
    });
    bench("double", &|reply| (0..100).for_each(|_| reply.double(black_box(0.1))));
    group.finish();
}

fn slots(c: &mut Criterion) {
    let mut group = c.benchmark_group("slot");
    for key in ["key:000000000001", "{user:1000}.following"] {
        group.bench_function(key, |b| b.iter(|| slot::key_slot(black_box(key.as_bytes()))));
    }
    group.finish();
}

criterion_group!(benches, parse, reply, slots);
criterion_main!(benches);
