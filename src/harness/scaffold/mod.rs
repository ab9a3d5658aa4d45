//! What `plimsoll init` writes into someone else's repository: facts in, files as text out.
//!
//! [`detect`] reads a [`Tree`] (what lies in a folder, as a value) for how the service starts, how it is
//! told its port and what it answers to. [`read_openapi`] and [`read_har`] turn a document into flows; their
//! formats stop there. [`draft`] puts all of it together into [`Draft`], the files and what to say of
//! them. Nothing here reads, writes or asks; documents are hostile, and no secret of theirs reaches a file.

mod error;
mod text;
mod secret;
mod json;
mod address;
mod action;
mod tree;
mod sources;
mod facts;
mod detect;
mod document;
mod sketch;
mod openapi;
mod har;
mod render;
mod files;
mod draft;

pub use self::detect::detect;
pub use self::draft::{Document, Draft, File, Place, Wishes, draft};
pub use self::error::ScaffoldError;
pub use self::facts::{Facts, Found, Port, Service};
pub use self::har::{MAX_HAR_BYTES, read_har};
pub use self::openapi::{MAX_OPENAPI_BYTES, read_openapi};
pub use self::sketch::Imported;
pub use self::tree::{Entry, Tree};
