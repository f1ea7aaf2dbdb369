//! Whose work a thread's time is: the shares of a thread add up to it, whatever was counted.

use ballast_balancer::attribute::{Loads, SlotWork, ThreadWork, attribute};
use ballast_balancer::model::ShardId;
use ballast_balancer::simulate::Random;

const SECOND_NS: u64 = 1_000_000_000;

fn thread(shard: u16, cpu_ns: u64) -> ThreadWork {
    ThreadWork { shard: ShardId(shard), cpu_ns, elapsed_ns: SECOND_NS, ..ThreadWork::default() }
}

fn of(loads: &Loads, slots: &[SlotWork], shard: u16) -> f64 {
    let own = slots.iter().zip(&loads.slots).filter(|(slot, _)| slot.owner == ShardId(shard));
    own.map(|(_, load)| load).sum()
}

#[test]
fn shares_add_up_to_the_thread() {
    for seed in 0..500 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let shards = 1 + random.below(8);
        // Counters of threads and slots are not read at one moment, and some are reset: anything
        // may be counted.
        let mut any =
            |most: usize| if random.below(4) == 0 { 0 } else { random.below(most) as u64 };
        let threads: Vec<ThreadWork> = (0..shards)
            .map(|shard| ThreadWork {
                turns: any(200_000),
                net_bytes: any(1_000_000_000),
                commands_elsewhere: any(100_000),
                ..thread(shard as u16, any(1_000_000_000))
            })
            .collect();
        let slots: Vec<SlotWork> = (0..any(300))
            .map(|_| SlotWork {
                owner: ShardId(any(shards + 1) as u16),
                commands: any(100_000),
                guests: any(100_000),
                turns: any(10_000),
                net_bytes: any(10_000_000),
                handler_ns: any(100_000_000),
            })
            .collect();
        let loads = attribute(&threads, &slots);
        for (at, thread) in threads.iter().enumerate() {
            let sum = of(&loads, &slots, thread.shard.0) + loads.fixed[at];
            let spent = thread.cpu_ns as f64 / SECOND_NS as f64;
            assert!((sum - spent).abs() < 1e-9, "shard {at}: {sum} of {spent}");
        }
        assert!(loads.slots.iter().chain(&loads.fixed).all(|load| *load >= 0.0));
    }
}

/// Connections that use slots of their own thread only: the slots are the thread within 5 %.
#[test]
fn what_local_connections_cost_is_their_slots() {
    for per_turn in [1, 16] {
        let mut slots = vec![SlotWork::default(); 12];
        for (at, slot) in slots.iter_mut().enumerate() {
            let commands = 10_000 + 500 * at as u64;
            *slot = SlotWork {
                owner: ShardId(0),
                commands,
                turns: commands / per_turn,
                net_bytes: 60 * commands,
                handler_ns: 100 * commands,
                ..SlotWork::default()
            };
        }
        let sum = |of: fn(&SlotWork) -> u64| slots.iter().map(of).sum::<u64>();
        let work = ThreadWork {
            turns: sum(|slot| slot.turns),
            net_bytes: sum(|slot| slot.net_bytes),
            ..thread(0, 620_000_000)
        };
        let loads = attribute(&[work], &slots);
        let slots_load = of(&loads, &slots, 0);
        assert!((0.62 * 0.95..=0.62).contains(&slots_load), "{slots_load}");
        // By the work that each caused.
        let ratio = loads.slots[11] / loads.slots[0];
        assert!((ratio - 15_500.0 / 10_000.0).abs() < 0.01, "{ratio}");
    }
}

/// Sockets on another thread: that thread has them, and no slot of it.
#[test]
fn who_reads_the_socket_pays_for_it() {
    let work = SlotWork {
        owner: ShardId(0),
        commands: 50_000,
        guests: 50_000,
        net_bytes: 3_000_000,
        handler_ns: 5_000_000,
        ..SlotWork::default()
    };
    let elsewhere = ThreadWork {
        turns: 50_000,
        net_bytes: 3_000_000,
        commands_elsewhere: 50_000,
        ..thread(1, 300_000_000)
    };
    let loads = attribute(&[thread(0, 20_000_000), elsewhere], &[work]);
    assert!(loads.slots[0] <= 0.02, "moving it frees what its own thread spends on it");
    assert!((loads.fixed[1] - 0.3).abs() < 1e-9);
}

/// Pipelined commands share their turn; large values and slow commands cost what they cost.
#[test]
fn turns_bytes_and_handlers_count() {
    let slot = |turns, net_bytes, handler_ns| SlotWork {
        owner: ShardId(0),
        commands: 10_000,
        turns,
        net_bytes,
        handler_ns,
        ..SlotWork::default()
    };
    let slots = [
        slot(10_000, 600_000, 1_000_000),
        slot(625, 600_000, 1_000_000),
        slot(625, 1_000_000_000, 1_000_000),
        slot(625, 600_000, 900_000_000),
    ];
    let loads = attribute(&[thread(0, 800_000_000)], &slots).slots;
    assert!(loads[0] > 5.0 * loads[1] && loads[2] > 20.0 * loads[1] && loads[3] > loads[2]);
}

#[test]
fn an_idle_thread_blames_no_slot() {
    let slots = [SlotWork { commands: 3, turns: 3, ..SlotWork::default() }];
    let loads = attribute(&[ThreadWork { turns: 3, ..thread(0, 3_000_000) }], &slots);
    assert!(loads.slots[0] < 0.000_1, "{loads:?}");
    assert_eq!(attribute(&[thread(0, 3_000_000)], &[]).fixed, [0.003]);
}
