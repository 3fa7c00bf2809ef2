//! Why there was no answer, in words for the destination's owner.
//!
//! The client's error is a chain of errors of several crates, some of which cannot be named here. What can is told by
//! type and kind; the rest by the text that those crates give, which stays here: nothing of it reaches the customer.
//!
//! Invariant: the words name no address and repeat nothing that the receiver sent.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::domain::outcome::Outcome;
use crate::egress::Refusal;

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sinks) enum Failure {
    /// The guard does not let it through.
    Egress(Refusal),
    /// The destination's document asks for what cannot be done.
    Configuration(&'static str),
    /// The host name does not resolve.
    Unresolvable,
    /// No connection.
    Connect(&'static str),
    /// No connection in time.
    ConnectTimeout(Duration),
    /// No secure connection.
    Tls(String),
    /// A connection, but no answer in time.
    FirstByteTimeout(Duration),
    /// A connection that ended before an answer.
    Broken(&'static str),
    /// The receiver ended the request itself, on a connection that goes on.
    Reset(&'static str),
    /// An answer that is not HTTP.
    Nonsense(&'static str),
    /// This machine is in trouble.
    Ours(&'static str),
}

impl Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Egress(refusal) => refusal.fmt(f),
            Self::Unresolvable => f.write_str("DNS: the host name does not resolve"),
            Self::ConnectTimeout(limit) => {
                write!(f, "time-out after {} while connecting", Seconds(*limit))
            }
            Self::FirstByteTimeout(limit) => {
                write!(
                    f,
                    "time-out after {} waiting for the first byte",
                    Seconds(*limit)
                )
            }
            Self::Tls(words) => write!(f, "TLS: {words}"),
            Self::Configuration(words)
            | Self::Connect(words)
            | Self::Broken(words)
            | Self::Reset(words)
            | Self::Nonsense(words)
            | Self::Ours(words) => f.write_str(words),
        }
    }
}

/// `20 s`, `250 ms`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_millis() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{} ms", self.0.as_millis())
        }
    }
}

impl Failure {
    /// What it means for the delivery. Pure.
    pub(in crate::sinks) fn outcome(&self) -> Outcome {
        match self {
            Self::Egress(_) | Self::Configuration(_) => Outcome::Refused,
            Self::Nonsense(_) => Outcome::Server,
            Self::Ours(_) => Outcome::Internal,
            Self::Unresolvable
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::Tls(_)
            | Self::FirstByteTimeout(_)
            | Self::Broken(_)
            | Self::Reset(_) => Outcome::Network,
        }
    }

    /// Tells why the client got no answer.
    pub(in crate::sinks) fn of(error: &reqwest::Error, connect: Duration) -> Self {
        if let Some(refusal) = find::<Refusal>(error) {
            return match refusal {
                Refusal::Unresolvable => Self::Unresolvable,
                _ => Self::Egress(*refusal),
            };
        }
        if error.is_builder() {
            return Self::Configuration("the URL cannot be used in a request");
        }
        if let Some(trouble) = find::<io::Error>(error).and_then(ours) {
            return Self::Ours(trouble);
        }
        if error.is_timeout() && error.is_connect() {
            return Self::ConnectTimeout(connect);
        }
        let texts = Texts::of(error);
        if error.is_connect() {
            Self::of_connect(find::<io::Error>(error), &texts)
        } else {
            Self::of_exchange(find::<io::Error>(error), &texts)
        }
    }

    fn of_connect(io: Option<&io::Error>, texts: &Texts) -> Self {
        if let Some(words) = tls(texts) {
            return Self::Tls(words);
        }
        Self::Connect(match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => "connection refused",
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                "the host cannot be reached"
            }
            Some(kind) if is_break(kind) => "connection closed while connecting",
            _ => "no connection could be made",
        })
    }

    fn of_exchange(io: Option<&io::Error>, texts: &Texts) -> Self {
        // Texts of hyper 1 and h2 0.4.
        if texts.any(&[
            "invalid HTTP",
            "invalid content-length",
            "transfer-encoding",
            "unexpected message",
        ]) {
            return Self::Nonsense("the answer is not valid HTTP");
        }
        if texts.any(&["message head is too large"]) {
            return Self::Nonsense("the answer's head is too large");
        }
        if texts.any(&["stream error detected", "connection error detected"]) {
            return Self::Nonsense("the answer is not valid HTTP/2");
        }
        if texts.any(&["stream error received"]) {
            return Self::Reset("the server reset the HTTP/2 stream before an answer");
        }
        if texts.any(&["connection error received"]) {
            return Self::Broken("the server closed the HTTP/2 connection before an answer");
        }
        if texts.any(&[
            "received corrupt message",
            "cannot decrypt",
            "received fatal alert",
        ]) {
            return Self::Broken("TLS: connection ended before an answer");
        }
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                Self::Broken("connection reset before an answer")
            }
            _ => Self::Broken("connection closed before an answer"),
        }
    }
}

fn is_break(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

/// Whether this machine lacks something; the receiver is not to blame then.
fn ours(error: &io::Error) -> Option<&'static str> {
    // EMFILE and ENFILE have no kind of their own: <https://man7.org/linux/man-pages/man3/errno.3.html>.
    match (error.kind(), error.raw_os_error()) {
        (_, Some(23 | 24)) => Some("the service has no free file descriptor"),
        (io::ErrorKind::AddrNotAvailable, _) => Some("the service has no free local port"),
        (io::ErrorKind::OutOfMemory, _) => Some("the service is out of memory"),
        _ => None,
    }
}

/// What is wrong with TLS, by the texts of rustls 0.23.
fn tls(texts: &Texts) -> Option<String> {
    const CERTIFICATE: [(&str, &str); 8] = [
        ("certificate not valid yet", "certificate is not valid yet"),
        ("NotValidYet", "certificate is not valid yet"),
        ("evo", "certificate was revoked, or that cannot be told"),
        ("xpired", "certificate has expired"),
        (
            "UnknownIssuer",
            "certificate is not signed by a known authority",
        ),
        (
            "CaUsedAsEndEntity",
            "certificate is not signed by a known authority",
        ),
        (
            "NotValidForName",
            "certificate is not valid for this host name",
        ),
        ("for name", "certificate is not valid for this host name"),
    ];
    if let Some(text) = texts.find("invalid peer certificate") {
        let known = CERTIFICATE.iter().find(|(part, _)| text.contains(part));
        return Some(
            known
                .map_or("certificate is not valid", |(_, words)| words)
                .to_owned(),
        );
    }
    if let Some(text) = texts.find("received fatal alert: ") {
        // The alert's name is from a closed set; an unknown one is a number.
        let alert = text.rsplit(' ').next().unwrap_or_default();
        return Some(format!("the server ended the handshake ({alert})"));
    }
    if texts.any(&["InvalidContentType", "received corrupt message"]) {
        return Some("the server does not speak TLS at this port".to_owned());
    }
    if texts.any(&["tls handshake eof"]) {
        return Some("connection closed during the handshake".to_owned());
    }
    if texts.any(&["peer is incompatible", "peer doesn't support"]) {
        return Some("no version or cipher in common with the server".to_owned());
    }
    texts
        .any(&["peer misbehaved", "received unexpected", "peer sent"])
        .then(|| "the handshake failed".to_owned())
}

/// The texts of a chain of errors.
struct Texts(Vec<String>);

impl Texts {
    fn of(error: &reqwest::Error) -> Self {
        Self(chain(error).map(ToString::to_string).collect())
    }

    fn find(&self, part: &str) -> Option<&str> {
        self.0
            .iter()
            .map(String::as_str)
            .find(|text| text.contains(part))
    }

    fn any(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.find(part).is_some())
    }
}

/// The causes of `error`.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| next(*cause))
}

/// An `io::Error` that wraps another error is followed by that one: its `source` would skip it.
fn next<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

/// The innermost cause of type `T`.
fn find<T: Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    chain(error).filter_map(|cause| cause.downcast_ref()).last()
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn words_name_the_limit_that_was_reached() {
        for (failure, words) in [
            (
                Failure::FirstByteTimeout(Duration::from_secs(20)),
                "time-out after 20 s waiting for the first byte",
            ),
            (
                Failure::ConnectTimeout(Duration::from_millis(1500)),
                "time-out after 1500 ms while connecting",
            ),
            (Failure::Egress(Refusal::Address), Refusal::SENTENCE),
            (Failure::Unresolvable, "DNS: the host name does not resolve"),
            (Failure::Connect("connection refused"), "connection refused"),
            (
                Failure::Tls("certificate has expired".into()),
                "TLS: certificate has expired",
            ),
        ] {
            assert_eq!(failure.to_string(), words);
        }
    }

    #[test]
    fn what_this_machine_lacks_is_not_the_receiver_s_fault() {
        for (code, expected) in [
            (24, Some("the service has no free file descriptor")),
            (23, Some("the service has no free file descriptor")),
            (99, Some("the service has no free local port")),
            (12, Some("the service is out of memory")),
            (111, None),
            (104, None),
            (101, None),
        ] {
            assert_eq!(
                ours(&io::Error::from_raw_os_error(code)),
                expected,
                "{code}"
            );
        }
    }

    #[test]
    fn errors_of_tls_are_told_by_the_texts_of_rustls() {
        use rustls::Error as Tls;
        let authority = "certificate is not signed by a known authority";
        for (error, expected) in [
            (
                Tls::InvalidCertificate(CertificateError::Expired),
                "certificate has expired",
            ),
            (
                Tls::InvalidCertificate(CertificateError::NotValidYet),
                "certificate is not valid yet",
            ),
            (
                Tls::InvalidCertificate(CertificateError::UnknownIssuer),
                authority,
            ),
            (
                Tls::InvalidCertificate(CertificateError::NotValidForName),
                "certificate is not valid for this host name",
            ),
            (
                Tls::InvalidCertificate(CertificateError::Revoked),
                "certificate was revoked, or that cannot be told",
            ),
            (
                Tls::InvalidCertificate(CertificateError::BadSignature),
                "certificate is not valid",
            ),
            (
                Tls::AlertReceived(AlertDescription::HandshakeFailure),
                "the server ended the handshake (HandshakeFailure)",
            ),
            (
                Tls::InvalidMessage(InvalidMessage::InvalidContentType),
                "the server does not speak TLS at this port",
            ),
            (
                Tls::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "no version or cipher in common with the server",
            ),
            (Tls::NoCertificatesPresented, "the handshake failed"),
            (Tls::PeerSentOversizedRecord, "the handshake failed"),
        ] {
            let texts = Texts(vec!["client error (Connect)".into(), error.to_string()]);
            assert_eq!(tls(&texts).as_deref(), Some(expected), "{error}");
        }
        assert_eq!(tls(&Texts(vec!["tcp connect error".into()])), None);
    }

    #[test]
    fn each_failure_has_the_outcome_of_the_table() {
        let second = Duration::from_secs(1);
        for (failure, expected) in [
            (Failure::Unresolvable, Outcome::Network),
            (Failure::Connect("connection refused"), Outcome::Network),
            (Failure::ConnectTimeout(second), Outcome::Network),
            (
                Failure::Tls("certificate has expired".into()),
                Outcome::Network,
            ),
            (Failure::FirstByteTimeout(second), Outcome::Network),
            (
                Failure::Broken("connection reset before an answer"),
                Outcome::Network,
            ),
            (
                Failure::Reset("the server reset the stream"),
                Outcome::Network,
            ),
            (Failure::Nonsense("the answer is not HTTP"), Outcome::Server),
            (Failure::Egress(Refusal::Address), Outcome::Refused),
            (Failure::Egress(Refusal::Scheme), Outcome::Refused),
            (
                Failure::Configuration("all signing secrets have expired"),
                Outcome::Refused,
            ),
            (Failure::Ours("no free local port"), Outcome::Internal),
        ] {
            assert_eq!(failure.outcome(), expected, "{failure}");
        }
    }
}
