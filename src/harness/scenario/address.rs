//! What an address can hold as it is, for whoever writes one and for whoever sends one.

use percent_encoding::{AsciiSet, CONTROLS};

/// What can't stand in a path or a query as it is: RFC 3986, sections 3.3 and 3.4. `%` can: a scenario may have
/// encoded already.
pub(crate) const UNWRITTEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
