//! TLS: every directive is known, none has an effect yet.

use super::INT_MAX;
use crate::config::directive::Directive;

pub(super) const TLS: &[Directive] = &[
    Directive::int("tls-port", (0, 65535), "0", "TLS port; 0 = none.").no_effect(NO_TLS),
    Directive::yes_no("tls-cluster", "no", "Uses TLS between nodes.").no_effect(NO_TLS),
    Directive::yes_no("tls-replication", "no", "Uses TLS for replicas.").no_effect(NO_TLS),
    Directive::one_of(
        "tls-auth-clients",
        &["no", "yes", "optional"],
        "yes",
        "Asks clients for a certificate.",
    )
    .no_effect(NO_TLS),
    Directive::yes_no("tls-prefer-server-ciphers", "no", "Lets the server choose the cipher.")
        .no_effect(NO_TLS),
    Directive::yes_no("tls-session-caching", "yes", "Lets clients resume sessions.")
        .no_effect(NO_TLS),
    Directive::int("tls-session-cache-size", (0, INT_MAX), "20480", "Most cached sessions.")
        .no_effect(NO_TLS),
    Directive::int("tls-session-cache-timeout", (0, INT_MAX), "300", "Age of a cached session.")
        .unit("seconds")
        .no_effect(NO_TLS),
    Directive::text("tls-cert-file", "", "Certificate.").no_effect(NO_TLS),
    Directive::text("tls-key-file", "", "Private key.").no_effect(NO_TLS),
    Directive::text("tls-key-file-pass", "", "Password of the key.").secret().no_effect(NO_TLS),
    Directive::text("tls-client-cert-file", "", "Certificate as a client.").no_effect(NO_TLS),
    Directive::text("tls-client-key-file", "", "Private key as a client.").no_effect(NO_TLS),
    Directive::text("tls-client-key-file-pass", "", "Password of the client key.")
        .secret()
        .no_effect(NO_TLS),
    Directive::text("tls-dh-params-file", "", "Diffie-Hellman parameters.").no_effect(NO_TLS),
    Directive::text("tls-ca-cert-file", "", "Certificate of the authority.").no_effect(NO_TLS),
    Directive::text("tls-ca-cert-dir", "", "Certificates of authorities.").no_effect(NO_TLS),
    Directive::text("tls-protocols", "", "Versions that are allowed.").no_effect(NO_TLS),
    Directive::text("tls-ciphers", "", "Ciphers up to TLS 1.2.").no_effect(NO_TLS),
    Directive::text("tls-ciphersuites", "", "Ciphers of TLS 1.3.").no_effect(NO_TLS),
];

const NO_TLS: &str = "TLS is not supported yet";
