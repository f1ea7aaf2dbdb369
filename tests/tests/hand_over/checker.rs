//! Whether what clients saw of a key could have come about one operation after the other, each
//! at a moment between its begin and its end: the search of Wing and Gong with Lowe's memory of
//! what has been tried ("Testing for linearizability", 2017).

use std::collections::{HashSet, VecDeque};

/// An operation on one key, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `SET`
    Set(i64),
    /// `GET`
    Get(Option<i64>),
    /// `INCR` and its reply.
    Increment(i64),
    /// A transaction that was carried out only because the watched key had not changed.
    Swap(Option<i64>, i64),
    /// `RPUSH` of a value, and the length it made.
    Push(i64, i64),
    /// `LPOP` or `BLPOP`
    Pop(Option<i64>),
}

/// An action and when it began and ended, by a counter that all clients share.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) action: Action,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// What a key holds. A number and a list are two keys in the tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Held {
    number: Option<i64>,
    list: VecDeque<i64>,
}

impl Held {
    /// What is held after the action, if its outcome could be that.
    fn after(&self, action: &Action) -> Option<Held> {
        let mut held = self.clone();
        let possible = match action {
            Action::Set(value) => held.number.replace(*value) == self.number,
            Action::Get(value) => *value == self.number,
            Action::Increment(value) => {
                held.number = Some(*value);
                *value == self.number.unwrap_or(0) + 1
            }
            Action::Swap(old, new) => {
                held.number = Some(*new);
                *old == self.number
            }
            Action::Push(value, len) => {
                held.list.push_back(*value);
                held.list.len() as i64 == *len
            }
            Action::Pop(value) => held.list.pop_front() == *value,
        };
        possible.then_some(held)
    }
}

/// Begins and ends in the order of time, as a list from which operations are taken and put back.
struct Events {
    /// (operation, whether it is its begin)
    events: Vec<(usize, bool)>,
    /// Where the begin and the end of each operation are.
    places: Vec<(usize, usize)>,
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Events {
    fn new(operations: &[Operation]) -> Events {
        let mut timed: Vec<(u64, usize, bool)> = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            timed.push((operation.begin, at, true));
            timed.push((operation.end, at, false));
        }
        timed.sort_unstable_by_key(|(time, _, begins)| (*time, !*begins));
        let mut places = vec![(0, 0); operations.len()];
        // Place 0 is the head of the list.
        let mut events = vec![(usize::MAX, false)];
        for (_, operation, begins) in timed {
            let place = if begins { &mut places[operation].0 } else { &mut places[operation].1 };
            *place = events.len();
            events.push((operation, begins));
        }
        let len = events.len();
        let next = (1..=len).collect();
        let previous = (0..=len).map(|at| at.saturating_sub(1)).collect();
        Events { events, places, next, previous }
    }

    fn end(&self) -> usize {
        self.events.len()
    }

    fn take(&mut self, operation: usize) {
        for place in [self.places[operation].0, self.places[operation].1] {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = behind;
            self.previous[behind] = before;
        }
    }

    fn put_back(&mut self, operation: usize) {
        for place in [self.places[operation].1, self.places[operation].0] {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[behind] = place;
        }
    }
}

/// Whether there is an order in which these operations on one key explain each other.
pub(crate) fn is_linearizable(operations: &[Operation]) -> bool {
    let mut events = Events::new(operations);
    let mut held = Held::default();
    let mut done = vec![0_u64; operations.len().div_ceil(64)];
    let mut tried = HashSet::new();
    let mut path: Vec<(usize, Held)> = Vec::new();
    let mut at = events.next[0];
    while events.next[0] != events.end() {
        let (operation, begins) = events.events[at];
        if begins {
            let after = held.after(&operations[operation].action);
            done[operation / 64] |= 1 << (operation % 64);
            let after = after.filter(|after| tried.insert((done.clone(), after.clone())));
            let Some(after) = after else {
                done[operation / 64] &= !(1 << (operation % 64));
                at = events.next[at];
                continue;
            };
            path.push((operation, std::mem::replace(&mut held, after)));
            events.take(operation);
            at = events.next[0];
        } else {
            // It has ended without any order for it: the last choice was wrong.
            let Some((operation, before)) = path.pop() else { return false };
            held = before;
            done[operation / 64] &= !(1 << (operation % 64));
            events.put_back(operation);
            at = events.next[events.places[operation].0];
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Action, Operation, is_linearizable};

    fn check(operations: &[(Action, u64, u64)]) -> bool {
        let operations: Vec<_> = operations
            .iter()
            .map(|(action, begin, end)| Operation {
                action: action.clone(),
                begin: *begin,
                end: *end,
            })
            .collect();
        is_linearizable(&operations)
    }

    #[test]
    fn what_happened_at_once_may_be_in_any_order() {
        let read_between = |value| {
            check(&[
                (Action::Set(1), 0, 10),
                (Action::Set(2), 1, 9),
                (Action::Get(value), 2, 3),
                (Action::Increment(2), 11, 12),
            ])
        };
        assert!(read_between(None) && read_between(Some(2)) && read_between(Some(1)));
        assert!(!read_between(Some(3)));
    }

    #[test]
    fn what_ended_before_is_before() {
        assert!(!check(&[(Action::Set(1), 0, 1), (Action::Get(None), 2, 3)]));
        assert!(!check(&[
            (Action::Set(1), 0, 1),
            (Action::Set(2), 2, 3),
            (Action::Get(Some(1)), 4, 5)
        ]));
    }

    #[test]
    fn nothing_is_done_twice_or_lost() {
        assert!(!check(&[(Action::Increment(1), 0, 3), (Action::Increment(1), 1, 2)]));
        assert!(!check(&[(Action::Increment(1), 0, 1), (Action::Increment(3), 2, 3)]));
        let swaps =
            [(Action::Swap(None, 1), 0, 5), (Action::Swap(None, 2), 0, 5), (Action::Set(3), 6, 7)];
        assert!(!check(&swaps));
    }

    #[test]
    fn queues_are_first_in_first_out() {
        let queue = |first, second| {
            check(&[
                (Action::Push(1, 1), 0, 1),
                (Action::Push(2, 2), 2, 3),
                (Action::Pop(Some(first)), 4, 5),
                (Action::Pop(Some(second)), 6, 7),
                (Action::Pop(None), 8, 9),
            ])
        };
        assert!(queue(1, 2));
        assert!(!queue(2, 1) && !queue(1, 1));
    }
}
