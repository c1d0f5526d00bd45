//! The frame that serializers of a schema registry put around a payload: a zero byte, the schema's number in four bytes,
//! then the payload.
//!
//! Not here: registries. Nobody is asked for a schema, since JSON is read as it is. Schema numbers that travel in headers
//! leave the payload alone and need nothing.

/// What a framed payload begins with.
const MAGIC: u8 = 0;
/// Bytes of the frame: the magic byte and a schema number, big-endian.
const FRAME_BYTES: usize = 5;

/// The payload without a registry's frame. Only a payload that goes on as a JSON object or array loses its first bytes: a
/// zero byte alone may as well be data of another kind.
pub(crate) fn strip_registry_frame(payload: &[u8]) -> &[u8] {
    let Some((&MAGIC, _)) = payload.split_first() else { return payload };
    let Some(inner) = payload.get(FRAME_BYTES..) else { return payload };
    match inner.trim_ascii_start().first() {
        Some(b'{' | b'[') => inner,
        _ => payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_frame_around_json_is_taken_off() {
        for (payload, inner) in [
            // Framed, with whatever schema number: one may look like JSON itself.
            (b"\0\0\0\0\x07{\"a\":1}".as_slice(), b"{\"a\":1}".as_slice()),
            (b"\0\xff\xff\xff\xff[1]", b"[1]"),
            (b"\0{{{{{}", b"{}"),
            (b"\0\0\0\0\x07 \r\n\t{}", b" \r\n\t{}"),
            // Not framed.
            (b"", b""),
            (b"{\"a\":1}", b"{\"a\":1}"),
            (b"plain \0 text", b"plain \0 text"),
            // Framed, but not around JSON that is a document, or around nothing.
            (b"\0", b"\0"),
            (b"\0\0\0\0\x07", b"\0\0\0\0\x07"),
            (b"\0\0\0\0\x07   ", b"\0\0\0\0\x07   "),
            (b"\0\0\0\0\x07\"text\"", b"\0\0\0\0\x07\"text\""),
            (b"\0\0\0\0\x07\x02\x08avro", b"\0\0\0\0\x07\x02\x08avro"),
            // JSON, but elsewhere than a frame puts it.
            (b"\0\0\0\0{\"a\":1}", b"\0\0\0\0{\"a\":1}"),
            (b"\x01\0\0\0\x07{}", b"\x01\0\0\0\x07{}"),
        ] {
            assert_eq!(strip_registry_frame(payload), inner, "{payload:?}");
        }
    }

    #[test]
    fn a_frame_is_taken_off_once() {
        let twice = b"\0\0\0\0\x01[\0\0\0\0\x02{}";
        assert_eq!(strip_registry_frame(twice), &twice[5..]);
    }
}
