//! The sockets that the node listens on: opened at start, replaced by `CONFIG SET port` and
//! `bind`. The control thread accepts on them.

use std::io;
use std::net::{Shutdown, TcpListener, ToSocketAddrs};

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::sync::Notify;

use crate::config::Settings;

/// An address that cannot be listened on.
#[derive(Debug)]
pub(crate) struct Unavailable {
    /// As configured.
    pub(crate) address: String,
    /// What the system says.
    pub(crate) error: io::Error,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    sockets: Mutex<Sockets>,
    /// Tells that [`Self::take_fresh`] has something.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct Sockets {
    /// Handles of all that are open, to close them by.
    open: Vec<TcpListener>,
    /// Those that nobody accepts on yet.
    fresh: Vec<TcpListener>,
}

impl Listeners {
    /// Takes over sockets for the control thread to accept on.
    pub(crate) fn add(&self, listeners: Vec<TcpListener>) -> io::Result<()> {
        self.sockets.lock().add(listeners)?;
        self.changed.notify_one();
        Ok(())
    }

    /// The sockets that the caller accepts on from now.
    pub(crate) fn take_fresh(&self) -> Vec<TcpListener> {
        std::mem::take(&mut self.sockets.lock().fresh)
    }

    /// Ends listening.
    pub(crate) fn close(&self) {
        self.sockets.lock().close();
    }

    /// Closes all sockets and listens as `now` says; on an error as `before` said.
    ///
    /// Closing comes first, because an address cannot be listened on twice, and a wider one
    /// (`*`) is the same to the system. Connections that are open stay.
    pub(crate) fn replace(&self, before: &Settings, now: &Settings) -> Result<(), Unavailable> {
        let mut sockets = self.sockets.lock();
        sockets.close();
        let opened = listen(now).and_then(|listeners| sockets.take(now, listeners));
        if opened.is_err() {
            sockets.close();
            // What was there a moment ago is there again, unless another process was quicker.
            let _ = listen(before).and_then(|listeners| sockets.take(before, listeners));
        }
        drop(sockets);
        self.changed.notify_one();
        opened
    }
}

impl Sockets {
    fn add(&mut self, listeners: Vec<TcpListener>) -> io::Result<()> {
        for listener in listeners {
            self.open.push(listener.try_clone()?);
            self.fresh.push(listener);
        }
        Ok(())
    }

    fn take(&mut self, settings: &Settings, all: Vec<TcpListener>) -> Result<(), Unavailable> {
        let address = || format!("port {}", settings.port);
        self.add(all).map_err(|error| Unavailable { address: address(), error })
    }

    /// Ends listening at once, though the control thread keeps its handles for another moment.
    fn close(&mut self) {
        self.fresh.clear();
        for listener in self.open.drain(..) {
            let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        }
    }
}

/// Opens the sockets that the settings ask for. An address with a leading `-` may be missing, as
/// in Redis.
pub(crate) fn listen(settings: &Settings) -> Result<Vec<TcpListener>, Unavailable> {
    if settings.port == 0 {
        return Ok(Vec::new());
    }
    let mut listeners = Vec::new();
    for bind in &settings.bind {
        let (name, optional) = match bind.strip_prefix('-') {
            Some(name) => (name, true),
            None => (bind.as_str(), false),
        };
        let host = match name {
            "*" => "0.0.0.0",
            "::*" => "::",
            other => other,
        };
        match listen_on(host, settings.port, settings.tcp_backlog) {
            Ok(listener) => listeners.push(listener),
            Err(_) if optional => {}
            Err(error) => {
                let address = format!("{name}:{}", settings.port);
                return Err(Unavailable { address, error });
            }
        }
    }
    Ok(listeners)
}

fn listen_on(host: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}
