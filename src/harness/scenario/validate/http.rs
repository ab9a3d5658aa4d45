//! How requests reach the target: version, connections, proxy, compression, TLS.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use toml::de::DeTable;
use url::Url;

use super::files::Files;
use super::values::{self, Scope};
use super::{declares, unique};
use crate::harness::scenario::plan::{
    ClientCertificate, Encoding, FilePlan, HttpPlan, HttpVersion, Part, Reuse, Template, TlsPlan,
};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};

/// The keys that only a connection to an `https` target looks at.
const TLS_KEYS: [&str; 5] = ["ca", "certificate", "key", "server_name", "insecure"];

pub(super) fn read(
    table: &DeTable<'_>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> HttpPlan {
    let default = HttpPlan::default();
    let Some((http, _)) = raw::table(table, "http") else {
        return default;
    };
    check_is_https(table, http, problems);
    let encodings = raw::texts(http, "accept_encoding");
    unique("encodings", &encodings, problems);
    HttpPlan {
        version: match raw::text(http, "version").map(|version| version.text) {
            Some("2") => HttpVersion::Two,
            _ => default.version,
        },
        reuse: match raw::text(http, "reuse").map(|reuse| reuse.text) {
            Some("iteration") => Reuse::Iteration,
            Some("request") => Reuse::Request,
            _ => default.reuse,
        },
        proxy: raw::text(http, "proxy").map(|proxy| self::proxy(&proxy, problems)),
        accept_encoding: encodings.iter().filter_map(encoding).collect(),
        tls: tls(http, files, problems),
    }
}

/// Reports what is said of TLS where the target has none.
fn check_is_https(table: &DeTable<'_>, http: &DeTable<'_>, problems: &mut Problems<'_>) {
    let is_plain = match raw::text(table, "url") {
        Some(url) => Url::parse(url.text).is_ok_and(|url| url.scheme() == "http"),
        None => declares(table, "process") && !table.contains_key("url"),
    };
    for key in TLS_KEYS {
        if let Some((key, _)) = http.get_key_value(key)
            && is_plain
        {
            problems.report(
                Code::NoEffect,
                key.span(),
                format!("`{}` is for an `https` target", key.get_ref()),
                "the target is plain `http`",
                "remove it, or write `url = \"https://…\"`",
            );
        }
    }
}

/// A proxy, whose address is checked as far as it stands there.
fn proxy(text: &Text<'_>, problems: &mut Problems<'_>) -> Template {
    let before = problems.count();
    let template = values::template(text, &mut Scope::Http, problems);
    let is_shown = matches!(template.parts.first(), Some(Part::Text(_)) | None);
    if problems.count() > before || !is_shown {
        return template;
    }
    let url = Url::parse(&with_stand_ins(&template));
    let wrong = match &url {
        Err(error) => error.to_string(),
        Ok(url) if url.scheme() != "http" => "only `http://` proxies are spoken to".to_owned(),
        Ok(url) if !url.has_host() => "it has no host".to_owned(),
        Ok(url)
            if !matches!(url.path(), "" | "/")
                || url.query().is_some()
                || url.fragment().is_some() =>
        {
            "it holds more than a host and a port".to_owned()
        }
        Ok(_) => return template,
    };
    problems.report(
        Code::BadUrl,
        text.span.clone(),
        format!("`proxy` can't be a proxy: {wrong}"),
        "not a proxy",
        "write `http://HOST:PORT`, perhaps with a user: `http://{$env.USER}:{$env.PASSWORD}@HOST:PORT`",
    );
    template
}

/// A proxy's address with a number in the place of a value that is its port, or a part of it, and with a
/// letter in the place of every other: a host that ends with a number would have to be an address.
fn with_stand_ins(proxy: &Template) -> String {
    let mut url = String::new();
    for part in &proxy.parts {
        match part {
            Part::Text(text) => url.push_str(text),
            _ => {
                let behind_scheme = url.split_once("//").map_or("", |(_, rest)| rest);
                let server = behind_scheme.rsplit('@').next().unwrap_or_default();
                url.push(if server.contains(':') { '0' } else { 'x' });
            }
        }
    }
    url
}

fn encoding(name: &Text<'_>) -> Option<Encoding> {
    match name.text {
        "gzip" => Some(Encoding::Gzip),
        "br" => Some(Encoding::Br),
        "zstd" => Some(Encoding::Zstd),
        _ => None,
    }
}

fn tls(http: &DeTable<'_>, files: &mut Files, problems: &mut Problems<'_>) -> TlsPlan {
    let server_name = raw::text(http, "server_name");
    if let Some(name) = &server_name
        && ServerName::try_from(name.text).is_err()
    {
        problems.report(
            Code::BadUrl,
            name.span.clone(),
            format!("`{}` can't be the name of a server", name.text),
            "not a host name",
            "write a host name or an address: `api.example`",
        );
    }
    let mut certificates = |key: &str, problems: &mut Problems<'_>| {
        let named = raw::text(http, key)?;
        let (file, bytes) = files.read(&named, "the certificates", problems)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let holds_some = all.is_ok_and(|all| !all.is_empty());
        check_pem(holds_some, &named, "certificate", problems);
        Some(file)
    };
    let ca = certificates("ca", problems);
    let certificate = certificates("certificate", problems);
    let client = certificate.and_then(|certificate| {
        let named = raw::text(http, "key")?;
        let (FilePlan { path, .. }, bytes) = files.read(&named, "the key", problems)?;
        let holds_one = PrivateKeyDer::from_pem_slice(&bytes).is_ok();
        check_pem(
            holds_one,
            &named,
            "private key without a password",
            problems,
        );
        Some(ClientCertificate {
            certificate,
            key: path,
        })
    });
    TlsPlan {
        ca,
        client,
        server_name: server_name.map(|name| name.text.to_owned()),
        insecure: raw::bool_at(http, "insecure").unwrap_or(false),
    }
}

/// Reports a file that doesn't hold what a connection is secured with, and quotes nothing of it.
fn check_pem(is_right: bool, named: &Text<'_>, what: &str, problems: &mut Problems<'_>) {
    if !is_right {
        problems.report(
            Code::BadFile,
            named.span.clone(),
            format!("`{}` holds no {what} in PEM form", named.text),
            "not what is needed here",
            "a PEM file is text with a line `-----BEGIN …-----`; `openssl` writes it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_proxy_may_stand_for_any_part_of_its_address() {
        let check = |address: &str, is_right: bool| {
            let mut problems = Problems::new(address);
            let text = Text {
                text: address,
                span: 0..address.len(),
            };
            proxy(&text, &mut problems);
            let found = problems.into_sorted();
            assert_eq!(found.is_empty(), is_right, "{address}: {found:?}");
        };
        check("http://127.0.0.1:3128", true);
        check("http://{$env.HOST}:{$env.PORT}", true);
        check("http://proxy.{$env.DOMAIN}:3128", true);
        check("http://proxy.{$env.DOMAIN}:31{$env.PORT}", true);
        check(
            "http://{$env.USER}:{$env.PASSWORD}@proxy.{$env.DOMAIN}:{$env.PORT}",
            true,
        );
        check("http://{$env.PROXY}", true);
        check("{$env.PROXY}", true);
        check("http://proxy:{$env.PORT}/path", false);
        check("https://{$env.HOST}:3128", false);
        check("http://{$env.HOST}:port", false);
    }
}
