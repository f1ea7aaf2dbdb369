//! Where the server listens, and what a client may cost.

use super::{INT_MAX, LONG_MAX, NO_USERS};
use crate::config::QUERY_BUFFER_LIMIT_MIN;
use crate::config::directive::{Directive, Kind};
use crate::config::settings::{Allowed, ClientsLimit, Settings};
use crate::config::value::Value;

pub(super) const NETWORK: &[Directive] = &[
    Directive::int("port", (0, 65535), "6379", "TCP port; 0 listens on no TCP port.")
        .field(|s, v| s.port = v.number()),
    Directive::of(
        "bind",
        Kind::List,
        "* -::*",
        "Addresses to listen on; one that starts with `-` may be missing on this machine.",
    )
    .field(|s, v| s.bind = v.words().to_vec()),
    Directive::text("bind-source-addr", "", "Source address of connections to other nodes.")
        .without_effect("there are no connections to other nodes yet"),
    Directive::text("unixsocket", "", "Path of a Unix socket to listen on.")
        .startup()
        .without_effect(NO_UNIX_SOCKET),
    Directive::of("unixsocketperm", Kind::Octal { max: 0o777 }, "0", "Mode of the Unix socket.")
        .startup()
        .without_effect(NO_UNIX_SOCKET),
    Directive::int("tcp-backlog", (0, INT_MAX), "511", "Length of the queue of new connections.")
        .startup()
        .field(|s, v| s.tcp_backlog = v.number()),
    Directive::int("tcp-keepalive", (0, INT_MAX), "300", "Interval of TCP keep-alives; 0 = off.")
        .unit("seconds")
        .field(|s, v| s.tcp_keepalive_s = v.number()),
    Directive::int("timeout", (0, INT_MAX), "0", "Closes clients idle for so long; 0 = never.")
        .unit("seconds")
        .field(|s, v| s.timeout_s = v.number()),
    Directive::int("socket-mark-id", (0, u32::MAX as i64), "0", "Mark of listening sockets.")
        .startup()
        .without_effect("sockets are not marked"),
    Directive::yes_no(
        "protected-mode",
        "yes",
        "Without a password, answers only connections from this host.",
    )
    .field(|s, v| s.protected_mode = v.flag()),
    Directive::text("requirepass", "", "Password of the default user; empty = none.")
        .secret()
        .field(|s, v| s.requirepass = v.text().to_owned()),
    Directive::text("aclfile", "", "File of the users; empty = users are in this file.")
        .startup()
        .refused(NO_USERS),
    Directive::one_of(
        "enable-debug-command",
        Allowed::NAMES,
        "no",
        "Who may use the DEBUG command.",
    )
    .startup()
    .field(|s, v| s.enable_debug_command = Allowed::named(v.text())),
    Directive::one_of(
        "enable-protected-configs",
        Allowed::NAMES,
        "no",
        "Who may change protected directives such as `dir`.",
    )
    .startup()
    .field(|s, v| s.enable_protected_configs = Allowed::named(v.text())),
    Directive::one_of("enable-module-command", Allowed::NAMES, "no", "Who may use MODULE.")
        .startup()
        .without_effect("modules cannot be loaded"),
    Directive::int("http-port", (0, 65535), "0", "Port of the dashboard and metrics; 0 = none.")
        .startup()
        .without_effect(NO_HTTP),
    Directive::of("http-bind", Kind::List, "127.0.0.1", "Addresses of the HTTP port.")
        .startup()
        .without_effect(NO_HTTP),
];

const NO_UNIX_SOCKET: &str = "there is no Unix socket yet; use `port` and `bind`";
const NO_HTTP: &str = "there is no dashboard yet; see INFO and the BALANCER command";

pub(super) const LIMITS: &[Directive] = &[
    Directive::int("maxclients", (1, u32::MAX as i64), "10000", "Most clients at a time.")
        .field(|s, v| s.maxclients = v.number()),
    Directive::bytes(
        "proto-max-bulk-len",
        (1024 * 1024, LONG_MAX),
        "512mb",
        "Longest single argument of a command.",
    )
    .field(|s, v| s.proto_max_bulk_len = v.number()),
    Directive::bytes(
        "client-query-buffer-limit",
        (QUERY_BUFFER_LIMIT_MIN as u64, LONG_MAX),
        "1gb",
        "Most bytes of unexecuted requests that one client may have sent.",
    )
    .field(|s, v| s.client_query_buffer_limit = v.number()),
    Directive::of(
        "client-output-buffer-limit",
        Kind::OutputBufferLimits,
        "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Per class of client: hard limit, soft limit, seconds above the soft limit.",
    )
    .field(store_output_buffer_limits),
    Directive::of(
        "maxmemory-clients",
        Kind::BytesOrPercent,
        "0",
        "Most memory of all clients together, or its part of maxmemory; 0 = unlimited.",
    )
    .field(store_clients_limit),
    Directive::int(
        "tracking-table-max-keys",
        (0, i64::MAX),
        "1000000",
        "Most keys remembered for client-side caching; 0 = unlimited.",
    )
    .without_effect("there is no client-side caching yet"),
    Directive::int(
        "busy-reply-threshold",
        (0, i64::MAX),
        "5000",
        "After this time a running script can be killed and others see BUSY.",
    )
    .aliases(&["lua-time-limit"])
    .unit("milliseconds")
    .without_effect("there are no scripts yet"),
    Directive::int("acllog-max-len", (0, i64::MAX), "128", "Most entries of ACL LOG.")
        .without_effect("there are no ACL rules yet"),
    Directive::one_of(
        "acl-pubsub-default",
        &["allchannels", "resetchannels"],
        "resetchannels",
        "Channels that a new user may use.",
    )
    .without_effect("there are no users beside `default` yet"),
    Directive::int(
        "max-new-connections-per-cycle",
        (1, 1000),
        "10",
        "Connections accepted in one round of the event loop.",
    )
    .without_effect("connections are accepted one by one by a task of their own"),
    Directive::int(
        "max-new-tls-connections-per-cycle",
        (1, 1000),
        "1",
        "TLS connections accepted in one round of the event loop.",
    )
    .without_effect("connections are accepted one by one by a task of their own"),
];

fn store_clients_limit(settings: &mut Settings, value: &Value) {
    match value {
        Value::Bytes(bytes) => settings.maxmemory_clients = ClientsLimit::Bytes(*bytes),
        Value::Percent(percent) => settings.maxmemory_clients = ClientsLimit::Percent(*percent),
        _ => {}
    }
}

fn store_output_buffer_limits(settings: &mut Settings, value: &Value) {
    if let Value::OutputBufferLimits(limits) = value {
        settings.client_output_buffer_limits = *limits;
    }
}
