//! OpenAPI 3.0 and 3.1 and Swagger 2.0, as a flow of their operations: [`read_openapi`].
//!
//! What only reads is taken, in the order of the paths; what writes is taken where the caller asks for it. Values come
//! from examples, defaults and enumerations; what none of them says becomes a column of a feed that somebody fills
//! in. References are followed within the document only.

mod dialect;
mod server;
mod security;
mod value;
mod operation;
mod read;

pub use self::read::{MAX_OPENAPI_BYTES, read_openapi};
