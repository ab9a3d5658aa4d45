//! The vocabulary: metric, unit, direction, histogram series, run, fingerprint.
