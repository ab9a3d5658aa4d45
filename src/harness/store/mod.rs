//! The history of runs (SQLite or PostgreSQL) and the baseline files.
