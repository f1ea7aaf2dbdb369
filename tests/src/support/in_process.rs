//! A server in this process: nothing to find or to build, and its clock is in the test's hand.

use std::io;
use std::net::SocketAddr;

use ballast_server::{Builder, Log, Server};

use super::{Client, Target};

/// A running server, stopped when dropped.
#[derive(Debug)]
pub struct InProcess {
    server: Server,
}

impl InProcess {
    /// Starts on a free port what the builder describes, with a log that nobody reads.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn start(builder: Builder) -> InProcess {
        let server = builder.any_port().log(Log::in_memory()).start_now();
        InProcess { server: server.expect("the server starts") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

impl Target for InProcess {
    fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address())
    }
}
