//! The data set that ships can be made again, byte for byte.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::path::Path;

use palisade_drill::dataset;

#[test]
fn shipped_data_set_is_what_its_settings_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/small-drill");
    let mut size = 0;
    for (name, expected) in dataset::files(dataset::small_drill()).unwrap() {
        let compressed = folder.join(format!("{name}.gz"));
        let mut shipped = Vec::new();
        if compressed.exists() {
            let file = std::fs::File::open(&compressed).unwrap();
            size += file.metadata().unwrap().len();
            flate2::read::GzDecoder::new(file).read_to_end(&mut shipped).unwrap();
        } else {
            shipped = std::fs::read(folder.join(name)).unwrap();
            size += shipped.len() as u64;
        }
        assert!(!expected.is_empty());
        assert!(
            shipped == expected,
            "{name} differs: run `cargo run --release -p palisade-drill --example write_dataset -- datasets/small-drill`"
        );
    }
    assert!(size < 4_000_000, "{size} bytes");
}
