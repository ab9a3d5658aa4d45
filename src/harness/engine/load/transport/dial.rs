//! How a connection comes about: a name, a socket, perhaps a proxy, perhaps TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::net::{TcpStream, lookup_host};
use url::{Host, Url};

use super::exchange::{Timings, since_ns};
use super::failure::Failure;
use super::proxy::Proxy;
use super::tls::Tls;
use super::wire::Wire;
use crate::harness::scenario::HttpVersion;

/// What there is to know before the first connection.
#[derive(Debug)]
pub(super) struct Dial {
    /// Where the target is.
    pub(super) place: Place,
    /// What stands in between.
    pub(super) proxy: Option<Proxy>,
    /// How the connection is secured, of an `https` target.
    pub(super) tls: Option<Tls>,
}

/// A place that sockets can be connected to.
#[derive(Debug)]
pub(super) enum Place {
    /// A name, which is resolved for each connection.
    Name(String, u16),
    Address(SocketAddr),
}

impl Dial {
    /// A new connection, by way of the proxy if there is one, through a tunnel or up to the proxy.
    pub(super) async fn open(
        &self,
        through_tunnel: bool,
        version: HttpVersion,
        timings: &mut Timings,
    ) -> Result<Wire, Failure> {
        let stream = match &self.proxy {
            None => self.place.connect(timings).await?,
            Some(proxy) => {
                let mut stream = proxy.place.connect(timings).await.map_err(of_proxy)?;
                if through_tunnel {
                    let asked = Instant::now();
                    proxy.tunnel(&mut stream).await.map_err(of_proxy)?;
                    timings.connect_ns = timings.connect_ns.map(|ns| ns + since_ns(asked));
                }
                stream
            }
        };
        let Some(tls) = &self.tls else {
            return Ok(Wire::Plain(stream));
        };
        let began = Instant::now();
        let stream = tls.secure(stream, version).await?;
        timings.tls_ns = Some(since_ns(began));
        Ok(Wire::Secured(Box::new(stream)))
    }
}

impl Place {
    /// Where a URL leads.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let port = url.port_or_known_default()?;
        Some(match url.host()? {
            Host::Domain(name) => Self::Name(name.to_owned(), port),
            Host::Ipv4(address) => Self::Address((address, port).into()),
            Host::Ipv6(address) => Self::Address((address, port).into()),
        })
    }

    async fn connect(&self, timings: &mut Timings) -> Result<TcpStream, Failure> {
        let addresses = match self {
            Self::Address(address) => vec![*address],
            Self::Name(name, port) => {
                let began = Instant::now();
                let found = lookup_host((name.as_str(), *port)).await;
                let found = found.map_err(|error| Failure::unresolved(name, &error))?;
                timings.dns_ns = Some(since_ns(began));
                found.collect()
            }
        };
        let failed = |error: io::Error| Failure::unconnected(&error);
        let began = Instant::now();
        let stream = TcpStream::connect(&*addresses).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        timings.connect_ns = Some(since_ns(began));
        Ok(stream)
    }
}

fn of_proxy(failure: Failure) -> Failure {
    Failure::new(failure.kind, format!("the proxy: {}", failure.message))
}
