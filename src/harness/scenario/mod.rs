//! TOML text → validated plan, or every problem with its span.
