//! Many networks against one address: as many look-ups as there are lengths of prefix.

use std::net::{IpAddr, Ipv4Addr};

use ahash::HashMap;
use ipnet::IpNet;

use super::program::Hits;

/// Networks by the length of their prefix, and which atoms ask for them.
#[derive(Debug, Default)]
pub(crate) struct Nets {
    four: Lengths,
    six: Lengths,
}

/// For each length of prefix in use, the networks by their first address.
type Lengths = Vec<(u8, HashMap<u128, Vec<u32>>)>;

impl Nets {
    pub(crate) fn add(&mut self, net: IpNet, atom: u32) {
        let (lengths, first) = match net.trunc() {
            IpNet::V4(net) => (&mut self.four, u128::from(net.network().to_bits())),
            IpNet::V6(net) => (&mut self.six, net.network().to_bits()),
        };
        let length = net.prefix_len();
        let place = lengths.iter().position(|(own, _)| *own == length).unwrap_or_else(|| {
            lengths.push((length, HashMap::default()));
            lengths.len() - 1
        });
        lengths[place].1.entry(first).or_default().push(atom);
    }

    pub(crate) fn hits(&self, text: &str, hits: &mut Hits) {
        if self.four.is_empty() && self.six.is_empty() {
            return;
        }
        let Ok(address) = text.parse::<IpAddr>() else { return };
        // A dual-stack socket writes an IPv4 peer as ::ffff:10.0.0.1: the same host.
        if let IpAddr::V4(four) = address.to_canonical() {
            within(&self.four, u128::from(four.to_bits()), Ipv4Addr::BITS, hits);
        }
        if let IpAddr::V6(six) = address {
            within(&self.six, six.to_bits(), u128::BITS, hits);
        }
    }
}

fn within(lengths: &Lengths, address: u128, bits: u32, hits: &mut Hits) {
    for (length, nets) in lengths {
        let host = bits.saturating_sub((*length).into());
        // Shifting out all 128 bits leaves none.
        let first = address.checked_shr(host).and_then(|kept| kept.checked_shl(host)).unwrap_or(0);
        if let Some(atoms) = nets.get(&first) {
            hits.add(atoms);
        }
    }
}
