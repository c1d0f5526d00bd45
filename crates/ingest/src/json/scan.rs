//! Steps over runs of bytes, many at a time: the text of strings, and white space.
//!
//! Not here: what the bytes mean.

use wide::u8x16;

/// Bytes looked at in one step. More at once find the ends of long strings sooner, but most strings are short.
const STEP: usize = 16;

/// Where, from `at` on, the first byte is that cannot stand for itself in a string: a quote, a backslash, a control
/// character. The text's length if there is none.
#[inline(always)]
pub(super) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let stops = stops_string(step);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += STEP;
    }
    tail(bytes, at, stops_string, |b| matches!(b, b'"' | b'\\' | ..b' '))
}

/// Where, from `at` on, the first byte is that is no white space; the text's length if there is none.
#[inline(always)]
pub(super) fn space_stop(bytes: &[u8], at: usize) -> usize {
    match (bytes.get(at), bytes.get(at + 1)) {
        (None | Some(b'!'..), _) => at,
        (Some(b' '), Some(b'!'..)) => at + 1,
        _ => long_space_stop(bytes, at),
    }
}

fn long_space_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let stops = stops_space(step);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += STEP;
    }
    tail(bytes, at, stops_space, |b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t'))
}

/// The last bytes of a text, too few for a step of their own: the step before them overlaps with them.
fn tail(bytes: &[u8], at: usize, stops: impl Fn(&[u8; STEP]) -> u32, is_stop: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let stops = match bytes.last_chunk() {
        Some(step) if !rest.is_empty() => stops(step) >> (STEP - rest.len()),
        _ => return rest.iter().position(|&b| is_stop(b)).map_or(bytes.len(), |n| at + n),
    };
    if stops == 0 { bytes.len() } else { at + stops.trailing_zeros() as usize }
}

/// One bit a byte, the first byte's lowest.
#[inline(always)]
fn stops_string(step: &[u8; STEP]) -> u32 {
    let bytes = u8x16::new(*step);
    // With this bit turned over, the quote takes the place of the space, next to the control characters, which stay among
    // themselves: the smaller of such a byte and a space is the byte.
    let turned = bytes ^ u8x16::splat(b'"' ^ b' ');
    (turned.min(u8x16::splat(b' ')).simd_eq(turned) | is(bytes, b'\\')).to_bitmask()
}

#[inline(always)]
fn stops_space(step: &[u8; STEP]) -> u32 {
    let bytes = u8x16::new(*step);
    let space = is(bytes, b' ') | is(bytes, b'\n') | is(bytes, b'\r') | is(bytes, b'\t');
    !space.to_bitmask() & 0xffff
}

#[inline(always)]
fn is(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_are_found_at_every_place_of_texts_of_every_length() {
        for len in 0..100 {
            for stop in 0..=len {
                for (filler, what) in [(b'a', b'"'), (b'\xc3', b'\\'), (b'\x7f', 0), (b' ', b'\x1f'), (b'\xff', b'\n')]
                {
                    let mut bytes = vec![filler; len];
                    // What lies before the place is not looked at.
                    bytes.iter_mut().take(stop / 2).for_each(|b| *b = b'"');
                    bytes.iter_mut().skip(stop).step_by(3).for_each(|b| *b = what);
                    assert_eq!(string_stop(&bytes, stop / 2), stop, "{len} {stop} {filler}");
                }
                for (filler, what) in [(b' ', b'{'), (b'\n', 0), (b'\t', b'\x0c'), (b'\r', 0xa0)] {
                    let mut bytes = vec![filler; len];
                    bytes.iter_mut().skip(stop).for_each(|b| *b = what);
                    assert_eq!(space_stop(&bytes, stop / 2), stop, "{len} {stop} {filler}");
                }
            }
            assert_eq!(string_stop(&vec![b'a'; len], len), len);
            assert_eq!(space_stop(&vec![b' '; len], len + 9), len + 9);
        }
    }
}
