//! TLS: whom the plan trusts, who the generator says that it is, and why a handshake failed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::super::files::{read, read_checked};
use super::failure::Failure;
use super::target::TransportError;
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{FilePlan, HttpVersion, TlsPlan};

/// HTTP/2 among the protocols that TLS negotiates (RFC 9113, section 3.2).
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// How connections to an `https` target are secured.
#[derive(Debug)]
pub(super) struct Tls {
    name: ServerName<'static>,
    one: Arc<ClientConfig>,
    two: Arc<ClientConfig>,
}

impl Tls {
    /// As the plan says, for the server of `origin`.
    pub(super) fn new(plan: &TlsPlan, origin: &Url) -> Result<Self, TransportError> {
        let name = match &plan.server_name {
            Some(name) => name.as_str(),
            None => origin.host_str().ok_or(TransportError::Target)?,
        };
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| TransportError::ServerName(name.to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if plan.insecure {
            let anybody = Arc::new(Anybody(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(anybody)
        } else {
            let trusted = match &plan.ca {
                Some(file) => own_authorities(file)?,
                None => authorities_of_the_system()?,
            };
            builder.with_root_certificates(trusted)
        };
        let mut one = match &plan.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let chain = certificates(&client.certificate)?;
                let key = private_key(&client.key)?;
                let given = builder.with_client_auth_cert(chain, key);
                given.map_err(|error| TransportError::Unusable {
                    path: client.certificate.path.clone(),
                    error,
                })?
            }
        };
        // All users share this. A session that one of them resumed from another's would make the
        // handshakes of visitors who have never met shorter than they are.
        one.resumption = Resumption::disabled();
        let mut two = one.clone();
        one.alpn_protocols = vec![HTTP_1_1.to_vec()];
        two.alpn_protocols = vec![H2.to_vec()];
        Ok(Self {
            name,
            one: Arc::new(one),
            two: Arc::new(two),
        })
    }

    /// The handshake over an open connection.
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        version: HttpVersion,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = match version {
            HttpVersion::One => &self.one,
            HttpVersion::Two => &self.two,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let connected = connector.connect(self.name.clone(), stream).await;
        let stream = connected.map_err(|error| unsecured(&error, version))?;
        // A server that negotiates nothing speaks HTTP/1.1.
        if version == HttpVersion::Two && stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(other_version(version));
        }
        Ok(stream)
    }
}

/// Why TLS failed, in words that say what to do.
pub(super) fn refused(error: &rustls::Error) -> Failure {
    use AlertDescription as Alert;
    use rustls::Error;
    let message = match error {
        Error::InvalidCertificate(error) => refused_certificate(error),
        Error::AlertReceived(Alert::CertificateRequired) => {
            "the server demands a client's certificate: name one as `certificate` and `key` in [http]"
                .to_owned()
        }
        Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied),
        ) => format!(
            "the server does not take the client's certificate (alert {alert:?}): see `certificate` and \
             `key` in [http]"
        ),
        Error::AlertReceived(alert) => format!("the server ended TLS with the alert {alert:?}"),
        Error::InvalidMessage(_) => {
            "what came back is not TLS: is the target an `http` one?".to_owned()
        }
        other => format!("TLS: {other}"),
    };
    Failure::new(ErrorKind::Tls, message)
}

fn refused_certificate(error: &CertificateError) -> String {
    use CertificateError as Wrong;
    match error {
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it, or say `insecure = true` in [http]".to_owned()
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        Wrong::UnknownIssuer => {
            "the server's certificate is of an authority that is not trusted: name that as `ca`, or say \
             `insecure = true` in [http]"
                .to_owned()
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            format!("{error}: correct `server_name` in [http] or the target's host")
        }
        other => format!("the server's certificate is refused: {other}"),
    }
}

/// Why there was no handshake.
fn unsecured(error: &io::Error, version: HttpVersion) -> Failure {
    let of_tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            other_version(version)
        }
        Some(error) => refused(error),
        None => Failure::new(
            ErrorKind::Tls,
            format!(
                "the connection was cut during the TLS handshake ({error}): does the server speak TLS there?"
            ),
        ),
    }
}

fn other_version(asked: HttpVersion) -> Failure {
    let (asked, other) = match asked {
        HttpVersion::One => ("HTTP/1.1", "2"),
        HttpVersion::Two => ("HTTP/2", "1.1"),
    };
    Failure::new(
        ErrorKind::Protocol,
        format!("the server does not negotiate {asked}: say `version = \"{other}\"` in [http]"),
    )
}

/// Takes any certificate, and any signature: whoever shows his own certificate can sign as well.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn own_authorities(file: &FilePlan) -> Result<RootCertStore, TransportError> {
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = trusted.add(certificate);
        added.map_err(|error| TransportError::Unusable {
            path: file.path.clone(),
            error,
        })?;
    }
    Ok(trusted)
}

fn authorities_of_the_system() -> Result<RootCertStore, TransportError> {
    let mut trusted = RootCertStore::empty();
    // Some systems carry certificates that nobody can read; the others count.
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if trusted.is_empty() {
        return Err(TransportError::NoAuthorities);
    }
    Ok(trusted)
}

/// The certificates of a file, of which it has at least one.
fn certificates(file: &FilePlan) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    const WHAT: &str = "certificate";
    let text = read_checked(file)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| unreadable(&file.path, WHAT, error))?;
    if found.is_empty() {
        return Err(unreadable(&file.path, WHAT, "there is none"));
    }
    Ok(found)
}

/// The key of a certificate; no hash tells of that.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TransportError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| unreadable(path, "private key without a passphrase", error))
}

fn unreadable(path: &Path, what: &'static str, error: impl ToString) -> TransportError {
    TransportError::Pem {
        path: path.to_owned(),
        what,
        error: error.to_string(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };
    use rustls::ServerConfig;
    use rustls::server::WebPkiClientVerifier;
    use sha2::{Digest as _, Sha256};
    use tempfile::NamedTempFile;
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::TlsAcceptor;

    use super::super::fixture::{OK, answer, answer_h2, exchange_or_why, get, listen};
    use super::super::stream::Stream;
    use super::super::target::Transport;
    use super::super::{Answer, Connection, Request};
    use super::*;
    use crate::harness::model::hexadecimal;
    use crate::harness::scenario::{ClientCertificate, HttpPlan, StreamKind};

    /// Who signs certificates.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        file: NamedTempFile,
    }

    type Signed = (CertificateDer<'static>, PrivateKeyDer<'static>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            // Of two with the same name, one would be taken for the other.
            let name = uuid::Uuid::new_v4().to_string();
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let file = file(&params.self_signed(&key).unwrap().pem());
            Self {
                issuer: Issuer::new(params, key),
                file,
            }
        }

        fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            change(&mut params);
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            (certificate.der().clone(), key)
        }

        /// A certificate and its key as files of a client.
        fn client(&self) -> (ClientCertificate, [NamedTempFile; 2]) {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            let files = [file(&certificate.pem()), file(&key.serialize_pem())];
            let client = ClientCertificate {
                certificate: plan_of(&files[0]),
                key: files[1].path().to_owned(),
            };
            (client, files)
        }

        fn trusted(&self) -> HttpPlan {
            let mut http = HttpPlan::default();
            http.tls.ca = Some(plan_of(&self.file));
            http
        }
    }

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn plan_of(file: &NamedTempFile) -> FilePlan {
        let contents = std::fs::read(file.path()).unwrap();
        FilePlan {
            path: file.path().to_owned(),
            sha256: hexadecimal(&Sha256::digest(contents)),
        }
    }

    fn server(signed: Signed) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.0], signed.1)
            .unwrap()
    }

    /// A server that wants to see a certificate of that authority.
    fn demanding(signed: Signed, authority: &Authority) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trusted = own_authorities(&plan_of(&authority.file)).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider));
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![signed.0], signed.1)
            .unwrap()
    }

    /// Answers over TLS, by the version that was negotiated. The list holds the names that clients
    /// asked for.
    async fn start(config: ServerConfig) -> (Url, Arc<Mutex<Vec<Option<String>>>>) {
        let (listener, url) = listen("https").await;
        let names = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&names);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, acceptor) = (Arc::clone(&log), acceptor.clone());
                tokio::spawn(async move {
                    let accepted = acceptor.accept(&mut stream).await;
                    let Ok(secured) = accepted else {
                        // Until the client has read why.
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                        return;
                    };
                    let session = secured.get_ref().1;
                    let name = session.server_name().map(str::to_owned);
                    let is_h2 = session.alpn_protocol() == Some(H2);
                    log.lock().unwrap().push(name);
                    if is_h2 {
                        answer_h2(secured, usize::MAX).await;
                    } else {
                        answer(secured, &[OK, OK, OK], |_| {}).await;
                    }
                });
            }
        });
        (url, names)
    }

    fn connection(url: &Url, http: &HttpPlan) -> Connection {
        Transport::new(url, http, None).unwrap().connection()
    }

    /// `expected` is the body of the answer, or a part of the message.
    async fn check(
        config: ServerConfig,
        http: &HttpPlan,
        expected: Result<&str, (ErrorKind, &str)>,
    ) {
        let (url, _) = start(config).await;
        check_at(&url, http, expected).await;
    }

    async fn check_at(url: &Url, http: &HttpPlan, expected: Result<&str, (ErrorKind, &str)>) {
        let found = exchange_or_why(&mut connection(url, http), get("/")).await;
        match (found, expected) {
            (Ok((status, body)), Ok(expected)) => assert_eq!((status, &*body), (200, expected)),
            (Err((kind, message)), Err((expected, part))) => {
                assert_eq!(kind, expected, "{message}");
                assert!(message.contains(part), "{message}");
            }
            (found, _) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    const HOST: &str = "127.0.0.1";

    #[tokio::test]
    async fn a_server_is_whom_a_trusted_authority_says_it_is() {
        let (ours, other) = (Authority::new(), Authority::new());
        let trusting = ours.trusted();
        let as_signed = |_: &mut CertificateParams| {};
        let signed = || ours.sign(HOST, as_signed);
        check(server(signed()), &trusting, Ok("ok")).await;
        let refused = |part| Err((ErrorKind::Tls, part));
        check(
            server(signed()),
            &other.trusted(),
            refused("not trusted: name that as `ca`"),
        )
        .await;
        let expired = ours.sign(HOST, |params| params.not_after = date_time_ymd(2020, 1, 1));
        check(server(expired), &trusting, refused("has expired: renew it")).await;
        let early = ours.sign(HOST, |params| params.not_before = date_time_ymd(4000, 1, 1));
        check(server(early), &trusting, refused("not valid yet")).await;
        let of_other = ours.sign("other.example", as_signed);
        check(server(of_other), &trusting, refused("only valid for")).await;
        // The machine's own authorities have not signed it, where there are any.
        match Transport::new(
            &Url::parse("https://127.0.0.1").unwrap(),
            &HttpPlan::default(),
            None,
        ) {
            Ok(_) => {
                check(
                    server(signed()),
                    &HttpPlan::default(),
                    refused("not trusted"),
                )
                .await
            }
            Err(error) => assert!(matches!(error, TransportError::NoAuthorities), "{error}"),
        }
    }

    #[tokio::test]
    async fn anybody_is_trusted_by_explicit_choice_only() {
        let mut http = HttpPlan::default();
        http.tls.insecure = true;
        let wrong = Authority::new().sign("other.example", |params| {
            params.not_after = date_time_ymd(2020, 1, 1);
        });
        check(server(wrong), &http, Ok("ok")).await;
    }

    #[tokio::test]
    async fn the_name_of_the_plan_is_asked_for_and_expected() {
        let authority = Authority::new();
        let (url, names) = start(server(authority.sign("other.example", |_| {}))).await;
        let mut http = authority.trusted();
        http.tls.server_name = Some("other.example".to_owned());
        check_at(&url, &http, Ok("ok")).await;
        let asked = Some("other.example".to_owned());
        assert_eq!(*names.lock().unwrap(), [asked]);
    }

    #[tokio::test]
    async fn a_client_shows_its_certificate() {
        let (ours, other) = (Authority::new(), Authority::new());
        let signed = || ours.sign(HOST, |_| {});
        let mut http = ours.trusted();
        let refused = |part| Err((ErrorKind::Tls, part));
        check(
            demanding(signed(), &ours),
            &http,
            refused("demands a client's certificate"),
        )
        .await;
        // It says so while it is still sent a request.
        let (url, _) = start(demanding(signed(), &ours)).await;
        let upload = Request {
            method: http::Method::POST,
            body: Some("x".repeat(64 << 20).into()),
            ..get("/")
        };
        let found = exchange_or_why(&mut connection(&url, &http), upload).await;
        let (kind, message) = found.unwrap_err();
        assert_eq!(kind, ErrorKind::Tls, "{message}");
        let (client, _files) = other.client();
        http.tls.client = Some(client);
        check(
            demanding(signed(), &ours),
            &http,
            refused("does not take the client's"),
        )
        .await;
        let (client, _files) = ours.client();
        http.tls.client = Some(client);
        check(demanding(signed(), &ours), &http, Ok("ok")).await;
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_gone() {
        let mut http = HttpPlan::default();
        http.tls.insecure = true;
        let (listener, url) = listen("https").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream);
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(listener);
            let answer = "HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes())
                .await
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        check_at(
            &url,
            &http,
            Err((ErrorKind::Tls, "cut during the TLS handshake")),
        )
        .await;
        check_at(&url, &http, Err((ErrorKind::Tls, "not TLS"))).await;
        check_at(&url, &http, Err((ErrorKind::Connect, "refused"))).await;
    }

    #[tokio::test]
    async fn the_version_that_was_asked_for_is_negotiated() {
        let authority = Authority::new();
        let speaking = |protocols: &[&[u8]]| {
            let mut config = server(authority.sign(HOST, |_| {}));
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            config
        };
        let one = authority.trusted();
        let two = HttpPlan {
            version: HttpVersion::Two,
            ..one.clone()
        };
        let protocol = |part| Err((ErrorKind::Protocol, part));
        check(speaking(&[H2, HTTP_1_1]), &one, Ok("ok")).await;
        check(speaking(&[H2, HTTP_1_1]), &two, Ok("/")).await;
        check(speaking(&[]), &one, Ok("ok")).await;
        check(speaking(&[]), &two, protocol("does not negotiate HTTP/2")).await;
        check(speaking(&[HTTP_1_1]), &two, protocol("`version = \"1.1\"`")).await;
        check(
            speaking(&[H2]),
            &one,
            protocol("does not negotiate HTTP/1.1"),
        )
        .await;
    }

    /// What a server whose client is gone finds at the end of the connection.
    #[tokio::test]
    async fn a_server_is_told_of_the_end_of_a_connection() {
        use crate::harness::scenario::Reuse;
        for reuse in [Reuse::User, Reuse::Iteration, Reuse::Request] {
            let authority = Authority::new();
            let acceptor = TlsAcceptor::from(Arc::new(server(authority.sign(HOST, |_| {}))));
            let (listener, url) = listen("https").await;
            let served = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                answer(&mut stream, &[OK], |_| {}).await;
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await
            });
            let http = HttpPlan {
                reuse,
                ..authority.trusted()
            };
            let mut connection = connection(&url, &http);
            assert!(exchange_or_why(&mut connection, get("/")).await.is_ok());
            connection.end_iteration();
            drop(connection);
            // One that is cut is an error.
            assert_eq!(served.await.unwrap().unwrap(), 0, "{reuse:?}");
        }
    }

    #[tokio::test]
    async fn a_handshake_is_timed_once() {
        let authority = Authority::new();
        let (url, names) = start(server(authority.sign(HOST, |_| {}))).await;
        let mut connection = connection(&url, &authority.trusted());
        let (mut first, mut second) = (Answer::default(), Answer::default());
        connection.exchange(get("/"), &mut first).await.unwrap();
        connection.exchange(get("/"), &mut second).await.unwrap();
        assert!(first.timings.connect_ns.is_some() && first.timings.tls_ns.is_some());
        assert!(second.timings.connect_ns.is_none() && second.timings.tls_ns.is_none());
        // An address is no name that could be asked for.
        assert_eq!(*names.lock().unwrap(), [None]);
    }

    #[tokio::test]
    async fn a_web_socket_is_secured_as_well_whatever_the_version_is() {
        let authority = Authority::new();
        let mut config = server(authority.sign(HOST, |_| {}));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (listener, url) = listen("https").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            let hello = tokio_tungstenite::tungstenite::Message::text("hello");
            futures_util::SinkExt::send(&mut socket, hello)
                .await
                .unwrap();
            std::future::pending::<()>().await;
        });
        let http = HttpPlan {
            version: HttpVersion::Two,
            ..authority.trusted()
        };
        let mut connection = connection(&url, &http);
        let mut answer = Answer::default();
        let opened = connection
            .open(StreamKind::WebSocket, get("/live"), &mut answer)
            .await;
        let mut stream: Stream = opened.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().text, "hello");
        assert!(answer.timings.tls_ns.is_some());
    }

    #[test]
    fn a_file_that_can_t_be_used_is_named() {
        let authority = Authority::new();
        let (client, files) = authority.client();
        let (_, other) = authority.client();
        let check = |change: &dyn Fn(&mut TlsPlan), expected: &str| {
            let mut plan = TlsPlan {
                ca: Some(plan_of(&authority.file)),
                client: Some(client.clone()),
                ..TlsPlan::default()
            };
            change(&mut plan);
            let made = Tls::new(&plan, &Url::parse("https://a.example").unwrap());
            match made {
                Ok(_) => assert_eq!(expected, ""),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!expected.is_empty() && error.contains(expected), "{error}");
                }
            }
        };
        let key = files[1].path().display().to_string();
        check(&|_| {}, "");
        check(
            &|plan| plan.ca = Some(plan_of(&files[1])),
            "holds no certificate",
        );
        check(
            &|plan| plan.ca.as_mut().unwrap().path = PathBuf::from("/nowhere/ca.pem"),
            "/nowhere/ca.pem: No such file",
        );
        check(
            &|plan| plan.client.as_mut().unwrap().key = files[0].path().to_owned(),
            "holds no private key",
        );
        check(
            &|plan| plan.client.as_mut().unwrap().certificate = plan_of(&files[1]),
            &format!("{key} holds no certificate"),
        );
        // A key of another certificate.
        check(
            &|plan| plan.client.as_mut().unwrap().key = other[1].path().to_owned(),
            "can't be used",
        );
        check(
            &|plan| plan.server_name = Some("not a name".to_owned()),
            "`not a name` is no name",
        );
        let garbled = file("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
        check(&|plan| plan.ca = Some(plan_of(&garbled)), "base64");
        let no_certificate = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        check(
            &|plan| plan.ca = Some(plan_of(&no_certificate)),
            "can't be used",
        );
        // The contents are part of what is measured, so they are those that were checked.
        let another = |file: &mut FilePlan| file.path = other[0].path().to_owned();
        check(&|plan| another(plan.ca.as_mut().unwrap()), "changed after");
        check(
            &|plan| another(&mut plan.client.as_mut().unwrap().certificate),
            "changed after",
        );
    }
}
