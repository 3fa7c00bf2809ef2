//! The guard that every outgoing connection passes: which URLs and addresses may be sent to.
//!
//! A URL that a customer supplied comes in as text, is judged here, and leaves as the parsed URL that is dialled; names
//! are resolved by the guard's own resolver, which vets every address it gives. The operator's word is
//! `egress.allow` and `egress.allow_http`.
//!
//! Invariant: a URL is judged at every send, address literals included, since clients resolve no literals.
//! Invariant: all addresses of a name are vetted, and the address that was vetted is the one that is dialled.
//! Invariant: what a refusal tells the customer does not depend on the address.

mod address;
mod allow;
mod dial;
mod lines;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use url::{Host, Url};

pub use dial::{Dialling, client, dialling};
pub use lines::run_lines;

use crate::config::faults::Fault;
use crate::config::settings::Egress;
use allow::{Allowed, without_dot};

/// The longest URL that is taken, in bytes.
const URL_MAX: usize = 8 * 1024;

/// Ports from 1024 on where databases, brokers, caches and control planes listen. They get nothing unless allowed.
/// <https://www.iana.org/assignments/service-names-port-numbers/>
const SERVICE_PORTS: [u16; 36] = [
    1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5671, 5672, 5900, 5984,
    6379, 6380, 6443, 7687, 8086, 9042, 9092, 9093, 9200, 9300, 10250, 10255, 11211, 15672, 16379,
    26379, 27017, 27018, 27019, 61616,
];

/// Names of our own network, whose suffix no public name has.
const PRIVATE_SUFFIXES: [&str; 5] = [".localhost", ".local", ".internal", ".svc", ".localdomain"];

/// Why a URL may not be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", Refusal::SENTENCE)]
pub enum Refusal {
    /// It is not a URL, or holds control characters.
    Malformed,
    /// Its scheme is neither `https` nor, where the settings allow it, `http`.
    Scheme,
    /// It holds a user name or a password.
    Userinfo,
    /// Its host is a name of a private network.
    Host,
    /// Its port is that of another service.
    Port,
    /// Its host is, or resolves to, an address that is not public.
    Address,
    /// Its host does not resolve, or not in time.
    Unresolvable,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Scheme,
        Self::Userinfo,
        Self::Host,
        Self::Port,
        Self::Address,
        Self::Unresolvable,
    ];

    /// What the customer is told, whatever the reason: more would map our network.
    pub const SENTENCE: &'static str =
        "the service does not send to this URL; its operator decides which addresses are allowed";

    /// The name in metrics, in logs and in the output of `posthaste egress`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Scheme => "scheme",
            Self::Userinfo => "userinfo",
            Self::Host => "host",
            Self::Port => "port",
            Self::Address => "address",
            Self::Unresolvable => "unresolvable",
        }
    }
}

/// Reads a URL, by rules that no setting changes, and gives the form that is to be dialled.
///
/// # Errors
/// If it is malformed, of a scheme that is neither `http` nor `https`, or holds credentials.
pub fn parse_url(text: &str) -> Result<Url, Refusal> {
    if text.len() > URL_MAX || text.contains(char::is_control) || text.trim() != text {
        return Err(Refusal::Malformed);
    }
    let mut url = Url::parse(text).map_err(|_not_a_url| Refusal::Malformed)?;
    url.set_fragment(None);
    // Before the host: of an unknown scheme `127.0.0.1` is a name.
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::Userinfo);
    }
    if let (Host::Domain(name), _) = target(&url)?
        && !is_host_name(without_dot(name))
    {
        return Err(Refusal::Malformed);
    }
    // What is dialled is the text of this URL: it must mean the same when it is read again.
    match Url::parse(url.as_str()) {
        Ok(again) if again == url => Ok(url),
        _ => Err(Refusal::Malformed),
    }
}

/// Judges URLs and addresses by the operator's settings.
#[derive(Debug)]
pub struct Guard {
    allowed: Allowed,
    allow_http: bool,
    dns_timeout: Duration,
    names: Names,
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// Who resolves names.
#[derive(Debug)]
enum Names {
    /// The system.
    System,
    /// A table, for tests.
    #[cfg(test)]
    Table(std::collections::HashMap<String, Vec<IpAddr>>),
    /// Nobody: no answer comes.
    #[cfg(test)]
    Never,
}

impl Guard {
    /// A guard by these settings. Looking up a name takes `dns_timeout` at most.
    ///
    /// # Errors
    /// All entries of `egress.allow` that cannot be read.
    pub fn new(settings: &Egress, dns_timeout: Duration) -> Result<Self, Vec<Fault>> {
        Ok(Self {
            allowed: Allowed::read(&settings.allow)?,
            allow_http: settings.allow_http,
            dns_timeout,
            names: Names::System,
            refused: Default::default(),
        })
    }

    /// The same guard with a table in place of DNS.
    #[cfg(test)]
    pub(crate) fn with_names(mut self, names: &[(&str, &[&str])]) -> Self {
        let table = names.iter().map(|(name, addresses)| {
            let addresses = addresses.iter().map(|ip| ip.parse().expect("address"));
            ((*name).to_owned(), addresses.collect())
        });
        self.names = Names::Table(table.collect());
        self
    }

    /// Judges a URL as far as that is possible without resolving its name, and gives the form that is to be dialled.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub fn check_url(&self, text: &str) -> Result<Url, Refusal> {
        let url = parse_url(text)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Judges a parsed URL, as before every send. Does not allocate.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub fn check(&self, url: &Url) -> Result<(), Refusal> {
        // Before the host: of an unknown scheme `127.0.0.1` is a name.
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(Refusal::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Userinfo);
        }
        let (host, port) = target(url)?;
        match host {
            Host::Domain(name) => self.check_name(without_dot(name), port)?,
            Host::Ipv4(ip) => self.check_address(ip.into(), None, Some(port))?,
            Host::Ipv6(ip) => self.check_address(ip.into(), None, Some(port))?,
        }
        if is_usual_port(port) || self.allowed.port(&host, port) {
            Ok(())
        } else {
            Err(Refusal::Port)
        }
    }

    /// Judges a parsed URL of a client that resolves names by itself: its host has to be the operator's word, a name that
    /// `egress.allow` holds or an address that it allows. A name that is merely public could be made to lead elsewhere
    /// after it was vetted.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub fn check_listed_url(&self, url: &Url) -> Result<(), Refusal> {
        self.check(url)?;
        let (host, port) = target(url)?;
        self.check_listed(&host.to_string(), port)
    }

    /// Judges a host that only the operator's word makes good, public or not: of protocols whose servers name further
    /// hosts, which nobody vets. Names have to be listed as names; nothing is resolved.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for what is no host, [`Refusal::Host`] for a name and [`Refusal::Address`] for an address
    /// that is not on the list.
    pub fn check_listed(&self, host: &str, port: u16) -> Result<(), Refusal> {
        let (ip, refusal): (IpAddr, _) = match Host::parse(host) {
            Ok(Host::Domain(name)) if self.allowed.name(without_dot(&name), port) => return Ok(()),
            Ok(Host::Domain(_)) => return Err(Refusal::Host),
            Ok(Host::Ipv4(ip)) => (ip.into(), Refusal::Address),
            Ok(Host::Ipv6(ip)) => (ip.into(), Refusal::Address),
            Err(_) => return Err(Refusal::Malformed),
        };
        let listed = self.allowed.address(address::judged(ip), None, Some(port));
        if listed { Ok(()) } else { Err(refusal) }
    }

    fn check_name(&self, name: &str, port: u16) -> Result<(), Refusal> {
        if !is_host_name(name) {
            Err(Refusal::Malformed)
        } else if is_private_name(name) && !self.allowed.name(name, port) {
            Err(Refusal::Host)
        } else {
            Ok(())
        }
    }

    /// Judges an address: a literal, or what `host` resolves to. Where the port is not known, entries of
    /// `egress.allow` that name one do not apply. Ports themselves are judged by [`Guard::check`].
    ///
    /// # Errors
    /// [`Refusal::Address`].
    pub fn check_address(
        &self,
        ip: IpAddr,
        host: Option<&str>,
        port: Option<u16>,
    ) -> Result<(), Refusal> {
        let ip = address::judged(ip);
        if address::is_public(ip) || self.allowed.address(ip, host.map(without_dot), port) {
            Ok(())
        } else {
            Err(Refusal::Address)
        }
    }

    /// Judges a URL as a send would, resolving its name.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub async fn judge(&self, text: &str) -> Result<Url, Refusal> {
        let url = self.check_url(text)?;
        if let (Host::Domain(name), port) = target(&url)? {
            self.resolve(name, Some(port)).await?;
        }
        Ok(url)
    }

    /// Counts a refused send.
    pub fn count(&self, refusal: Refusal) {
        let position = Refusal::ALL.iter().position(|known| *known == refusal);
        if let Some(counter) = position.and_then(|at| self.refused.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many sends were refused, by reason: `posthaste_egress_refused_total{reason}`.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL
            .iter()
            .zip(&self.refused)
            .map(|(refusal, counter)| (refusal.reason(), counter.load(Ordering::Relaxed)))
    }
}

/// Host and port of a URL whose scheme was checked.
fn target(url: &Url) -> Result<(Host<&str>, u16), Refusal> {
    match (url.host(), url.port_or_known_default()) {
        (Some(host), Some(port)) => Ok((host, port)),
        _ => Err(Refusal::Malformed),
    }
}

fn is_usual_port(port: u16) -> bool {
    port == 80 || port == 443 || (port >= 1024 && !SERVICE_PORTS.contains(&port))
}

/// Whether `name`, in punycode, has the form of a host's name; URLs take more than DNS and HTTP do. Underscores are not
/// in RFC 1123, but in use.
fn is_host_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.len() <= 253
        && name
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(fits))
}

/// Whether `name`, in lower case and without a trailing dot, belongs to a private network by its form.
fn is_private_name(name: &str) -> bool {
    // One label: `localhost`, `metadata`, and whatever the search list of this machine makes of it.
    !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests;
