//! Nothing: the benches are what matters here.
