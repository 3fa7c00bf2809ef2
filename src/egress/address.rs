//! Which addresses are public, and which IPv4 address an IPv6 address carries. Pure.
//!
//! Invariant: an address that embeds an IPv4 address is judged by that one, so no notation gets around a rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Refused unless allowed: <https://www.iana.org/assignments/iana-ipv4-special-registry/>, multicast, and the
/// address of Azure's platform services (<https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>).
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // "this network"
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // shared by carriers
    v4(127, 0, 0, 0, 8),      // loopback
    v4(169, 254, 0, 0, 16),   // link-local
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, broadcast
    v4(168, 63, 129, 16, 32), // Azure
];

/// All that is globally reachable lies in here.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Refused within it unless allowed: <https://www.iana.org/assignments/iana-ipv6-special-registry/>.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),     // protocol assignments, Teredo among them
    v6(0x2001, 0xdb8, 32), // documentation
    v6(0x2002, 0, 16),     // 6to4
    v6(0x3fff, 0, 20),     // documentation
];

/// Where clouds answer with an instance's credentials (AWS, Azure, Google; AWS over IPv6; Azure; Alibaba). A network
/// never allows these, only the address itself does.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// The address that rules are applied to: the IPv4 address that a mapped (`::ffff:0:0/96`), compatible (`::/96`) or
/// NAT64 (`64:ff9b::/96`) address carries, else the address itself.
pub(super) fn judged(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = ip else { return ip };
    if address.is_unspecified() || address.is_loopback() {
        return ip;
    }
    let [a, b, c, d, e, f, ..] = address.segments();
    let carries = matches!(
        [a, b, c, d, e, f],
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0]
    );
    if carries {
        let [.., w, x, y, z] = address.octets();
        IpAddr::V4(Ipv4Addr::new(w, x, y, z))
    } else {
        ip
    }
}

/// Whether `ip`, as [`judged`] gives it, may be sent to without being allowed.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&ip))
        }
    }
}

/// Whether `ip`, as [`judged`] gives it, serves a cloud's metadata.
pub(super) fn is_metadata(ip: IpAddr) -> bool {
    METADATA.contains(&ip)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(ip: &str) -> bool {
        is_public(judged(ip.parse().expect(ip)))
    }

    #[test]
    fn first_and_last_of_each_refused_network_are_refused_and_their_neighbours_are_not() {
        for net in NOT_PUBLIC_V4 {
            assert!(!is_public(net.network().into()), "{net}");
            assert!(!is_public(net.broadcast().into()), "{net}");
        }
        for net in NOT_PUBLIC_V6 {
            assert!(!is_public(net.network().into()), "{net}");
            assert!(!is_public(net.broadcast().into()), "{net}");
        }
        for neighbour in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "168.63.129.15",
            "168.63.129.17",
            "8.8.8.8",
            "2000::",
            "2001:200::",
            "2001:4860:4860::8888",
            "2001:db7:ffff::1",
            "2001:db9::",
            "2003::",
            "3ffe:ffff::",
            "3fff:1000::",
            "3fff:ffff:ffff::1",
        ] {
            assert!(public(neighbour), "{neighbour}");
        }
    }

    #[test]
    fn ipv6_outside_of_the_global_block_is_refused() {
        for ip in [
            "::",
            "::1",
            "100::1",
            "64:ff9b:1::1",
            "64:ff9b:0:1::8.8.8.8",
            "::ffff:0:8.8.8.8",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "1fff:ffff::1",
            "4000::",
            "2001::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:808:808::1",
            "3fff:fff::1",
        ] {
            assert!(!public(ip), "{ip}");
        }
    }

    #[test]
    fn metadata_addresses_are_never_public() {
        for ip in METADATA {
            assert!(is_metadata(ip) && !is_public(ip), "{ip}");
        }
    }

    proptest! {
        #[test]
        fn an_embedded_ipv4_address_is_judged_like_itself(bits: u32) {
            let plain = Ipv4Addr::from_bits(bits);
            let [w, x, y, z] = plain.octets();
            let [a, b] = [u16::from_be_bytes([w, x]), u16::from_be_bytes([y, z])];
            for carrier in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
            ] {
                prop_assert_eq!(judged(carrier.into()), IpAddr::V4(plain));
            }
            // `::` and `::1` have this form too and are refused by themselves.
            prop_assert_eq!(
                is_public(judged(Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b).into())),
                is_public(plain.into())
            );
        }
    }
}
