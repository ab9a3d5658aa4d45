//! Free ports for the processes of a run.

use std::net::{Ipv4Addr, TcpListener};

use rand::Rng as _;

/// How many ports outside of the ephemeral range are tried.
const ATTEMPTS: u32 = 200;
/// Ports below are often taken by convention, and need rights below 1024.
const LOWEST: u16 = 10_240;
/// What Linux uses for outgoing connections unless told otherwise.
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

/// A port that was free a moment ago, held until it is let go right before its process starts.
#[derive(Debug)]
pub(super) struct ReservedPort {
    listener: TcpListener,
    port: u16,
}

impl ReservedPort {
    /// Takes a free port of the loopback address.
    ///
    /// Outside of the ephemeral range where possible: inside of it, the kernel could hand the port
    /// to an outgoing connection while its process is stopped, and a client that keeps connecting
    /// to a stopped process could even connect to itself and keep the port from being bound again.
    pub(super) fn take() -> std::io::Result<Self> {
        let (low, high) = ephemeral_range();
        let mut rng = rand::rng();
        let outside = (0..ATTEMPTS)
            .map(|_| rng.random_range(LOWEST..=u16::MAX))
            .filter(|port| !(low..=high).contains(port))
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        let listener = match outside {
            Some(listener) => listener,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        };
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// Its number.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Makes room for the process.
    pub(super) fn let_go(self) {
        drop(self.listener);
    }
}

/// Whether somebody else listens on the port. One that was closed a moment ago counts as free.
pub(super) fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

fn ephemeral_range() -> (u16, u16) {
    let parse = |text: String| -> Option<(u16, u16)> {
        let mut bounds = text.split_whitespace().map(str::parse);
        Some((bounds.next()?.ok()?, bounds.next()?.ok()?))
    };
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(parse)
        .unwrap_or(EPHEMERAL)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_taken_until_it_is_let_go() {
        let reserved = ReservedPort::take().unwrap();
        let port = reserved.port();
        assert!(is_taken(port));
        let (low, high) = ephemeral_range();
        assert!(!(low..=high).contains(&port));
        reserved.let_go();
        assert!(!is_taken(port));
    }
}
