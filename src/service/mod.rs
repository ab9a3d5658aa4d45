//! The HTTP service over the data layer: one module a resource.
