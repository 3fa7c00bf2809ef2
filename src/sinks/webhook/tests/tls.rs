use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::receiver::Receiver;
use super::*;
use crate::domain::outcome::Outcome;

/// An authority, and a receiver with a certificate that it signed.
struct Server {
    port: u16,
    authority: String,
}

impl Server {
    async fn start(names: &[&str], expired: bool) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority for {names:?}, expired: {expired}");
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key"))
            .expect("authority");

        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &authority).expect("certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let port = serve(vec![certificate.der().clone()], key).await;
        Self {
            port,
            authority: authority.pem(),
        }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }
}

/// Serves HTTP/2 and HTTP/1.1 over TLS; answers with the version and the number of the connection.
async fn serve(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = tcp.local_addr().expect("address").port();
    let listener = Tls {
        tcp,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    };
    let app = Router::new().route(
        "/",
        post(async |request: Request| format!("{:?}", request.version())),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.expect("a connection");
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn words(report: &Report) -> (Outcome, &str) {
    (report.outcome, report.error.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let server = Server::start(&["127.0.0.1"], false).await;
    let sender = Sender::trusting(&server.authority, &server.url(), &settings());
    for _ in 0..2 {
        let report = sender.send().await;
        assert_eq!(words(&report), (Outcome::Delivered, ""));
        assert_eq!(report.response_body, "HTTP/2.0");
    }
}

#[tokio::test]
async fn certificates_are_verified() {
    let good = Server::start(&["127.0.0.1"], false).await;
    let expired = Server::start(&["127.0.0.1"], true).await;
    let other = Server::start(&["example.com"], false).await;
    for (server, trusted, expected) in [
        (
            &good,
            &expired,
            "TLS: certificate is not signed by a known authority",
        ),
        (&expired, &expired, "TLS: certificate has expired"),
        (
            &other,
            &other,
            "TLS: certificate is not valid for this host name",
        ),
    ] {
        let sender = Sender::trusting(&trusted.authority, &server.url(), &settings());
        assert_eq!(words(&sender.send().await), (Outcome::Network, expected));
    }
    // With the system's authorities, as in service.
    let report = Sender::to(&good.url()).send().await;
    let expected = "TLS: certificate is not signed by a known authority";
    assert_eq!(words(&report), (Outcome::Network, expected));
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    let certificate = params.self_signed(&key).expect("certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let port = serve(vec![certificate.der().clone()], key).await;
    let report = Sender::to(&format!("https://127.0.0.1:{port}/"))
        .send()
        .await;
    let expected = "TLS: certificate is not signed by a known authority";
    assert_eq!(words(&report), (Outcome::Network, expected));
}

#[tokio::test]
async fn ports_without_tls_are_named_as_such() {
    let plain = Receiver::start(async |mut connection, _| {
        connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        while connection.request().await {}
    })
    .await;
    let report = Sender::to(&format!("https://127.0.0.1:{}/", plain.port))
        .send()
        .await;
    assert_eq!(
        words(&report),
        (
            Outcome::Network,
            "TLS: the server does not speak TLS at this port"
        )
    );

    let closing = Receiver::start(async |mut connection, _| {
        let mut hello = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut hello)
            .await
            .expect("a hello");
    })
    .await;
    let report = Sender::to(&format!("https://127.0.0.1:{}/", closing.port))
        .send()
        .await;
    assert_eq!(report.outcome, Outcome::Network);
    let error = report.error.expect("words");
    assert!(error.contains("connection closed"), "{error}");
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_at_the_connect_limit() {
    let silent = Receiver::start(async |mut connection, _| {
        let mut hello = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut connection.stream, &mut hello)
            .await
            .ok();
    })
    .await;
    let mut settings = short(200);
    settings.webhook.first_byte_timeout = Span::secs(5);
    let sender = Sender::new(
        json!({"url": format!("https://127.0.0.1:{}/", silent.port)}),
        &settings,
    );
    let report = sender.send().await;
    assert_eq!(
        words(&report),
        (Outcome::Network, "time-out after 200 ms while connecting")
    );
}
