//! One blocking connection: commands or raw bytes out, replies or raw bytes in.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Decoded, Reply, decode};

/// No reply takes longer unless the server hangs.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 64 * 1024;

/// A blocking connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects to `address`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, REPLY_WAIT_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT_MAX))?;
        stream.set_write_timeout(Some(REPLY_WAIT_MAX))?;
        Ok(Client { stream, received: Vec::new() })
    }

    /// Gives replies so long to come.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn wait_at_most(&mut self, wait: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(wait))
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closed, `WouldBlock` or `TimedOut` when it did not answer,
    /// `InvalidData` when what it sent is no RESP.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        self.read_reply()
    }

    /// Sends one command and leaves its reply to be read.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, args);
        self.send_raw(&bytes)
    }

    /// Sends all commands in one write, then reads all replies.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        for args in commands {
            encode_command(&mut bytes, args);
        }
        self.send_raw(&bytes)?;
        commands.iter().map(|_| self.read_reply()).collect()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the next reply (or push).
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        loop {
            match decode(&self.received) {
                Decoded::Whole(reply, used) => {
                    self.received.drain(..used);
                    return Ok(reply);
                }
                Decoded::Invalid(why) => return Err(io::Error::new(ErrorKind::InvalidData, why)),
                Decoded::Partial => self.receive()?,
            }
        }
    }

    /// Reads until the server closes, and returns all bytes that were not read as replies.
    ///
    /// # Errors
    /// As for [`Client::call`]; a server that neither sends nor closes is `WouldBlock`.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.received));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = [0; READ_BYTES];
        let len = match self.stream.read(&mut chunk) {
            Ok(len) => len,
            // A reset is a close with bytes of ours unread: no different for the tests.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.received.extend_from_slice(&chunk[..len]);
        Ok(())
    }
}

/// Appends a command as an array of bulk strings.
pub fn encode_command<A: AsRef<[u8]>>(bytes: &mut Vec<u8>, args: &[A]) {
    bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
}
