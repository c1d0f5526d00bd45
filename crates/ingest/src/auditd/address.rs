//! Socket addresses as the kernel wrote them: the bytes of a `sockaddr`, in hexadecimal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::record::decode_hex;

/// An address that a column can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Internet address and port.
    Ip(IpAddr, u16),
    /// Path of a local socket; an abstract name begins with `@`.
    Unix(String),
}

impl Address {
    /// Decodes an address; `None` for families without a name, and for what is cut.
    pub(super) fn decode(hex: &str) -> Option<Self> {
        let bytes = decode_hex(hex)?;
        let (family, rest) = (bytes.get(..2)?, &bytes[2..]);
        // The family is in the order of the machine; its values are small, so one byte is zero whichever it is.
        match family[0] | family[1] {
            1 => unix(rest),
            2 => {
                let ip: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
                Some(Self::Ip(Ipv4Addr::from(ip).into(), port(rest)?))
            }
            10 => {
                let ip: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
                let ip = Ipv6Addr::from(ip);
                Some(Self::Ip(ip.to_ipv4_mapped().map_or(ip.into(), Into::into), port(rest)?))
            }
            _ => None,
        }
    }
}

fn port(rest: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?))
}

fn unix(rest: &[u8]) -> Option<Address> {
    let (prefix, name) = match rest {
        [0, name @ ..] => ("@", name),
        name => ("", name),
    };
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    (end > 0).then(|| Address::Unix(format!("{prefix}{}", String::from_utf8_lossy(&name[..end]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_families_are_read() {
        let ip = |ip: &str, port| Some(Address::Ip(ip.parse().unwrap(), port));
        for (hex, expected) in [
            ("02000050A9FEA9FE0000000000000000", ip("169.254.169.254", 80)),
            ("0200EB203624D6450000000000000000", ip("54.36.214.69", 60192)),
            ("000200350A000001", ip("10.0.0.1", 53)),
            ("0A000016000000000000000000000000000000000000000000000000", ip("::", 22)),
            ("0A0001BB0000000000000000000000000000FFFF0102030400000000", ip("1.2.3.4", 443)),
            (
                "01002F7661722F72756E2F6E7363642F736F636B65740000603B",
                Some(Address::Unix("/var/run/nscd/socket".into())),
            ),
            ("0100002F746D70", Some(Address::Unix("@/tmp".into()))),
            ("100000000000000000000000", None),
            ("0200005", None),
            ("02000050A9FE", None),
            ("0100", None),
            ("", None),
        ] {
            assert_eq!(Address::decode(hex), expected, "{hex}");
        }
    }
}
