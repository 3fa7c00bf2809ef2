//! What the operator allows beside the public addresses: `egress.allow`. Pure.
//!
//! Invariant: an entry with a port allows that port only; one without a port leaves the rules for ports in force.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Host;

use super::address::{is_metadata, judged};
use crate::config::faults::Fault;

/// The entries, as the settings give them.
#[derive(Debug)]
pub(super) struct Allowed(Vec<Entry>);

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// `name` without a trailing dot, in lower case and punycode; `below`: `*.name`.
    Name {
        name: String,
        below: bool,
        port: Option<u16>,
    },
}

const FORMS: &str = "write a network (`10.20.0.0/16`), an address (`10.20.0.7`, `[fd00::7]:8443`), or a host name \
                     (`hooks.example.com`, `*.example.com`, `hooks.internal:8443`)";

impl Allowed {
    /// Reads all entries.
    ///
    /// # Errors
    /// All entries that have none of the forms, with their positions.
    pub(super) fn read(entries: &[String]) -> Result<Self, Vec<Fault>> {
        let mut allowed = Vec::with_capacity(entries.len());
        let mut faults = Vec::new();
        for (position, text) in entries.iter().enumerate() {
            match entry(text) {
                Ok(entry) => allowed.push(entry),
                Err(message) => {
                    faults.push(Fault::new(format!("/egress/allow/{position}"), message));
                }
            }
        }
        if faults.is_empty() {
            Ok(Self(allowed))
        } else {
            Err(faults)
        }
    }

    /// Whether `name` may be used at `port` although names of its form are refused.
    pub(super) fn name(&self, name: &str, port: u16) -> bool {
        self.0.iter().any(|entry| entry.names(name, Some(port)))
    }

    /// Whether `ip`, as [`judged`] gives it and as `host` resolves to it, may be reached although it is not public.
    /// Without a port only entries without one apply.
    pub(super) fn address(&self, ip: IpAddr, host: Option<&str>, port: Option<u16>) -> bool {
        let metadata = is_metadata(ip);
        self.0.iter().any(|entry| match entry {
            Entry::Network(network) => !metadata && network.contains(&ip),
            Entry::Address(address, only) => *address == ip && port_fits(*only, port),
            Entry::Name { .. } => !metadata && host.is_some_and(|host| entry.names(host, port)),
        })
    }

    /// Whether an entry names `port` for this host, so that the rules for ports do not apply.
    pub(super) fn port(&self, host: &Host<&str>, port: u16) -> bool {
        self.0.iter().any(|entry| match (entry, host) {
            (Entry::Address(address, Some(_)), Host::Ipv4(ip)) => {
                entry.has_port(port) && *address == judged(IpAddr::V4(*ip))
            }
            (Entry::Address(address, Some(_)), Host::Ipv6(ip)) => {
                entry.has_port(port) && *address == judged(IpAddr::V6(*ip))
            }
            (Entry::Name { port: Some(_), .. }, Host::Domain(name)) => {
                entry.names(without_dot(name), Some(port))
            }
            _ => false,
        })
    }
}

impl Entry {
    fn names(&self, host: &str, at: Option<u16>) -> bool {
        let Self::Name { name, below, port } = self else {
            return false;
        };
        let fits = if *below {
            host.strip_suffix(name.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty())
        } else {
            host == name
        };
        fits && port_fits(*port, at)
    }

    fn has_port(&self, wanted: u16) -> bool {
        matches!(self, Self::Address(_, Some(port)) | Self::Name { port: Some(port), .. } if *port == wanted)
    }
}

fn port_fits(only: Option<u16>, port: Option<u16>) -> bool {
    only.is_none() || only == port
}

/// A host name as rules compare it: without the dot that may end it.
pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn entry(text: &str) -> Result<Entry, String> {
    let wrong = || {
        let shown: String = text.chars().take(80).collect();
        format!("`{shown}` is not an entry for this list; {FORMS}")
    };
    if text.contains('/') {
        let network: IpNet = text.parse().map_err(|_not_a_network| wrong())?;
        return network_entry(network.trunc());
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Entry::Address(judged(ip), None));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return match socket.port() {
            0 => Err(wrong()),
            port => Ok(Entry::Address(judged(socket.ip()), Some(port))),
        };
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port_number(port).ok_or_else(wrong)?)),
        None => (text, None),
    };
    let (name, below) = match name.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (name, false),
    };
    match Host::parse(name) {
        Ok(Host::Domain(domain)) if !domain.contains('*') && !without_dot(&domain).is_empty() => {
            Ok(Entry::Name {
                name: without_dot(&domain).to_owned(),
                below,
                port,
            })
        }
        _ => Err(wrong()),
    }
}

/// A port from 1, in decimal digits alone.
fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

fn network_entry(network: IpNet) -> Result<Entry, String> {
    if is_metadata(network.addr()) && network.prefix_len() == network.max_prefix_len() {
        return Err(format!(
            "`{network}` is the address of a cloud's metadata service, which only the address itself allows; write \
             `{}`",
            network.addr()
        ));
    }
    match judged(network.network()) {
        IpAddr::V4(carried) if matches!(network, IpNet::V6(_)) => Err(format!(
            "`{network}` carries IPv4 addresses, which are judged as such; write the IPv4 network, like `{carried}/{}`",
            network.prefix_len().saturating_sub(96)
        )),
        _ => Ok(Entry::Network(network)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Allowed {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Allowed::read(&entries).expect("entries")
    }

    #[test]
    fn entries_are_read_in_every_form() {
        let name = |name: &str, below, port| Entry::Name {
            name: name.to_owned(),
            below,
            port,
        };
        for (text, expected) in [
            (
                "10.20.0.0/16",
                Entry::Network("10.20.0.0/16".parse().expect("net")),
            ),
            (
                "10.20.1.1/16",
                Entry::Network("10.20.0.0/16".parse().expect("net")),
            ),
            ("::1/128", Entry::Network("::1/128".parse().expect("net"))),
            ("::/0", Entry::Network("::/0".parse().expect("net"))),
            (
                "10.20.0.7",
                Entry::Address("10.20.0.7".parse().expect("ip"), None),
            ),
            ("::1", Entry::Address("::1".parse().expect("ip"), None)),
            ("[::1]", Entry::Address("::1".parse().expect("ip"), None)),
            (
                "::ffff:10.0.0.1",
                Entry::Address("10.0.0.1".parse().expect("ip"), None),
            ),
            (
                "127.0.0.1:8080",
                Entry::Address("127.0.0.1".parse().expect("ip"), Some(8080)),
            ),
            (
                "[fd00::7]:8443",
                Entry::Address("fd00::7".parse().expect("ip"), Some(8443)),
            ),
            ("localhost", name("localhost", false, None)),
            (
                "Hooks.Internal.:8443",
                name("hooks.internal", false, Some(8443)),
            ),
            ("*.example.com", name("example.com", true, None)),
            ("*.example.com:81", name("example.com", true, Some(81))),
            ("bücher.example", name("xn--bcher-kva.example", false, None)),
        ] {
            assert_eq!(entry(text).as_ref(), Ok(&expected), "{text}");
        }
    }

    #[test]
    fn all_entries_that_are_wrong_are_named_at_once() {
        let wrong = [
            "",
            "*",
            "*.",
            ".",
            "10.0.0.0/33",
            "10.0.0/8",
            "a b",
            "a:0",
            "a:65536",
            "a:+80",
            "a:",
            ":80",
            "10.0.0.1:0",
            "[::1",
            "a.*.example.com",
            "http://a",
            "0x7f.1",
            "2130706433",
            "::ffff:10.0.0.0/104",
            "169.254.169.254/32",
            "fd00:ec2::254/128",
            "user@host",
        ];
        let entries: Vec<String> = ["127.0.0.0/8"]
            .iter()
            .chain(&wrong)
            .map(|text| (*text).to_owned())
            .collect();
        let faults = Allowed::read(&entries).expect_err("wrong");
        let pointers: Vec<String> = (1..=wrong.len())
            .map(|at| format!("/egress/allow/{at}"))
            .collect();
        assert_eq!(
            faults
                .iter()
                .map(|fault| fault.pointer.clone())
                .collect::<Vec<_>>(),
            pointers,
            "{faults:?}"
        );
        assert!(
            faults.iter().all(|fault| fault.message.contains("write")),
            "{faults:?}"
        );
    }

    #[test]
    fn a_suffix_matches_whole_labels_below_it() {
        let allowed = allowed(&["*.example.com"]);
        for (name, expected) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            (".example.com", false),
            ("badexample.com", false),
            ("a.example.com.evil.net", false),
        ] {
            assert_eq!(allowed.name(name, 443), expected, "{name}");
        }
    }

    #[test]
    fn an_entry_with_a_port_holds_for_that_port_alone() {
        let allowed = allowed(&["hooks.internal:8443", "10.0.0.1:22"]);
        let ip: IpAddr = "10.9.9.9".parse().expect("ip");
        assert!(allowed.name("hooks.internal", 8443));
        assert!(!allowed.name("hooks.internal", 443));
        assert!(allowed.address(ip, Some("hooks.internal"), Some(8443)));
        assert!(!allowed.address(ip, Some("hooks.internal"), Some(443)));
        assert!(!allowed.address(ip, Some("hooks.internal"), None));
        assert!(allowed.port(&Host::Ipv4("10.0.0.1".parse().expect("ip")), 22));
        assert!(!allowed.port(&Host::Ipv4("10.0.0.1".parse().expect("ip")), 23));
        assert!(!allowed.port(&Host::Ipv4("10.0.0.2".parse().expect("ip")), 22));
    }

    #[test]
    fn only_the_address_itself_allows_a_metadata_address() {
        let ip: IpAddr = "169.254.169.254".parse().expect("ip");
        for (entries, expected) in [
            (&["0.0.0.0/0", "169.254.0.0/16", "meta.example"][..], false),
            (&["169.254.169.254:81"], false),
            (&["169.254.169.254"], true),
            (&["169.254.169.254:80"], true),
            (&["::ffff:169.254.169.254"], true),
        ] {
            let allowed = allowed(entries);
            assert_eq!(
                allowed.address(ip, Some("meta.example"), Some(80)),
                expected,
                "{entries:?}"
            );
        }
    }
}
