//! Twenty stored snapshots: bytes may not grow by more than a per cent.
//!
//! A change for the better is taken over by running with `GOLDEN=print` in the environment and
//! pasting the printed table.

mod support;

use ballast_balancer::model::Tier;
use ballast_balancer::plan::{Goal, plan};
use support::{Shape, fluid_bound, generate};

/// Bytes, ranges after, and lower bound of each case.
const GOLDEN: [(u64, usize, u64); 20] = [
    (53_838_975, 12_070, 53_838_976),
    (1_003_421, 52, 1_001_676),
    (102_176_752, 161, 101_999_652),
    (520_385, 3_159, 493_754),
    (297_264_404, 4, 297_141_952),
    (0, 4, 0),
    (108_596_358, 15_080, 108_593_074),
    (67_862_057, 752, 67_852_166),
    (198_842, 19, 188_511),
    (58_632_902, 1_930, 58_628_497),
    (0, 4, 0),
    (14_461_629, 549, 14_455_464),
    (419_262_401, 15_891, 419_244_306),
    (186_675, 24, 157_260),
    (299_175_010, 4, 299_011_716),
    (18_964_319, 2_872, 18_955_993),
    (0, 16, 0),
    (44_891_389, 542, 44_886_714),
    (1_575_212, 12_583, 1_551_299),
    (110_247_253, 244, 110_237_723),
];

fn shape(case: u64) -> (Shape, Tier) {
    let shape = Shape {
        seed: case * 1_000 + 17,
        shards: [4, 16, 64, 8, 3][case as usize % 5],
        slots: [16_384, 4_096][case as usize % 2],
        sizes: u8::try_from(case % 5).unwrap(),
        scattered: case.is_multiple_of(3),
        capacities: u8::try_from(case % 4 / 3).unwrap(),
        drains: u64::from(case % 7 == 6),
        fill: 50 + case,
    };
    (shape, if case.is_multiple_of(2) { Tier::Node } else { Tier::Thread })
}

#[test]
fn plans_do_not_get_worse() {
    let print = std::env::var_os("GOLDEN").is_some();
    for (case, &(bytes, ranges, bound)) in (0u64..).zip(&GOLDEN) {
        let (shape, tier) = shape(case);
        let snapshot = generate(shape);
        let goal = Goal::new(tier);
        let plan = plan(&snapshot, &goal);
        if print {
            println!("    ({}, {}, {}),", plan.bytes(), plan.after.ranges, plan.lower_bound);
            continue;
        }
        let most = bytes as f64 * 1.01;
        assert!(plan.bytes() as f64 <= most, "case {case}: {} > {bytes}", plan.bytes());
        if tier == Tier::Node {
            assert!(plan.after.ranges as f64 <= ranges as f64 * 1.05 + 2.0, "case {case}");
        }
        let drift = plan.lower_bound.abs_diff(bound) as f64;
        assert!(drift <= bound as f64 * 1e-3 + 1.0, "case {case}: bound {}", plan.lower_bound);
        if plan.lower_bound > 0 && plan.blocked.is_empty() {
            let own = fluid_bound(&snapshot, goal.memory.stop);
            assert!((own - bound as f64).abs() <= own * 0.01 + 1.0, "case {case}: {own}");
        }
    }
}
