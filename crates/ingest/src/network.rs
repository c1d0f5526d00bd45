//! Connections: both ends, the protocol, and the id that every reporter of one connection gives it.
//!
//! One address has one spelling, whoever wrote it: an IPv4 address mapped into IPv6 (`::ffff:10.0.0.7`) is the IPv4
//! address, and IPv6 addresses are written as RFC 5952 has them. What is no address is kept as it is.
//!
//! Not here: names of ends (pods, services), which formats write in too many ways.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_events::schema::Word;
use palisade_events::{EventBuilder, col};
use sha1::{Digest, Sha1};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// One connection or packet between two endpoints, as far as its source tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection<'c> {
    pub(crate) src_ip: Option<&'c str>,
    /// Source port; the type of an ICMP message.
    pub(crate) src_port: Option<u16>,
    pub(crate) dst_ip: Option<&'c str>,
    /// Destination port; the code of an ICMP message.
    pub(crate) dst_port: Option<u16>,
    /// Transport protocol: a name in any case, or its number.
    pub(crate) protocol: Option<&'c str>,
}

impl Connection<'_> {
    /// Puts the ends, the protocol and the connection's id into the current row, as far as they are known.
    pub(crate) fn put(&self, row: &mut EventBuilder) {
        let protocol = self.protocol.map(number_of);
        let has_ports = !matches!(protocol, Some(Some(ICMP | ICMP6)));
        let ends = [
            (col::SRC_ENDPOINT_IP, col::SRC_ENDPOINT_PORT, self.src_ip, self.src_port),
            (col::DST_ENDPOINT_IP, col::DST_ENDPOINT_PORT, self.dst_ip, self.dst_port),
        ];
        for (ip_column, port_column, ip, port) in ends {
            if let Some(ip) = ip.filter(|ip| !ip.is_empty()) {
                put_ip(row, ip_column, ip);
            }
            if let Some(port) = port.filter(|_| has_ports) {
                row.put_int(port_column, i32::from(port));
            }
        }
        match (protocol, self.protocol) {
            (Some(Some(number)), written) => {
                row.put_word(col::CONNECTION_PROTOCOL, name_of(number).or(written).unwrap_or_default());
            }
            (_, Some(written)) if !written.is_empty() => {
                row.put_word(col::CONNECTION_PROTOCOL, &written.to_ascii_lowercase());
            }
            _ => {}
        }
        if let Some(uid) = self.community_uid() {
            row.put_text(col::CONNECTION_UID, &uid);
        }
    }

    /// The Community ID of the connection, version 1 with seed 0; `None` unless both ends and the protocol are known, and
    /// the ports where the protocol has them.
    pub(crate) fn community_uid(&self) -> Option<String> {
        let protocol = number_of(self.protocol?)?;
        let (mut from, mut to) = (octets(address(self.src_ip?)?), octets(address(self.dst_ip?)?));
        let mut ports = match protocol {
            TCP | UDP | SCTP => Some((self.src_port?, self.dst_port?)),
            ICMP | ICMP6 => {
                let kind = self.src_port?;
                Some(answer_of(protocol, kind).map_or((kind, self.dst_port?), |answer| (kind, answer)))
            }
            _ => None,
        };
        let one_way =
            matches!(protocol, ICMP | ICMP6) && self.src_port.is_some_and(|kind| answer_of(protocol, kind).is_none());
        let backwards = (&from, ports.map(|p| p.0)) > (&to, ports.map(|p| p.1));
        if backwards && !one_way {
            std::mem::swap(&mut from, &mut to);
            ports = ports.map(|(a, b)| (b, a));
        }
        let mut hash = Sha1::new();
        hash.update([0, 0]);
        hash.update(&from);
        hash.update(&to);
        hash.update([protocol, 0]);
        if let Some((from, to)) = ports {
            hash.update(from.to_be_bytes());
            hash.update(to.to_be_bytes());
        }
        Some(format!("1:{}", STANDARD.encode(hash.finalize())))
    }
}

/// Puts an address into the current row, in the one spelling that it has.
pub(crate) fn put_ip(row: &mut EventBuilder, column: Word, ip: &str) {
    row.put_word(column, &canonical(ip));
}

fn canonical(ip: &str) -> Cow<'_, str> {
    address(ip).map_or(Cow::Borrowed(ip), |address| address.to_string().into())
}

fn address(ip: &str) -> Option<IpAddr> {
    Some(ip.parse::<IpAddr>().ok()?.to_canonical())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn number_of(protocol: &str) -> Option<u8> {
    let known = [
        ("tcp", TCP),
        ("udp", UDP),
        ("sctp", SCTP),
        ("icmp", ICMP),
        ("icmpv4", ICMP),
        ("icmpv6", ICMP6),
        ("icmp6", ICMP6),
        ("ipv6-icmp", ICMP6),
    ];
    let named = known.into_iter().find(|(name, _)| protocol.eq_ignore_ascii_case(name)).map(|(_, number)| number);
    named.or_else(|| protocol.parse().ok())
}

fn name_of(number: u8) -> Option<&'static str> {
    Some(match number {
        TCP => "tcp",
        UDP => "udp",
        SCTP => "sctp",
        ICMP => "icmp",
        ICMP6 => "icmpv6",
        _ => return None,
    })
}

/// The ICMP type that answers another one: the two make one exchange.
fn answer_of(protocol: u8, kind: u16) -> Option<u16> {
    let pairs: &[(u16, u16)] = match protocol {
        ICMP => &[(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)],
        _ => &[(128, 129), (133, 134), (135, 136), (130, 131), (144, 145)],
    };
    pairs.iter().find_map(|&(a, b)| match kind {
        k if k == a => Some(b),
        k if k == b => Some(a),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection<'c>(src: (&'c str, u16), dst: (&'c str, u16), protocol: &'c str) -> Connection<'c> {
        Connection {
            src_ip: Some(src.0),
            src_port: Some(src.1),
            dst_ip: Some(dst.0),
            dst_port: Some(dst.1),
            protocol: Some(protocol),
        }
    }

    /// Values of the Community ID specification's own baseline.
    #[test]
    fn ids_are_those_of_the_specification() {
        for (src, dst, protocol, id) in [
            (("128.232.110.120", 34855), ("66.35.250.204", 80), "TCP", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (("192.168.1.52", 54585), ("8.8.8.8", 53), "udp", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (("192.168.0.89", 8), ("192.168.0.1", 0), "ICMPv4", "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ] {
            assert_eq!(connection(src, dst, protocol).community_uid().as_deref(), Some(id), "{src:?} {dst:?}");
        }
    }

    #[test]
    fn both_directions_and_all_reporters_tell_of_one_connection() {
        let there = connection(("10.0.0.7", 43210), ("10.0.0.9", 443), "tcp");
        let back = connection(("10.0.0.9", 443), ("10.0.0.7", 43210), "6");
        assert_eq!(there.community_uid(), back.community_uid());
        let other = connection(("10.0.0.7", 43211), ("10.0.0.9", 443), "tcp");
        assert_ne!(there.community_uid(), other.community_uid());
        let aggregated = Connection { src_port: None, ..there };
        assert_eq!(aggregated.community_uid(), None);
        assert_eq!(Connection { dst_ip: Some("nginx"), ..there }.community_uid(), None);
    }

    #[test]
    fn an_address_has_one_spelling_and_its_connection_one_id() {
        for (written, spelling) in [
            ("10.0.0.7", "10.0.0.7"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("::FFFF:a00:7", "10.0.0.7"),
            ("2001:DB8:0:0::0001", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("nginx", "nginx"),
        ] {
            assert_eq!(canonical(written), spelling, "{written}");
        }
        let plain = connection(("10.0.0.7", 43210), ("10.0.0.9", 443), "tcp");
        let mapped = connection(("::ffff:10.0.0.7", 43210), ("::ffff:a00:9", 443), "tcp");
        assert_eq!(plain.community_uid(), mapped.community_uid());
        let ping = |protocol| connection(("fe80::1", 128), ("fe80:0::2", 0), protocol).community_uid();
        assert!(ping("ICMPv6").is_some());
        assert_eq!([ping("icmp6"), ping("ipv6-icmp"), ping("58")], [ping("ICMPv6"), ping("ICMPv6"), ping("ICMPv6")]);
    }
}
