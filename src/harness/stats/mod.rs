//! Statistics: slices in, numbers out; no I/O, seeded.
