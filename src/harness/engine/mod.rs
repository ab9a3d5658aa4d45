//! Plan → measurement: processes, load (goose), benches (criterion), probes.
