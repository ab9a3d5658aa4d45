//! How a user reaches the target: one exchange at a time, to the last byte of its body, or a stream
//! of messages. The only module that knows connections, TLS and proxies.
//!
//! Each user owns its connections, because a pool and the layers of a general client would add to
//! every service time. The plan says how they come about; a request says what is sent over them and
//! can't lead anywhere else. Nothing is followed, tried again or sent through a proxy of the
//! environment. The one thing that is sent twice is what a server certainly did not process.
//!
//! ```text
//! Transport ──▶ Connection ──exchange──▶ Answer        target   where requests lead, what each says
//!  (target)          │                                 dial     names, sockets, proxy, tls
//!                    └──open──▶ Stream ──▶ Message     http1    HTTP/1.1, our own
//!                                                      wire     HTTP/2 and streams, hyper's
//! ```

mod target;
mod exchange;
mod dial;
mod proxy;
mod tls;
mod wire;
mod http1;
mod headers;
mod content;
mod stream;
mod websocket;
mod events;
mod failure;
#[cfg(test)]
mod fixture;

pub(super) use self::exchange::{Answer, Connection, Keep, Request, Timings};
pub(super) use self::headers::Headers;
pub(super) use self::stream::{Message, Stream};
pub(super) use self::target::Transport;
pub use self::target::TransportError;
