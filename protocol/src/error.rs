//! What a client reads when a command is refused.
//!
//! Every text is Redis 7.0's, code included; clients and their libraries compare them. The
//! other crates have errors of their own with data in them: this is the one place that turns a
//! failure into words for a client.

use std::borrow::Cow;
use std::fmt;

use crate::args::Args;
use crate::request::ProtocolError;

/// Bytes of a client's own words that an error repeats.
const REPEATED_BYTES_MAX: usize = 128;
/// Bytes of a word that is no command's name, of which Redis repeats all.
const WORD_BYTES_MAX: usize = 1024;

/// The error reply of a command. `Display` is the whole text, its code first.
///
/// Construction allocates only where the text repeats something that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The key holds another type.
    WrongType,
    /// An argument or a value is no 64-bit integer.
    NotInteger,
    /// An argument or a value is no float.
    NotFloat,
    /// A count or length has to be at least 0 (or 1).
    NotPositive,
    /// An integer is not in the range that the command allows.
    ValueOutOfRange,
    /// Arguments that do not go together, or an unknown option.
    Syntax,
    /// A wrong number of arguments for the command of this full name (`config|get`).
    WrongArity(Cow<'static, str>),
    /// No such command; built by [`CommandError::unknown_command`].
    UnknownCommand {
        /// The name as it was sent, shortened.
        name: Box<[u8]>,
        /// The arguments as they were sent, quoted, shortened, each followed by a blank.
        args: Box<[u8]>,
    },
    /// No such subcommand; built by [`CommandError::unknown_subcommand`].
    UnknownSubcommand {
        /// The command in capitals.
        command: Cow<'static, str>,
        /// The subcommand as it was sent, shortened.
        name: Box<[u8]>,
    },
    /// The key has to exist.
    NoKey,
    /// An index is outside of the list.
    OutOfRange,
    /// The source and the destination are the same.
    SameObject,
    /// INCR beyond 64 bits.
    Overflow,
    /// INCRBYFLOAT beyond every float.
    NanOrInfinity,
    /// HINCRBYFLOAT by what is no finite float.
    NotFinite,
    /// HINCRBY on a field that is no integer.
    HashValueNotInteger,
    /// HINCRBYFLOAT on a field that is no float.
    HashValueNotFloat,
    /// A bound of a score range is no float.
    MinMaxNotFloat,
    /// A bound of a lexical range has no `(`, `[`, `-` or `+`.
    MinMaxNotRange,
    /// No such database.
    InvalidDatabase,
    /// SCAN with something that is no cursor.
    InvalidCursor,
    /// A timeout is no float.
    TimeoutNotFloat,
    /// A timeout is no integer.
    TimeoutNotInteger,
    /// A timeout below 0.
    TimeoutNegative,
    /// A time to live of the command of this name that is not positive or not representable.
    InvalidExpire(Cow<'static, str>),
    /// A string would grow beyond `proto-max-bulk-len`.
    StringTooLong,
    /// The client has to authenticate first.
    NoAuth,
    /// AUTH with a wrong name or password.
    WrongPass,
    /// The ACL does not allow the command of this full name.
    NoPermission(Cow<'static, str>),
    /// The ACL does not allow one of the keys.
    NoPermissionForKey,
    /// The ACL does not allow one of the channels.
    NoPermissionForChannel,
    /// HELLO with a protocol version other than 2 and 3.
    NoProtocol,
    /// The memory limit is reached and nothing can be evicted.
    Oom,
    /// A write to a replica.
    ReadOnly,
    /// The data set is being loaded.
    Loading,
    /// The replica has lost its master and must not serve stale data.
    MasterDown,
    /// Too few replicas for a write.
    NoReplicas,
    /// Snapshots fail and writes are refused until they do not.
    Misconfigured,
    /// A script runs for too long.
    BusyScript,
    /// A function runs for too long.
    BusyFunction,
    /// RESTORE or a move onto an existing key.
    BusyKey,
    /// The stream has this consumer group already.
    BusyGroup,
    /// EVALSHA of an unknown script.
    NoScript,
    /// SCRIPT KILL while nothing runs.
    NotBusy,
    /// EXEC of a transaction in which a command was refused.
    ExecAbort,
    /// MULTI inside MULTI.
    NestedMulti,
    /// EXEC outside of MULTI.
    ExecWithoutMulti,
    /// DISCARD outside of MULTI.
    DiscardWithoutMulti,
    /// WATCH inside of MULTI.
    WatchInsideMulti,
    /// Something other than a (un)subscription on a RESP2 connection that is subscribed.
    SubscribedContext(Cow<'static, str>),
    /// CLIENT UNBLOCK … ERROR has ended the wait.
    Unblocked,
    /// The slot is served by another node.
    Moved {
        /// The hash slot.
        slot: u16,
        /// Host name or address of the owner.
        host: Box<str>,
        /// Port of the owner.
        port: u16,
    },
    /// The key may have gone to another node already; only this request goes there.
    Ask {
        /// The hash slot.
        slot: u16,
        /// Host name or address of the target.
        host: Box<str>,
        /// Port of the target.
        port: u16,
    },
    /// The keys belong to several slots.
    CrossSlot,
    /// Some keys of a migrating slot are here and some are not.
    TryAgain,
    /// The cluster does not serve.
    ClusterDown,
    /// The cluster serves reads only.
    ClusterDownReadOnly,
    /// Nobody owns the slot.
    SlotNotServed,
    /// A cluster command on a server that is no cluster node.
    ClusterDisabled,
    /// The bytes of the request; the connection is closed afterwards.
    Protocol(ProtocolError),
    /// A text that repeats a word of the client, byte for byte.
    Repeating(Box<Repeating>),
    /// Anything else: the whole text, code included.
    Other(Cow<'static, str>),
}

/// What [`CommandError::repeating`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeating {
    before: &'static str,
    word: Box<[u8]>,
    after: &'static str,
}

impl CommandError {
    /// The error for a command (argument 0) that does not exist.
    #[cold]
    pub fn unknown_command(args: Args<'_>) -> Self {
        let mut shown = Vec::new();
        for arg in args.from(1) {
            let Some(left) = REPEATED_BYTES_MAX.checked_sub(shown.len()).filter(|left| *left > 0)
            else {
                break;
            };
            shown.push(b'\'');
            shown.extend_from_slice(shortened(arg, left));
            shown.extend_from_slice(b"' ");
        }
        let name = args.get(0).unwrap_or_default();
        Self::UnknownCommand {
            name: shortened(name, REPEATED_BYTES_MAX).into(),
            args: shown.into_boxed_slice(),
        }
    }

    /// The error for a subcommand of `command` that does not exist.
    #[cold]
    pub fn unknown_subcommand(command: &str, name: &[u8]) -> Self {
        Self::UnknownSubcommand {
            command: command.to_ascii_uppercase().into(),
            name: shortened(name, REPEATED_BYTES_MAX).into(),
        }
    }

    /// An error whose text has a word that the client sent between `before`, with the code, and
    /// `after`. As in Redis, a NUL ends the word.
    #[cold]
    pub fn repeating(before: &'static str, word: &[u8], after: &'static str) -> Self {
        let word = shortened(word, WORD_BYTES_MAX).into();
        Self::Repeating(Box::new(Repeating { before, word, after }))
    }

    /// An error with a text of its own, code included.
    pub fn other(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Other(text.into())
    }

    /// The first word of the text (`ERR`, `WRONGTYPE`), as statistics count errors.
    pub fn code(&self) -> Cow<'static, str> {
        let first_word = |text: &str| text.split(' ').next().unwrap_or_default().len();
        match self.fixed_text() {
            Some(text) => Cow::Borrowed(&text[..first_word(text)]),
            None => {
                let mut text = self.to_string();
                text.truncate(first_word(&text));
                Cow::Owned(text)
            }
        }
    }

    /// Appends the text, byte for byte: what the client sent is repeated as it was, while
    /// `Display` has to replace what is not UTF-8. Line ends are not handled here.
    pub fn write_to(&self, buf: &mut Vec<u8>) {
        match self {
            Self::UnknownCommand { name, args } => {
                buf.extend_from_slice(b"ERR unknown command '");
                buf.extend_from_slice(name);
                buf.extend_from_slice(b"', with args beginning with: ");
                buf.extend_from_slice(args);
            }
            Self::UnknownSubcommand { command, name } => {
                buf.extend_from_slice(b"ERR unknown subcommand '");
                buf.extend_from_slice(name);
                buf.extend_from_slice(b"'. Try ");
                buf.extend_from_slice(command.as_bytes());
                buf.extend_from_slice(b" HELP.");
            }
            Self::Repeating(text) => {
                buf.extend_from_slice(text.before.as_bytes());
                buf.extend_from_slice(&text.word);
                buf.extend_from_slice(text.after.as_bytes());
            }
            _ => match self.fixed_text() {
                Some(text) => buf.extend_from_slice(text.as_bytes()),
                None => buf.extend_from_slice(self.to_string().as_bytes()),
            },
        }
    }

    /// The text, where it is always the same.
    fn fixed_text(&self) -> Option<&'static str> {
        Some(match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::NotPositive => "ERR value is out of range, must be positive",
            Self::ValueOutOfRange => "ERR value is out of range",
            Self::Syntax => "ERR syntax error",
            Self::NoKey => "ERR no such key",
            Self::OutOfRange => "ERR index out of range",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Self::NotFinite => "ERR value is NaN or Infinity",
            Self::HashValueNotInteger => "ERR hash value is not an integer",
            Self::HashValueNotFloat => "ERR hash value is not a float",
            Self::MinMaxNotFloat => "ERR min or max is not a float",
            Self::MinMaxNotRange => "ERR min or max not valid string range item",
            Self::InvalidDatabase => "ERR DB index is out of range",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::TimeoutNotFloat => "ERR timeout is not a float or out of range",
            Self::TimeoutNotInteger => "ERR timeout is not an integer or out of range",
            Self::TimeoutNegative => "ERR timeout is negative",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::NoPermissionForKey => {
                "NOPERM this user has no permissions to access one of the keys used as arguments"
            }
            Self::NoPermissionForChannel => {
                "NOPERM this user has no permissions to access one of the channels used as \
                 arguments"
            }
            Self::NestedMulti => "ERR MULTI calls can not be nested",
            Self::ExecWithoutMulti => "ERR EXEC without MULTI",
            Self::DiscardWithoutMulti => "ERR DISCARD without MULTI",
            Self::WatchInsideMulti => "ERR WATCH inside MULTI is not allowed",
            Self::ClusterDisabled => "ERR This instance has cluster support disabled",
            _ => return self.fixed_state_text(),
        })
    }

    /// The texts that are about the state of the server, not about the command.
    fn fixed_state_text(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoAuth => "NOAUTH Authentication required.",
            Self::WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
            Self::NoProtocol => "NOPROTO unsupported protocol version",
            Self::Oom => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::MasterDown => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            }
            Self::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
            Self::Misconfigured => {
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
                 persist to disk. Commands that may modify the data set are disabled, because \
                 this instance is configured to report errors during writes if RDB snapshotting \
                 fails (stop-writes-on-bgsave-error option). Please check the Redis logs for \
                 details about the RDB error."
            }
            Self::BusyScript => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                 NOSAVE."
            }
            Self::BusyFunction => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN \
                 NOSAVE."
            }
            Self::BusyKey => "BUSYKEY Target key name already exists.",
            Self::BusyGroup => "BUSYGROUP Consumer Group name already exists",
            Self::NoScript => "NOSCRIPT No matching script. Please use EVAL.",
            Self::NotBusy => "NOTBUSY No scripts in execution right now.",
            Self::ExecAbort => "EXECABORT Transaction discarded because of previous errors.",
            Self::Unblocked => "UNBLOCKED client unblocked via CLIENT UNBLOCK",
            Self::CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
            Self::TryAgain => "TRYAGAIN Multiple keys request during rehashing of slot",
            Self::ClusterDown => "CLUSTERDOWN The cluster is down",
            Self::ClusterDownReadOnly => {
                "CLUSTERDOWN The cluster is down and only accepts read commands"
            }
            Self::SlotNotServed => "CLUSTERDOWN Hash slot not served",
            _ => return None,
        })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongArity(command) => {
                write!(f, "ERR wrong number of arguments for '{command}' command")
            }
            Self::UnknownCommand { .. } | Self::UnknownSubcommand { .. } | Self::Repeating(_) => {
                let mut text = Vec::new();
                self.write_to(&mut text);
                f.write_str(&String::from_utf8_lossy(&text))
            }
            Self::InvalidExpire(command) => {
                write!(f, "ERR invalid expire time in '{command}' command")
            }
            Self::NoPermission(command) => {
                write!(f, "NOPERM this user has no permissions to run the '{command}' command")
            }
            Self::SubscribedContext(command) => write!(
                f,
                "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context"
            ),
            Self::Moved { slot, host, port } => write!(f, "MOVED {slot} {host}:{port}"),
            Self::Ask { slot, host, port } => write!(f, "ASK {slot} {host}:{port}"),
            Self::Protocol(error) => write!(f, "ERR {error}"),
            Self::Other(text) => f.write_str(text),
            _ => f.write_str(self.fixed_text().unwrap_or("ERR")),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<ProtocolError> for CommandError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// At most `bytes_max` bytes of a text; as in Redis it ends at a NUL byte.
fn shortened(text: &[u8], bytes_max: usize) -> &[u8] {
    let text = &text[..text.len().min(bytes_max)];
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ArgsBuf;
    use crate::reply::{Protocol, Reply};

    fn unknown(args: &[&[u8]]) -> String {
        let mut reply = Reply::new(Protocol::Resp2);
        reply.command_error(&CommandError::unknown_command(ArgsBuf::new(args).view()));
        String::from_utf8_lossy(&reply.take()).into_owned()
    }

    #[test]
    fn unknown_commands_are_repeated_up_to_a_limit() {
        assert_eq!(
            unknown(&[b"foo"]),
            "-ERR unknown command 'foo', with args beginning with: \r\n"
        );
        assert_eq!(
            unknown(&[b"f\r\noo", b"a\nb", b"c\0d"]),
            "-ERR unknown command 'f  oo', with args beginning with: 'a b' 'c' \r\n"
        );
        let long = [b'x'; 200];
        let name = unknown(&[&long, b"a"]);
        let shown = "x".repeat(128);
        let expected =
            format!("-ERR unknown command '{shown}', with args beginning with: 'a' \r\n");
        assert_eq!(name, expected);
        // 4 bytes of the first argument leave 124 for the second, and none for the third.
        let expected = format!(
            "-ERR unknown command 'foo', with args beginning with: 'a' '{}' \r\n",
            "x".repeat(124)
        );
        assert_eq!(unknown(&[b"foo", b"a", &long, b"b"]), expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_repeated_as_sent() {
        let error = CommandError::unknown_command(ArgsBuf::new([b"\xff"]).view());
        let mut text = Vec::new();
        error.write_to(&mut text);
        assert!(text.starts_with(b"ERR unknown command '\xff', "));
        assert!(error.to_string().starts_with("ERR unknown command '\u{fffd}', "));
        let error = CommandError::unknown_subcommand("object", b"x\xff");
        text.clear();
        error.write_to(&mut text);
        assert_eq!(text, b"ERR unknown subcommand 'x\xff'. Try OBJECT HELP.");
        let error = CommandError::repeating("ERR Unsupported option ", b"\xfe\xff\0x", "!");
        text.clear();
        error.write_to(&mut text);
        assert_eq!(text, b"ERR Unsupported option \xfe\xff!");
        assert_eq!(error.code(), "ERR");
    }

    #[test]
    fn texts_with_data() {
        let moved = CommandError::Moved { slot: 866, host: "127.0.0.1".into(), port: 7000 };
        for (error, text) in [
            (moved, "MOVED 866 127.0.0.1:7000"),
            (CommandError::Ask { slot: 1, host: "a.b".into(), port: 80 }, "ASK 1 a.b:80"),
            (
                CommandError::WrongArity("config|get".into()),
                "ERR wrong number of arguments for 'config|get' command",
            ),
            (CommandError::InvalidExpire("set".into()), "ERR invalid expire time in 'set' command"),
            (
                CommandError::from(ProtocolError::ExpectedBulk(b'x')),
                "ERR Protocol error: expected '$', got 'x'",
            ),
            (
                CommandError::NoPermission("get".into()),
                "NOPERM this user has no permissions to run the 'get' command",
            ),
            (CommandError::other("NOGROUP x"), "NOGROUP x"),
            (CommandError::Syntax, "ERR syntax error"),
        ] {
            assert_eq!(error.to_string(), text);
            let mut bytes = Vec::new();
            error.write_to(&mut bytes);
            assert_eq!(bytes, text.as_bytes());
            assert_eq!(error.code(), text.split(' ').next().unwrap());
        }
    }

    #[test]
    fn every_other_error_has_a_text_of_its_own() {
        use CommandError::*;
        let errors = [
            WrongType,
            NotInteger,
            NotFloat,
            NotPositive,
            ValueOutOfRange,
            Syntax,
            NoKey,
            OutOfRange,
            SameObject,
            Overflow,
            NanOrInfinity,
            NotFinite,
            HashValueNotInteger,
            HashValueNotFloat,
            MinMaxNotFloat,
            MinMaxNotRange,
            InvalidDatabase,
            InvalidCursor,
            TimeoutNotFloat,
            TimeoutNotInteger,
            TimeoutNegative,
            StringTooLong,
            NoAuth,
            WrongPass,
            NoPermissionForKey,
            NoPermissionForChannel,
            NoProtocol,
            Oom,
            ReadOnly,
            Loading,
            MasterDown,
            NoReplicas,
            Misconfigured,
            BusyScript,
            BusyFunction,
            BusyKey,
            BusyGroup,
            NoScript,
            NotBusy,
            ExecAbort,
            NestedMulti,
            ExecWithoutMulti,
            DiscardWithoutMulti,
            WatchInsideMulti,
            Unblocked,
            CrossSlot,
            TryAgain,
            ClusterDown,
            ClusterDownReadOnly,
            SlotNotServed,
            ClusterDisabled,
        ];
        let mut texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), errors.len());
        for text in texts {
            let code = text.split(' ').next().unwrap();
            assert!(
                code.len() >= 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()),
                "{text}"
            );
            assert!(!text.contains("  "), "{text}");
        }
    }

    #[test]
    fn errors_stay_small() {
        assert!(size_of::<CommandError>() <= 48, "{}", size_of::<CommandError>());
    }
}
