//! A client's end of a connection: commands out in one write, replies in.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A reply.
pub(super) type Frame = BytesFrame;

/// A connection with its buffers.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    queued: usize,
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, input: BytesMut::new(), output: Vec::new(), queued: 0 })
    }

    /// Adds a command to the next exchange.
    pub(super) fn queue(&mut self, words: &[&[u8]]) {
        self.output.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.output.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.output.extend_from_slice(word);
            self.output.extend_from_slice(b"\r\n");
        }
        self.queued += 1;
    }

    /// Sends what is queued and waits for as many replies.
    ///
    /// # Errors
    /// The connection broke, or what came is no RESP2.
    pub(super) async fn exchange(&mut self) -> io::Result<Vec<Frame>> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        let mut replies = Vec::with_capacity(std::mem::take(&mut self.queued));
        while replies.len() < replies.capacity() {
            let decoded = decode_bytes_mut(&mut self.input)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match decoded {
                Some((frame, ..)) => replies.push(frame),
                None if self.stream.read_buf(&mut self.input).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
        Ok(replies)
    }

    /// One command and its reply.
    ///
    /// # Errors
    /// As [`Self::exchange`]; an error reply is an error, too.
    pub(super) async fn ask(&mut self, words: &[&str]) -> io::Result<Frame> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.queue(&words);
        match self.exchange().await?.pop() {
            Some(BytesFrame::Error(text)) => Err(io::Error::other(text.to_string())),
            Some(reply) => Ok(reply),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A bulk or simple string; empty if it is something else.
pub(super) fn text(frame: &Frame) -> String {
    match frame {
        BytesFrame::BulkString(bytes) | BytesFrame::SimpleString(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        _ => String::new(),
    }
}

/// The elements of an array; none if it is something else.
pub(super) fn items(frame: &Frame) -> &[Frame] {
    match frame {
        BytesFrame::Array(items) => items,
        _ => &[],
    }
}

/// The value of a field of a map, which RESP2 writes as a flat array.
pub(super) fn field<'a>(map: &'a Frame, name: &str) -> &'a Frame {
    let pairs = items(map).chunks_exact(2);
    let found = pairs.into_iter().find(|pair| text(&pair[0]) == name);
    found.map_or(&BytesFrame::Null, |pair| &pair[1])
}

/// An integer, or a number in a string; 0 if it is neither.
pub(super) fn number(frame: &Frame) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "figures to be shown")]
    match frame {
        BytesFrame::Integer(number) => *number as f64,
        other => text(other).parse().unwrap_or(0.0),
    }
}
