//! Live updates (LV1): what changes for a tenant is told to those who joined the room where it does.
//!
//! [`Hub`] is the main type, a [`Subscription`] what it gives a connection. Each tenant has one log, in which
//! its updates are numbered without holes; in this process, or in Redis, where all processes share it. Updates
//! of a moment are sent together. Whoever comes back names the last number that it saw, and gets what came
//! after it.
//!
//! The invariant: a subscriber gets each update of its rooms once and in order, or is told of a gap. The
//! numbers are how a lost message of Redis is noticed; the log is where it is fetched from. While Redis is
//! away, updates go to the subscribers of this process without a number, and everybody is told of a gap
//! when it is back. What a process had not yet told Redis when it was killed is the exception: nobody knows
//! of it.
//!
//! A subscriber that reads too slowly has a bounded queue and is let go when that is full; the others never
//! wait for it.

mod hub;
mod subscription;
mod update;
mod message;
mod tenant;
mod publisher;
mod bus;
mod memory;
mod redis;
mod stats;

pub use bus::LiveError;
pub use hub::{Hub, Refused};
pub use message::Delivery;
pub use stats::LiveStats;
pub use subscription::Subscription;
pub use tenant::{Ending, NotFirst};
pub use update::Position;
