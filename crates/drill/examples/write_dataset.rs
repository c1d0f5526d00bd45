//! Writes the data set `small-drill` into a folder: `cargo run --release -p palisade-drill --example write_dataset --
//! datasets/small-drill`. The streams are compressed, the truth is not.

use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, GzBuilder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(folder) = std::env::args().nth(1) else {
        return Err("usage: write_dataset FOLDER".into());
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for (name, bytes) in palisade_drill::dataset::files(palisade_drill::dataset::small_drill())? {
        // What people read, and what makes the rest again, stays as it is.
        if !name.ends_with(".ndjson") && !name.ends_with(".log") {
            std::fs::write(folder.join(name), &bytes)?;
            continue;
        }
        // No time and no name in the header, so that the file depends on nothing but its content.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        std::fs::write(folder.join(format!("{name}.gz")), gzip.finish()?)?;
    }
    Ok(())
}
