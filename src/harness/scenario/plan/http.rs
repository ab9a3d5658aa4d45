//! How requests reach the target.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{FilePlan, Template};

/// How requests reach the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPlan {
    /// The version of HTTP.
    pub version: HttpVersion,
    /// How long a connection is kept.
    pub reuse: Reuse,
    /// A proxy between the generator and the target: `http://HOST:PORT`, perhaps with user and password.
    pub proxy: Option<Template>,
    /// What the server may compress answers with; nothing is asked for where it is empty. Whatever
    /// comes compressed is decompressed where it is looked at.
    pub accept_encoding: Vec<Encoding>,
    /// How a connection to an `https` target is secured.
    pub tls: TlsPlan,
}

impl Default for HttpPlan {
    fn default() -> Self {
        Self {
            version: HttpVersion::One,
            reuse: Reuse::User,
            proxy: None,
            accept_encoding: Vec::new(),
            tls: TlsPlan::default(),
        }
    }
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2: negotiated with an `https` target, taken for granted with an `http` one.
    Two,
}

/// How long a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// For the user's life.
    User,
    /// To the end of the iteration.
    Iteration,
    /// For one request.
    Request,
}

/// What a body can be compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Br,
    /// RFC 8878.
    Zstd,
}

/// How a connection to an `https` target is secured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPlan {
    /// Certificates of authorities that are trusted instead of the system's, PEM.
    pub ca: Option<FilePlan>,
    /// The client's certificate with its chain, and its key, PEM.
    pub client: Option<ClientCertificate>,
    /// The name that is asked for (SNI) and expected; the target's host where `None`.
    pub server_name: Option<String>,
    /// Whether any certificate is taken.
    pub insecure: bool,
}

/// What a client proves who it is with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate with its chain, PEM.
    pub certificate: FilePlan,
    /// Its key, PEM. Its contents are a secret; the hash of them is left out of the plan.
    pub key: PathBuf,
}
