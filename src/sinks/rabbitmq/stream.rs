//! What a connection runs over: a TCP stream that the guard dialled, with TLS around it for `amqps`.
//!
//! The client library takes TCP streams alone, and its own TLS would bring a second library for cryptography. So TLS ends
//! here, and what is inside goes to it over a pair of local sockets that nobody else can reach.

use std::io;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_compat::Compat;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One connection's bytes, as the client library takes them.
pub(super) type Stream = Compat<TcpStream>;

/// Cuts a connection when it is dropped. The client library waits for ever for the answers of a broker that is silent
/// while it connects or closes, with a thread and a socket.
#[derive(Debug)]
pub(super) struct Cut(StdTcpStream);

impl Cut {
    /// The same connection, and what cuts it.
    pub(super) fn of(stream: TcpStream) -> io::Result<(TcpStream, Self)> {
        let stream = stream.into_std()?;
        let cut = Self(stream.try_clone()?);
        Ok((TcpStream::from_std(stream)?, cut))
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown(Shutdown::Both) {
            tracing::debug!(error = %error, "a connection had ended already");
        }
    }
}

/// Authorities and our own certificate, as PEM.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Tls {
    /// `None`: the system's.
    pub(super) ca: Option<String>,
    /// Certificate and key.
    pub(super) own: Option<(String, String)>,
}

impl Tls {
    /// Reads it all.
    ///
    /// # Errors
    /// Which part cannot be used; it repeats nothing of it.
    pub(super) fn config(&self) -> Result<ClientConfig, &'static str> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|_unsupported| "TLS 1.2 and 1.3 are not available")?;
        let builder = match &self.ca {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem).ok_or("`ca` cannot be read")? {
                    roots
                        .add(certificate)
                        .map_err(|_invalid| "`ca` is not a certificate of an authority")?;
                }
                builder.with_root_certificates(roots)
            }
            None => {
                let verifier = rustls_platform_verifier::Verifier::new(provider)
                    .map_err(|_missing| "the system has no certificate authorities")?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let Some((certificate, key)) = &self.own else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate).ok_or("`cert` cannot be read")?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_invalid| "`key` cannot be read")?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|_no_pair| "`cert` and `key` do not belong together")
    }
}

/// At least one certificate.
fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|read| !read.is_empty())
}

/// Puts TLS around a stream; the certificate must be for `host`.
pub(super) async fn encrypt(
    stream: TcpStream,
    host: &str,
    config: ClientConfig,
) -> io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let (mut from_broker, mut to_broker) = tokio::io::split(connecting.await?);
    let (inside, handed) = UnixStream::pair()?;
    inside.set_nonblocking(true)?;
    handed.set_nonblocking(true)?;
    let (mut from_client, mut to_client) = tokio::net::UnixStream::from_std(inside)?.into_split();
    tokio::spawn(async move {
        // However one way ends, both sides see their streams closed, and the client says what that means.
        let ended = tokio::select! {
            ended = tokio::io::copy(&mut from_client, &mut to_broker) => ended,
            ended = tokio::io::copy(&mut from_broker, &mut to_client) => ended,
        };
        tracing::debug!(?ended, "a connection over TLS ended");
    });
    // A stream socket like any other, under the type that is asked for.
    TcpStream::from_std(StdTcpStream::from(OwnedFd::from(handed)))
}
