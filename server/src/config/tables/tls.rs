//! TLS: every directive is known, and refused: an operator who names one wants a safe line.

use super::INT_MAX;
use crate::config::directive::{Directive, Refusal};

pub(super) const TLS: &[Directive] = &[
    Directive::int("tls-port", (0, 65535), "0", "TLS port; 0 = none.").refused(NO_TLS),
    Directive::yes_no("tls-cluster", "no", "Uses TLS between nodes.").refused(NO_TLS),
    Directive::yes_no("tls-replication", "no", "Uses TLS for replicas.").refused(NO_TLS),
    Directive::one_of(
        "tls-auth-clients",
        &["no", "yes", "optional"],
        "yes",
        "Asks clients for a certificate.",
    )
    .refused(NO_TLS),
    Directive::yes_no("tls-prefer-server-ciphers", "no", "Lets the server choose the cipher.")
        .refused(NO_TLS),
    Directive::yes_no("tls-session-caching", "yes", "Lets clients resume sessions.")
        .refused(NO_TLS),
    Directive::int("tls-session-cache-size", (0, INT_MAX), "20480", "Most cached sessions.")
        .refused(NO_TLS),
    Directive::int("tls-session-cache-timeout", (0, INT_MAX), "300", "Age of a cached session.")
        .unit("seconds")
        .refused(NO_TLS),
    Directive::text("tls-cert-file", "", "Certificate.").refused(NO_TLS),
    Directive::text("tls-key-file", "", "Private key.").refused(NO_TLS),
    Directive::text("tls-key-file-pass", "", "Password of the key.").secret().refused(NO_TLS),
    Directive::text("tls-client-cert-file", "", "Certificate as a client.").refused(NO_TLS),
    Directive::text("tls-client-key-file", "", "Private key as a client.").refused(NO_TLS),
    Directive::text("tls-client-key-file-pass", "", "Password of the client key.")
        .secret()
        .refused(NO_TLS),
    Directive::text("tls-dh-params-file", "", "Diffie-Hellman parameters.").refused(NO_TLS),
    Directive::text("tls-ca-cert-file", "", "Certificate of the authority.").refused(NO_TLS),
    Directive::text("tls-ca-cert-dir", "", "Certificates of authorities.").refused(NO_TLS),
    Directive::text("tls-protocols", "", "Versions that are allowed.").refused(NO_TLS),
    Directive::text("tls-ciphers", "", "Ciphers up to TLS 1.2.").refused(NO_TLS),
    Directive::text("tls-ciphersuites", "", "Ciphers of TLS 1.3.").refused(NO_TLS),
];

const NO_TLS: Refusal = Refusal::new(
    "TLS is not supported yet",
    "remove the line, and put a proxy that ends TLS in front if clients need it",
);
