//! How the service of a repository is built, started and told its port: one look for each ecosystem, and
//! [`detect`], which believes them in an order.

mod words;
mod cargo;
mod container;
mod go;
mod jvm;
mod node;
mod python;
mod look;

pub use self::look::detect;
