//! Container ids: as their source wrote them, and cut to what every source has.
//!
//! Not here: images (see [`crate::image`]).

use palisade_events::{EventBuilder, col};

/// Hex digits that every source writes at least, and that join them.
const SHORT_DIGITS: usize = 12;

/// Puts a container's id into the current row, without the name of its runtime, and the digits by which events of all
/// sources are joined. Sources write 12, 24, 31 or 64 digits; what says that there is no container is left out.
pub(crate) fn put(row: &mut EventBuilder, id: &str) {
    let id = bare(id);
    if matches!(id, "" | "host" | "<NA>" | "-") {
        return;
    }
    row.put_word(col::CONTAINER_UID, id);
    if let Some(short) = short(id) {
        row.put_word(col::CONTAINER_UID_SHORT, &short.to_ascii_lowercase());
    }
}

/// The id behind `containerd://`, `docker://` and their kin.
pub(crate) fn bare(id: &str) -> &str {
    id.split_once("://").map_or(id, |(_, bare)| bare).trim()
}

fn short(id: &str) -> Option<&str> {
    id.get(..SHORT_DIGITS).filter(|short| short.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_all_lengths_and_runtimes_share_their_first_digits() {
        let whole = "3fd02a8b6c41e5d7093b1c8f2ea46d5907b8c3d1e2f4a5b6978c0d1e2f3a4b5c";
        for written in
            [whole, &whole[..12], &whole[..31], &format!("containerd://{whole}"), &format!("cri-o://{whole}")]
        {
            assert_eq!(short(bare(written)), Some(&whole[..12]), "{written}");
        }
        assert_eq!(short("web-1"), None);
        assert_eq!(short("3fd02a8b6c4"), None);
    }
}
