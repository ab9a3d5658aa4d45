//! Addresses as a scenario writes them: values of others are percent-encoded, so that each stays one value.

use percent_encoding::AsciiSet;

use crate::harness::scenario::UNWRITTEN;

/// What would end a value in an address, or be taken for something that is encoded already.
const VALUE: &AsciiSet = &UNWRITTEN.add(b'%').add(b'?').add(b'[').add(b']');

/// What can't stand in a value that is one segment of a path.
pub(super) const SEGMENT: &AsciiSet = &VALUE.add(b'/');

/// What can't stand in a name or a value of a query.
pub(super) const QUERY: &AsciiSet = &VALUE.add(b'&').add(b'+').add(b'=').add(b'\'');
