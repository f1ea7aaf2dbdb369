//! What a `DEBUG` command asks for.

use std::time::Duration;

use ballast_protocol::{Args, CommandError, number};

use super::kinds::Kind;
use super::populate::Populate;
use crate::commands::cluster::parse_slot;
use crate::ids::ShardId;

/// The longest string that `STRINGMATCH-LEN` matches.
const MATCHED_BYTES_MAX: usize = 1 << 20;

/// A parsed `DEBUG` command.
pub(super) enum Request {
    /// `CHANGE-REPL-ID` and whatever else changes nothing here.
    Accepted,
    /// `DIGEST`
    Digest,
    /// `DIGEST-VALUE`
    DigestValue(Vec<Vec<u8>>),
    /// `ERROR`
    Error(String),
    /// `HAND-OVER`
    HandOver {
        slot: u16,
        to: ShardId,
    },
    /// `HAND-OVERS`
    HandOvers {
        a_second: u32,
        lasting: Duration,
    },
    /// `HELP`
    Help,
    /// `LOG`
    Log(String),
    /// `OBJECT`
    Object(Vec<u8>),
    /// `POPULATE`
    Populate(Populate),
    /// `PROTOCOL`
    Protocol(Kind),
    /// `RELOAD`
    LoadAof,
    Reload {
        saves: bool,
    },
    /// `SET-ACTIVE-EXPIRE`
    SetActiveExpire(bool),
    /// `SLEEP`
    Sleep(Duration),
    /// `SLOT-AUDIT`; all slots without one.
    SlotAudit(Option<u16>),
    /// `STRINGMATCH-LEN`
    StringMatch {
        len: usize,
        pattern: Vec<u8>,
    },
}

/// Subcommands that tests of Redis's inside send, with their numbers of arguments.
const ACCEPTED: &[(&str, usize)] = &[
    ("change-repl-id", 0),
    ("drop-cluster-packet-filter", 1),
    ("jmap", 0),
    ("pause-cron", 1),
    ("quicklist-packed-threshold", 1),
    ("replybuffer", 2),
    ("set-disable-deny-scripts", 1),
    ("set-skip-checksum-validation", 1),
];

impl Request {
    /// Errors as Redis has them: a subcommand with too few or too many arguments is as unknown
    /// as any other.
    pub(super) fn parse(args: Args<'_>) -> Result<Request, CommandError> {
        let name = String::from_utf8_lossy(args.at(1)).to_ascii_lowercase();
        let rest = args.from(2);
        let text = |at: usize| String::from_utf8_lossy(rest.at(at)).into_owned();
        Ok(match (name.as_str(), rest.len()) {
            ("digest", 0) => Request::Digest,
            ("digest-value", _) => Request::DigestValue(rest.iter().map(<[u8]>::to_vec).collect()),
            ("error", 1) => Request::Error(text(0)),
            ("hand-over", 2) => {
                let to = number::parse_i64(rest.at(1)).ok_or(CommandError::NotInteger)?;
                let to = u16::try_from(to).map_err(|_| CommandError::ValueOutOfRange)?;
                Request::HandOver { slot: parse_slot(rest.at(0))?, to: ShardId(to) }
            }
            ("hand-overs", 2) => {
                let a_second = number::parse_u64(rest.at(0)).ok_or(CommandError::NotInteger)?;
                let a_second =
                    u32::try_from(a_second).map_err(|_| CommandError::ValueOutOfRange)?;
                Request::HandOvers { a_second, lasting: seconds(rest.at(1)) }
            }
            ("help", 0) => Request::Help,
            ("log", 1) => Request::Log(text(0)),
            ("object", 1) => Request::Object(rest.at(0).to_vec()),
            ("populate", 1..=3) => Request::Populate(Populate::parse(rest)?),
            ("protocol", 1) => Request::Protocol(Kind::parse(rest.at(0))?),
            ("loadaof", 0) => Request::LoadAof,
            ("reload", 0) => Request::Reload { saves: true },
            ("reload", 1) if rest.at(0).eq_ignore_ascii_case(b"nosave") => {
                Request::Reload { saves: false }
            }
            ("reload", _) => {
                return Err(CommandError::other(
                    "ERR DEBUG RELOAD only supports the NOSAVE option",
                ));
            }
            ("set-active-expire", 1) => Request::SetActiveExpire(rest.at(0) == b"1"),
            ("sleep", 1) => Request::Sleep(seconds(rest.at(0))),
            ("slot-audit", 0) => Request::SlotAudit(None),
            ("slot-audit", 1) => Request::SlotAudit(Some(parse_slot(rest.at(0))?)),
            ("stringmatch-len", 2) => {
                let len = number::parse_u64(rest.at(0)).and_then(|len| usize::try_from(len).ok());
                let len = len.filter(|len| *len <= MATCHED_BYTES_MAX);
                let len = len.ok_or(CommandError::ValueOutOfRange)?;
                Request::StringMatch { len, pattern: rest.at(1).to_vec() }
            }
            (name, count) if ACCEPTED.contains(&(name, count)) => Request::Accepted,
            _ => return Err(unknown(args.at(1))),
        })
    }
}

fn unknown(name: &[u8]) -> CommandError {
    CommandError::repeating(
        "ERR unknown subcommand or wrong number of arguments for '",
        &name[..name.len().min(128)],
        "'. Try DEBUG HELP.",
    )
}

/// As C's `strtod`: what is no number is 0.
fn seconds(text: &[u8]) -> Duration {
    let seconds = number::parse_f64(text).unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
