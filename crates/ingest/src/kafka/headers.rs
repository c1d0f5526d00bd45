//! Headers and keys of records, as bytes that any producer may have chosen.
//!
//! The client library panics on a header whose name is no UTF-8, so that headers are read from librdkafka itself here.
//!
//! Not here: what names a cluster (`intake.rs`).

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

/// Headers that are looked at: tracing and shippers add a handful, and more are somebody's attempt.
pub(super) const HEADERS_MAX: usize = 64;
/// Bytes of a key's text that are kept: keys are names, ids or addresses.
pub(super) const KEY_BYTES_MAX: usize = 1024;
/// Length of a trace context of version 00: `00-`, 32 hex digits, `-`, 16, `-`, 2.
const TRACE_PARENT_BYTES: usize = 55;

/// Shows the name and value of a record's headers, in order. Headers without a value are left out. Costs a record without
/// headers one look.
#[allow(unsafe_code)]
pub(super) fn each(message: &BorrowedMessage<'_>, mut see: impl FnMut(&[u8], &[u8])) {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is borrowed, so that it lives until this function returns and nobody else holds it mutably;
    // librdkafka parses its headers on first use and keeps them with the message.
    let found = unsafe { rd_kafka_message_headers(message.ptr(), &mut headers) };
    if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
        return;
    }
    for index in 0..HEADERS_MAX {
        let (mut name, mut value, mut bytes) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` belongs to the borrowed message. An index beyond the last is answered with an error.
        let found = unsafe { rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut bytes) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        if name.is_null() || value.is_null() {
            continue;
        }
        // SAFETY: both lie in the headers of the borrowed message. librdkafka ends names with a zero byte, and `bytes` is
        // the length that it gives for the value.
        let (name, value) =
            unsafe { (CStr::from_ptr(name).to_bytes(), std::slice::from_raw_parts(value.cast::<u8>(), bytes)) };
        see(name, value);
    }
}

/// Whether a header carries a W3C trace context. Clients write its name in any case.
pub(super) fn is_trace_parent(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"traceparent")
}

/// A trace context of version 00 in lower case; `None` if it is not valid. Ids of zeros mean that there is none.
pub(super) fn trace_parent(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    if text.len() != TRACE_PARENT_BYTES {
        return None;
    }
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    let is_id = |part: &str, digits: usize| is_hex(part, digits) && part.bytes().any(|b| b != b'0');
    let valid = version == "00" && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2);
    (valid && parts.next().is_none()).then(|| text.to_ascii_lowercase().into())
}

/// What is kept of a key: its text, or its bytes in hexadecimal if they are none, as numbers are not; cut at
/// [`KEY_BYTES_MAX`] characters of hexadecimal or bytes of text. An empty key is none.
pub(super) fn key_text(key: &[u8]) -> Option<Box<str>> {
    if key.is_empty() {
        return None;
    }
    let text = match std::str::from_utf8(&key[..key.len().min(KEY_BYTES_MAX)]) {
        Ok(text) => text,
        // The cut went through a character.
        Err(error) if error.error_len().is_none() && key.len() > KEY_BYTES_MAX => {
            std::str::from_utf8(&key[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Some(hex(key)),
    };
    if text.is_empty() || text.chars().any(char::is_control) {
        return Some(hex(key));
    }
    Some(text.into())
}

fn hex(key: &[u8]) -> Box<str> {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let shown = key.iter().take(KEY_BYTES_MAX / 2);
    let digits = shown.flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_trace_context_is_kept() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (value, kept) in [
            (good.to_owned(), Some(good)),
            (format!(" {good}\r\n"), Some(good)),
            (good.to_uppercase(), Some(good)),
            (good.replace("00-0a", "01-0a"), None),
            (format!("{good}-more"), None),
            (good.replace("0af7", "0ag7"), None),
            (good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
            (good.replace("b7ad6b7169203331", &"0".repeat(16)), None),
            (good.replace("-b7ad6b7169203331-", "b-7ad6b7169203331-"), None),
            (good.replace('-', "_"), None),
            (String::new(), None),
            ("é".repeat(27) + "-", None),
        ] {
            assert_eq!(trace_parent(value.as_bytes()).as_deref(), kept, "{value}");
        }
        assert_eq!(trace_parent(&[0xff; TRACE_PARENT_BYTES]), None);
        assert!(is_trace_parent(b"TraceParent") && !is_trace_parent(b"tracestate"));
    }

    #[test]
    fn keys_are_text_or_hexadecimal_and_bounded() {
        for (key, kept) in [
            (b"".as_slice(), None),
            (b"node-1", Some("node-1")),
            ("größe".as_bytes(), Some("größe")),
            // A number in eight bytes is UTF-8, but no text.
            (b"\0\0\0\0\0\0\0\x07", Some("0000000000000007")),
            (b"\xff\xfe", Some("fffe")),
        ] {
            assert_eq!(key_text(key).as_deref(), kept, "{key:?}");
        }
        let long = "ä".repeat(KEY_BYTES_MAX);
        assert_eq!(key_text(long.as_bytes()).as_deref(), Some(&long[..KEY_BYTES_MAX]));
        let odd = format!("x{long}");
        assert_eq!(key_text(odd.as_bytes()).as_deref(), Some(&odd[..KEY_BYTES_MAX - 1]), "cut between characters");
        assert_eq!(key_text(&[0xff; 5000]).map(|key| key.len()), Some(KEY_BYTES_MAX));
    }
}
