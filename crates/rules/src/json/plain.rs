//! Where the plain part of a JSON string ends: at its first quote, backslash or control character.
//!
//! Most strings are short, and a loop that ends where a string does is foretold wrongly for nearly each: sixteen bytes are
//! looked at in one step, so that most strings take just that one.

use wide::u8x16;

/// Where the first quote, backslash or control character is from `at` on, or the end.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(sixteen) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = special(*sixteen);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}

/// A bit for each byte that ends the plain part.
#[inline(always)]
fn special(sixteen: [u8; 16]) -> u32 {
    let text = u8x16::new(sixteen);
    let quotes = text.simd_eq(u8x16::splat(b'"'));
    let slashes = text.simd_eq(u8x16::splat(b'\\'));
    let controls = text.min(u8x16::splat(0x1f)).simd_eq(text);
    (quotes | slashes | controls).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_ends_a_string_is_found_wherever_it_stands() {
        for length in 0..40 {
            for byte in 0..=u8::MAX {
                for place in 0..length {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    // What stands behind does not matter.
                    if let Some(last) = text.get_mut(place + 1..).and_then(<[u8]>::last_mut) {
                        *last = b'"';
                    }
                    let expected = text.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(length);
                    for from in 0..=place {
                        assert_eq!(plain_end(&text, from), expected, "{byte} at {place} of {length} from {from}");
                    }
                }
            }
        }
    }
}
