//! Escapes in strings: checked while the text is indexed, read when somebody asks for the string.

use std::cell::{OnceCell, RefCell};

use super::scan::string_stop;

/// Spare buffers kept for the strings with escapes of the next text, and how long one may be to be kept.
const BUFFERS_KEPT: usize = 32;
const BUFFER_BYTES_KEPT: usize = 16 << 10;

/// Buffers of strings that were read from earlier texts.
#[derive(Debug, Default)]
pub(super) struct Spare(RefCell<Vec<String>>);

impl Spare {
    /// Takes a string's buffer back.
    pub(super) fn give(&mut self, text: OnceCell<String>) {
        let buffers = self.0.get_mut();
        if let Some(mut text) = text.into_inner()
            && text.capacity() <= BUFFER_BYTES_KEPT
            && buffers.len() < BUFFERS_KEPT
        {
            text.clear();
            buffers.push(text);
        }
    }

    /// Reads what was written between the quotes of a string, which was checked.
    pub(super) fn read(&self, written: &str) -> String {
        let mut text = self.0.borrow_mut().pop().unwrap_or_default();
        // What is read is never longer than what was written.
        text.reserve(written.len());
        let mut rest = written;
        // Of what ends a run in a string, nothing but escapes is between its quotes.
        while let Some((before, escape)) = rest.split_at_checked(string_stop(rest.as_bytes(), 0)) {
            text.push_str(before);
            if escape.is_empty() {
                break;
            }
            let (read, length) = read_escape(escape.as_bytes());
            text.push(read);
            rest = escape.get(length..).unwrap_or_default();
        }
        text
    }
}

/// Checks the escape whose backslash is at `at`, a surrogate together with its other half; returns the place after it.
/// `None` if it is none, or one half of a pair alone, which no string can hold.
pub(super) fn check(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => match unit(bytes, at + 2)? {
            0xd800..=0xdbff => {
                let low = low_half(bytes, at + 6)?;
                (0xdc00..=0xdfff).contains(&low).then_some(at + 12)
            }
            0xdc00..=0xdfff => None,
            _ => Some(at + 6),
        },
        _ => None,
    }
}

/// The character that a checked escape stands for, and the length of the escape.
fn read_escape(escape: &[u8]) -> (char, usize) {
    let plain = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let high = unit(escape, 2).unwrap_or_default();
            let Some(low) = low_half(escape, 6).filter(|_| (0xd800..=0xdbff).contains(&high)) else {
                return (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
            };
            let code = 0x1_0000 + ((high - 0xd800) << 10) + low.saturating_sub(0xdc00);
            return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
        }
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (plain, 2)
}

/// The second half of a pair, with its own `\u`.
fn low_half(bytes: &[u8], at: usize) -> Option<u32> {
    if bytes.get(at..at + 2) == Some(b"\\u") { unit(bytes, at + 2) } else { None }
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}
