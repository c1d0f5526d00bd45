//! Public recordings that some tests read where they are: see [`shared`].

use std::path::PathBuf;

/// A part of the public data, in `data` below `PALISADE_SHARED` or else beside the project. A test that needs it is not
/// run on a machine that has none; but where the variable is set, it promises the data.
pub(crate) fn shared(part: &str) -> Option<PathBuf> {
    let set = std::env::var_os("PALISADE_SHARED").map(PathBuf::from);
    let promised = set.is_some();
    let root = set.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into());
    let path = root.join("data").join(part);
    assert!(path.exists() || !promised, "PALISADE_SHARED is set, but lacks {}", path.display());
    if !path.exists() {
        eprintln!("not run: no shared data");
    }
    path.exists().then_some(path)
}
