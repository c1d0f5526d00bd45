//! Whole numbers that 64 bits do not hold: they are the text of their digits, which a float would lose.

use std::borrow::Cow;

/// Fewer digits always fit.
const DIGITS_MIN: usize = 19;

/// Whether a number of JSON is a whole one, written in plain digits, that 64 bits do not hold with or without a sign.
pub(super) fn is_beyond_64_bits(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    digits.len() >= DIGITS_MIN
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && number.parse::<i64>().is_err()
        && number.parse::<u64>().is_err()
}

/// A payload in which such numbers are strings, for readers that would take them for floats, or refuse them. It is JSON
/// exactly if the payload is.
pub(super) fn quoted(payload: &str) -> Cow<'_, str> {
    let bytes = payload.as_bytes();
    if !has_many_digits(bytes) {
        return Cow::Borrowed(payload);
    }
    let mut all = String::with_capacity(payload.len() + 16);
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = behind_string(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let end = at + length(bytes, at, |byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
                let number = payload.get(at..end).unwrap_or_default();
                let next = bytes.get(end + length(bytes, end, u8::is_ascii_whitespace));
                // No number begins with zeros, and a key is none: neither becomes JSON by being quoted.
                let is_value = !number.trim_start_matches('-').starts_with('0') && next != Some(&b':');
                if is_value && is_beyond_64_bits(number) {
                    all.extend([payload.get(copied..at).unwrap_or_default(), "\"", number, "\""]);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    all.push_str(payload.get(copied..).unwrap_or_default());
    Cow::Owned(all)
}

/// Whether there are so many digits side by side. Each such run has one at a multiple of their number.
fn has_many_digits(bytes: &[u8]) -> bool {
    (0..bytes.len()).step_by(DIGITS_MIN).any(|at| {
        let after = length(bytes, at, u8::is_ascii_digit);
        let before = bytes.get(..at).unwrap_or_default().iter().rev().take_while(|byte| byte.is_ascii_digit());
        after > 0 && after + before.take(DIGITS_MIN).count() >= DIGITS_MIN
    })
}

/// How many bytes from a place on are of a kind.
fn length(bytes: &[u8], at: usize, is_of: impl Fn(&u8) -> bool) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|byte| is_of(byte)).count()
}

/// Where a string ends whose first quote is before `at`.
fn behind_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn large_whole_numbers_are_quoted_where_they_are_values() {
        for (payload, expected) in [
            (r#"{"a":18446744073709551616}"#, r#"{"a":"18446744073709551616"}"#),
            (r#"[18446744073709551615,-9223372036854775808]"#, r#"[18446744073709551615,-9223372036854775808]"#),
            (r#"[ -9223372036854775809 , 1 ]"#, r#"[ "-9223372036854775809" , 1 ]"#),
            ("99999999999999999999999", r#""99999999999999999999999""#),
            (r#"["\"99999999999999999999999",1]"#, r#"["\"99999999999999999999999",1]"#),
            (r#"["é\\",99999999999999999999999]"#, r#"["é\\","99999999999999999999999"]"#),
            ("[99999999999999999999999.0]", "[99999999999999999999999.0]"),
            ("[99999999999999999999999e1]", "[99999999999999999999999e1]"),
            ("{99999999999999999999999 :1}", "{99999999999999999999999 :1}"),
            ("[00099999999999999999999]", "[00099999999999999999999]"),
            ("[--99999999999999999999999]", "[--99999999999999999999999]"),
            (r#"{"a":"99999999999999999999999"#, r#"{"a":"99999999999999999999999"#),
        ] {
            let found = quoted(payload);
            assert_eq!(found, expected);
            let [before, after] = [payload, expected].map(|text| serde_json::from_str::<Value>(text).is_ok());
            assert_eq!(before, after, "{payload}");
        }
        let long = format!("[{}]", "9".repeat(1000));
        assert_eq!(quoted(&long).len(), long.len() + 2);
    }
}
