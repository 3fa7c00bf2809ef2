//! Receivers that break what can be broken: the bare socket, TLS, HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::receiver::RUNTIME;

/// Serves every connection to a free port of 127.0.0.1 with `serve`, until this binary ends; returns the port.
pub(crate) async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let (tx, rx) = tokio::sync::oneshot::channel();
    RUNTIME.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tx.send(port).expect("the caller waits for it");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            RUNTIME.spawn(serve(stream));
        }
    });
    rx.await.expect("the listener tells its port")
}

/// Reads until a request's head is complete. False where the connection ends before.
pub(crate) async fn read_head(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read_buf(&mut seen).await {
            Ok(bytes) if bytes > 0 => {}
            _ => return false,
        }
    }
    true
}

/// Reads until the other side closes the connection.
pub(crate) async fn read_to_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // However it ends.
    stream.read_to_end(&mut rest).await.ok();
}

/// Writes as far as the other side takes it.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok()
}

/// Writes a byte every `pause`, until the other side has had enough.
pub(crate) async fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if !write(stream, &[*byte]).await {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Ends a connection with a reset.
pub(crate) fn reset(stream: &TcpStream) {
    stream.set_zero_linger().expect("a socket");
}

/// Signs certificates; trusted by an instance whose `SSL_CERT_FILE` names [`Authority::pem`].
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Accepts with a certificate for `name`, over HTTP/2 or HTTP/1.1.
    pub(crate) fn acceptor(&self, name: &str, expired: bool) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(name, expired).signed_by(&key, &self.0);
        acceptor(certificate.expect("a certificate"), &key)
    }
}

/// Accepts with a certificate that vouches for itself.
pub(crate) fn self_signed(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(name, false).self_signed(&key);
    acceptor(certificate.expect("a certificate"), &key)
}

fn params(name: &str, expired: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    params
}

fn acceptor(certificate: rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A request over HTTP/2 that has no answer yet.
pub(crate) struct Stream {
    pub(crate) attempt: String,
    respond: SendResponse<Bytes>,
}

impl Stream {
    pub(crate) fn answer(mut self, status: u16) {
        let mut head = axum::http::Response::new(());
        *head.status_mut() = axum::http::StatusCode::from_u16(status).expect("a status");
        // Who asked may be gone.
        self.respond.send_response(head, true).ok();
    }

    pub(crate) fn reset(mut self, reason: h2::Reason) {
        self.respond.send_reset(reason);
    }
}

/// What an HTTP/2 receiver does with a connection.
pub(crate) type Http2 = Connection<TlsStream<TcpStream>, Bytes>;

/// Serves HTTP/2: `step` gets each request with its connection, the number of the connection and that of the request on
/// it, from 0. Returns the port, and how many requests came.
pub(crate) async fn http2(
    acceptor: TlsAcceptor,
    step: impl Fn(Stream, &mut Http2, usize, usize) + Clone + Send + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::<AtomicUsize>::default());
    let counter = Arc::clone(&requests);
    let port = listen(move |stream| {
        let (acceptor, step, requests) = (acceptor.clone(), step.clone(), Arc::clone(&counter));
        let number = connections.fetch_add(1, Ordering::Relaxed);
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            let mut nth = 0;
            while let Some(Ok((request, respond))) = connection.accept().await {
                requests.fetch_add(1, Ordering::Relaxed);
                let attempt = request.headers().get("webhook-attempt");
                let attempt = attempt.and_then(|attempt| attempt.to_str().ok());
                let stream = Stream {
                    attempt: attempt.unwrap_or_default().to_owned(),
                    respond,
                };
                step(stream, &mut connection, number, nth);
                nth += 1;
            }
        }
    })
    .await;
    (port, requests)
}
