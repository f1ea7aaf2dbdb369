//! `DEBUG SLOT-AUDIT`: the account against a walk over everything that it counts.

use ballast_protocol::Reply;

use crate::engine::Engine;

/// The two counts of a slot's bytes.
pub(super) struct SlotAudit {
    counted: u64,
    walked: u64,
}

impl SlotAudit {
    pub(super) fn of(state: &mut Engine, slot: u16) -> SlotAudit {
        let data = state.slot(slot).map(crate::engine::slot::Slot::data);
        SlotAudit {
            counted: data.map_or(0, ballast_storage::Slot::bytes),
            walked: data.map_or(0, ballast_storage::Slot::bytes_walked),
        }
    }

    fn drift(&self) -> i64 {
        signed(self.counted) - signed(self.walked)
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// By how much the shard's sum differs from the sum of the slots that are on it.
pub(super) fn shard_drift(state: &Engine) -> u64 {
    let sum: u64 = state.boxes().map(|(_, boxed)| boxed.data().bytes()).sum();
    state.slots_bytes().abs_diff(sum)
}

fn write(fields: &[(&str, i64)], reply: &mut Reply) {
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk_str(name);
        reply.integer(*value);
    }
}

pub(super) fn write_slot(slot: u16, of: &SlotAudit, reply: &mut Reply) {
    let fields = [
        ("slot", i64::from(slot)),
        ("counted", signed(of.counted)),
        ("walked", signed(of.walked)),
        ("drift", of.drift()),
    ];
    write(&fields, reply);
}

pub(super) fn write_all(slots: &[SlotAudit], shards_drift: u64, reply: &mut Reply) {
    let drifting = slots.iter().filter(|of| of.drift() != 0).count();
    let fields = [
        ("slots", signed(slots.len() as u64)),
        ("counted", signed(slots.iter().map(|of| of.counted).sum())),
        ("walked", signed(slots.iter().map(|of| of.walked).sum())),
        ("drift", slots.iter().map(|of| of.drift().abs()).sum()),
        ("slots-with-drift", signed(drifting as u64)),
        ("slots-with-bytes", signed(slots.iter().filter(|of| of.counted > 0).count() as u64)),
        ("shards-drift", signed(shards_drift)),
    ];
    write(&fields, reply);
}
