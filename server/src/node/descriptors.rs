//! How many files the process may have open: as many as `maxclients` needs, or `maxclients` is
//! lowered, as Redis does.

use std::fmt;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside those of clients, as in Redis.
const RESERVED: u64 = 32;
/// Descriptors of a thread's runtime: its poller, its wake-up, and those that it has in common
/// with the others.
const PER_THREAD: u64 = 4;

/// What the system allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// What came of asking for descriptors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Descriptors {
    /// There were enough.
    Enough,
    /// The soft limit is higher now.
    Raised {
        /// Before.
        from: u64,
        /// Now.
        to: u64,
    },
    /// There are enough for fewer clients only.
    Fewer(Fewer),
}

/// The system does not allow as many as `maxclients` needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fewer {
    /// What was asked for.
    wanted_clients: u32,
    /// Descriptors that it takes.
    needed: u64,
    /// Descriptors that there are.
    limit: u64,
    /// Clients that these are enough for; 0: not even for the server itself.
    pub(crate) clients: u32,
    reason: String,
}

impl Fewer {
    /// The lines that Redis logs.
    pub(crate) fn lines(&self) -> [String; 3] {
        let Fewer { wanted_clients, needed, limit, clients, reason } = self;
        [
            format!(
                "You requested maxclients of {wanted_clients} requiring at least {needed} max \
                 file descriptors."
            ),
            format!(
                "Server can't set maximum open files to {needed} because of OS error: {reason}."
            ),
            format!(
                "Current maximum open files is {limit}. maxclients has been reduced to {clients} \
                 to compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'."
            ),
        ]
    }
}

impl fmt::Display for Fewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fewer { needed, limit, .. } = self;
        write!(
            f,
            "Your current 'ulimit -n' of {limit} is not enough for the server to start. Please \
             increase your open file limit to at least {needed}. Exiting."
        )
    }
}

/// Raises the process's limit to what so many clients and shard threads need. Servers of one
/// process share the limit; each makes sure of its own need.
pub(crate) fn provide(maxclients: u32, shards: u16) -> Descriptors {
    let limit = getrlimit(Resource::Nofile);
    let limit =
        Limit { soft: limit.current.unwrap_or(u64::MAX), hard: limit.maximum.unwrap_or(u64::MAX) };
    provide_with(maxclients, shards, limit, |limit| {
        let wanted = Rlimit {
            current: Some(limit.soft),
            maximum: (limit.hard != u64::MAX).then_some(limit.hard),
        };
        setrlimit(Resource::Nofile, wanted).map_err(io::Error::from)
    })
}

fn provide_with(
    maxclients: u32,
    shards: u16,
    limit: Limit,
    mut set: impl FnMut(Limit) -> io::Result<()>,
) -> Descriptors {
    // The control thread has a runtime as well.
    let own = RESERVED + PER_THREAD * (u64::from(shards) + 1);
    let needed = u64::from(maxclients) + own;
    if limit.soft >= needed {
        return Descriptors::Enough;
    }
    // Only a privileged process gets more than the hard limit.
    let error = match set(Limit { soft: needed, hard: limit.hard.max(needed) }) {
        Ok(()) => return Descriptors::Raised { from: limit.soft, to: needed },
        Err(error) => error,
    };
    let most = limit.hard.min(needed);
    let reached = match set(Limit { soft: most, hard: limit.hard }) {
        Ok(()) => most,
        Err(_) => limit.soft,
    };
    let clients = u32::try_from(reached.saturating_sub(own)).unwrap_or(u32::MAX);
    let reason = crate::config::system_reason(&error);
    let wanted_clients = maxclients;
    Descriptors::Fewer(Fewer { wanted_clients, needed, limit: reached, clients, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD: u64 = 4096;

    /// A system that allows no more than the hard limit.
    fn system(limit: Limit) -> io::Result<()> {
        match limit.soft.max(limit.hard) <= HARD {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(1)),
        }
    }

    fn provided(maxclients: u32, soft: u64) -> Descriptors {
        provide_with(maxclients, 1, Limit { soft, hard: HARD }, system)
    }

    #[test]
    fn what_is_enough_stays() {
        assert_eq!(provided(1000, 1040), Descriptors::Enough);
    }

    #[test]
    fn the_soft_limit_is_raised_to_what_clients_need() {
        assert_eq!(provided(1000, 64), Descriptors::Raised { from: 64, to: 1040 });
    }

    #[test]
    fn beyond_the_hard_limit_there_are_fewer_clients() {
        let Descriptors::Fewer(fewer) = provided(10_000, 64) else { panic!("4096 are too few") };
        assert_eq!((fewer.clients, fewer.limit), (4056, HARD));
        assert_eq!(
            fewer.lines()[0],
            "You requested maxclients of 10000 requiring at least 10040 max file descriptors."
        );
        assert!(fewer.lines()[1].ends_with("because of OS error: Operation not permitted."));
        assert!(fewer.lines()[2].starts_with("Current maximum open files is 4096. maxclients has"));
    }

    #[test]
    fn a_process_without_descriptors_of_its_own_has_no_client() {
        let refuse = |_| Err(io::Error::from_raw_os_error(1));
        let limit = Limit { soft: 30, hard: 30 };
        let Descriptors::Fewer(fewer) = provide_with(100, 1, limit, refuse) else { panic!() };
        assert_eq!(fewer.clients, 0);
        assert!(fewer.to_string().contains("'ulimit -n' of 30 is not enough"));
    }
}
