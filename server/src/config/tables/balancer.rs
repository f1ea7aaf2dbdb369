//! What the balancer may do, and when: the directives are defined by the balancer's policy, whose
//! table this family takes over, so that their grammar is known in one place.

use std::sync::LazyLock;

use ballast_balancer::policy::{DIRECTIVES, Policy};

use crate::config::directive::{Directive, Effect, Kind};
use crate::config::value::Value;

/// The directives of the policy.
pub(super) fn balancer() -> &'static [Directive] {
    static BALANCER: LazyLock<Vec<Directive>> = LazyLock::new(|| {
        let ours = DIRECTIVES.iter().map(|d| {
            Directive::of(d.name, Kind::Policy, d.default, d.doc).in_policy(effect(d.name))
        });
        ours.collect()
    });
    &BALANCER
}

/// The tier of nodes is planned and simulated, but there is one node only.
fn effect(name: &str) -> Effect {
    let of_nodes = ["window-close", "window-grace", "latency-guard", "weight"];
    let tier = name.strip_prefix("balancer-").unwrap_or(name);
    match tier.starts_with("node-") || of_nodes.contains(&tier) {
        true => Effect::Nothing("there is one node, so nothing moves between nodes yet"),
        false => Effect::InForce,
    }
}

/// The value of a directive of the policy, in its canonical text.
///
/// # Errors
/// What is wrong with it, in the policy's words.
pub(in crate::config) fn parse(name: &str, words: &[&str]) -> Result<Value, String> {
    let mut policy = Policy::default();
    policy.set(name, &words.join(" ")).map_err(|error| error.to_string())?;
    policy.render(name).map(Value::Text).map_err(|error| error.to_string())
}

/// Takes a parsed value over into the policy.
pub(in crate::config) fn fill(policy: &mut Policy, name: &str, value: &Value) {
    let set = policy.set(name, value.text());
    debug_assert!(set.is_ok(), "{name} renders {value:?}, which it refuses");
}

/// What the policy says about a value that it accepts.
pub(in crate::config) fn caveat(name: &str, value: &Value) -> Option<String> {
    let warning = Policy::default().set(name, value.text()).ok()?;
    warning.map(|warning| warning.to_string())
}
