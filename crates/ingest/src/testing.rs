//! What tests of several formats share: decoding some records, and the public recordings that some tests read where they
//! are.

use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, FieldPlan, Lane, LaneClock};

use crate::decode::{Decoded, Format, Settings, decoder};

/// Decodes records of a channel, whose settings are the usual ones and whose rules ask for the fields of `plan`, and ends
/// the lane.
pub(crate) fn decode(format: &Format, plan: &[&str], records: &[impl AsRef<[u8]>]) -> (EventBatch, Decoded) {
    let plan = Arc::new(FieldPlan::new(plan));
    let settings = Settings { source: "s".into(), plan: Arc::clone(&plan), ..Settings::default() };
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut decoder = decoder(format, Arc::clone(&lane), Arc::new(settings));
    let mut chunk = Chunk::new(lane);
    for (offset, record) in (0..).zip(records) {
        chunk.push(record.as_ref(), offset, None, None);
    }
    let (mut clock, mut out) = (LaneClock::new(Tolerance::default()), Decoded::new(plan));
    decoder.decode(&chunk, &mut clock, &mut out).unwrap();
    decoder.end(&mut clock, &mut out).unwrap();
    (out.events.finish().unwrap(), out)
}

/// The samples of a format, a record each; those that have to be refused are left out.
pub(crate) fn samples(format: &str) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    let read = |ends: &str| std::fs::read_to_string(format!("{folder}/{format}.{ends}"));
    let text = read("ndjson").or_else(|_| read("log")).unwrap_or_default();
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

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
