//! IP addresses and networks in the texts of events, as the reference engine reads them.
//!
//! Invariant: names are never resolved; a text is an address by its form alone.

// The types alone: sockets live in `std::net`, which has no place in the domain.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a text writes: four decimal numbers, leading zeros allowed, or IPv6 in hexadecimal.
///
/// As `CIDR` of <https://github.com/aws/event-ruler>: an IPv6 address that stands for an IPv4 address is that one.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if text.len() > 64 {
        return None;
    }
    if text.contains(':') {
        let hexadecimal = text
            .bytes()
            .all(|byte| byte == b':' || byte.is_ascii_hexdigit());
        let address = text.parse::<Ipv6Addr>().ok().filter(|_| hexadecimal)?;
        return Some(IpAddr::V6(address).to_canonical());
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| digits)?;
    }
    parts
        .next()
        .is_none()
        .then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `10.0.0.0/8`; bits behind the mask are ignored. A mask leaves at least one bit, as in the reference.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (first, bits) = text
            .split_once('/')
            .ok_or("has no `/` with the number of bits")?;
        let first = address(first).ok_or("does not begin with an IP address")?;
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u32 = bits
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or("has no number behind `/`")?;
        match first {
            IpAddr::V4(_) if bits > 31 => Err("has a mask that is not within 0 and 31"),
            IpAddr::V6(_) if bits > 127 => Err("has a mask that is not within 0 and 127"),
            _ => Ok(Self { first, bits }),
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.first, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (a, b) in [
            ("10.0.0.1", "10.0.0.01"),
            ("2001:db8::1", "2001:0db8:0:0:0:0:0:1"),
            ("2001:DB8::1", "2001:db8::1"),
        ] {
            assert!(address(a).is_some(), "{a}");
            assert_eq!(address(a), address(b), "{a} {b}");
        }
        for text in [
            "300.1.2.3",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.",
            "a.b.c.d",
            "",
            ":",
            "1.2.3.+4",
            "::1%1",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_holds_what_begins_with_its_bits() {
        for (network, inside, outside) in [
            ("10.0.0.255/24", "10.0.0.1", "10.0.1.1"),
            ("0.0.0.0/0", "255.1.1.1", "::2:1"),
            ("10.0.0.2/31", "10.0.0.3", "10.0.0.4"),
            ("2001:db8::/32", "2001:db8::7", "2001:db9::"),
        ] {
            let network = Network::parse(network).expect(network);
            assert!(network.contains(address(inside).expect(inside)), "{inside}");
            assert!(
                !network.contains(address(outside).expect(outside)),
                "{outside}"
            );
        }
        for text in [
            "10.0.0.0",
            "10.0.0.0/32",
            "::/128",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "x/8",
            "10.0.0.0/-1",
        ] {
            Network::parse(text).expect_err(text);
        }
    }
}
