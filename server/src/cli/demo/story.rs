//! The order of events: fill, let it grow uneven, open the window, stay level. Decides from what
//! is seen; time only says how long a scene lasts at least.

/// A scene of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scene {
    /// The shop's data comes in.
    Filling,
    /// One shard is full and evicts, others have room; the window is closed.
    Uneven,
    /// The window is open.
    Levelling,
    /// It is level.
    Level,
    /// Over.
    Done,
}

impl Scene {
    pub(super) fn name(self) -> &'static str {
        match self {
            Scene::Filling => "filling",
            Scene::Uneven => "uneven",
            Scene::Levelling => "levelling",
            Scene::Level => "level",
            Scene::Done => "done",
        }
    }

    /// What is to be seen.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Scene::Filling => "Product pages, carts and sessions come in. The window is closed.",
            Scene::Uneven => "One shard is full and evicts while its siblings have room.",
            Scene::Levelling => "The window is open: slots leave the full shard. Clients go on.",
            Scene::Level => "Level. No shard is at its limit, nothing is evicted.",
            Scene::Done => "That was it.",
        }
    }
}

/// What the next scene depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Milliseconds since the demo began.
    pub(super) at_ms: u64,
    /// Every page has been written once.
    pub(super) filled: bool,
    /// Keys have been evicted, and a plan that would help is waiting.
    pub(super) uneven: bool,
    /// Slots have moved, none is moving, and the spread is small.
    pub(super) level: bool,
    /// Nothing was evicted since the last look.
    pub(super) quiet: bool,
}

/// How long scenes last, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Uneven at least this long.
    pub(super) uneven_ms: u64,
    /// Level at least this long.
    pub(super) level_ms: u64,
    /// The end, when it is level then, or as soon as it is again. 0: never.
    pub(super) total_ms: u64,
    /// The end in any case. 0: never.
    pub(super) give_up_ms: u64,
}

impl Lengths {
    /// Of a demo of so many seconds; 0: until it is stopped.
    pub(super) fn of(seconds: u64) -> Lengths {
        let total_ms = seconds.saturating_mul(1000);
        let scene_ms = if seconds == 0 { 8_000 } else { total_ms / 5 };
        Lengths {
            uneven_ms: scene_ms,
            level_ms: scene_ms.min(3_000),
            total_ms,
            give_up_ms: total_ms.saturating_mul(3),
        }
    }
}

/// Where the story stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story {
    lengths: Lengths,
    scene: Scene,
    since_ms: u64,
}

impl Story {
    pub(super) fn new(lengths: Lengths) -> Story {
        Story { lengths, scene: Scene::Filling, since_ms: 0 }
    }

    pub(super) fn scene(&self) -> Scene {
        self.scene
    }

    /// Takes in what is seen; the new scene, if one begins.
    pub(super) fn step(&mut self, facts: Facts) -> Option<Scene> {
        let lasted_ms = facts.at_ms.saturating_sub(self.since_ms);
        let Lengths { uneven_ms, level_ms, total_ms, give_up_ms } = self.lengths;
        let over = total_ms > 0 && facts.at_ms >= total_ms;
        let next = match self.scene {
            Scene::Filling if facts.filled => Scene::Uneven,
            Scene::Uneven if facts.uneven && lasted_ms >= uneven_ms => Scene::Levelling,
            Scene::Levelling if facts.level && facts.quiet => Scene::Level,
            // Pages that were evicted come back: it may drift out of band and be levelled again.
            Scene::Level if facts.level && lasted_ms >= level_ms && over => Scene::Done,
            scene => scene,
        };
        let next = if give_up_ms > 0 && facts.at_ms >= give_up_ms { Scene::Done } else { next };
        if next == self.scene {
            return None;
        }
        self.scene = next;
        self.since_ms = facts.at_ms;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(at_ms: u64) -> Facts {
        Facts { at_ms, filled: true, uneven: true, level: true, quiet: true }
    }

    #[test]
    fn scenes_follow_what_is_seen() {
        let mut story = Story::new(Lengths::of(40));
        assert_eq!(story.step(Facts { filled: false, ..facts(30_000) }), None);
        assert_eq!(story.step(facts(30_000)), Some(Scene::Uneven));
        assert_eq!(story.step(facts(37_000)), None, "it wants to be looked at");
        assert_eq!(story.step(Facts { uneven: false, ..facts(39_000) }), None);
        assert_eq!(story.step(facts(39_000)), Some(Scene::Levelling));
        assert_eq!(story.step(Facts { quiet: false, ..facts(41_000) }), None);
        assert_eq!(story.step(facts(41_000)), Some(Scene::Level));
        assert_eq!(story.step(facts(43_000)), None);
        assert_eq!(story.step(Facts { level: false, ..facts(44_000) }), None, "it ends level");
        assert_eq!(story.step(facts(44_000)), Some(Scene::Done));
    }

    #[test]
    fn it_ends_also_when_nothing_comes_of_it() {
        let mut story = Story::new(Lengths::of(40));
        assert_eq!(story.step(Facts { filled: false, ..facts(120_000) }), Some(Scene::Done));
        let mut endless = Story::new(Lengths::of(0));
        for at_ms in [0, 10_000, 20_000, 1_000_000, 2_000_000] {
            endless.step(facts(at_ms));
        }
        assert_eq!(endless.scene(), Scene::Level);
    }
}
