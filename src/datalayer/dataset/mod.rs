//! The data that the reference service serves: a schema for both databases, and a seeded
//! generator. [`ensure`] makes a store hold exactly the dataset that a [`DatasetId`] names.

mod schema;
mod words;
mod draw;
mod generator;
mod store;

pub use generator::{Generator, Shape};
pub use schema::{
    APPOINTMENTS, CLIENTS, PAYMENTS, RECORDS, RECORDS_ARCHIVE, RECORDS_REPORTED, TABLES, TENANTS,
};
pub use store::{DatasetError, DatasetId, Ensured, Generated, claim_records, drop_indexes, ensure};
