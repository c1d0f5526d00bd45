//! Manifests and chunks, whole and damaged.

use super::*;
use crate::Lake;
use crate::testing::{Disk, URL};

fn manifest(cut: i64, pieces: &[(&str, &str)]) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        job: "a job/with a name".into(),
        cut,
        epoch: 1,
        frontier_us: None,
        lanes: BTreeMap::new(),
        config_fingerprint: "c".into(),
        pieces: pieces.iter().map(|(name, hash)| ((*name).into(), (*hash).into())).collect(),
        accounting: serde_json::json!({ "z": 0.1, "a": [1, null] }),
        created_us: 5,
    }
}

async fn store(disk: &Disk) -> StateStore {
    Lake::open(URL, disk.options()).await.unwrap().state("a job/with a name")
}

#[tokio::test]
async fn the_newest_whole_manifest_is_the_state() {
    let disk = Disk::default();
    let state = store(&disk).await;
    assert_eq!(state.newest_manifest().await.unwrap(), None);
    let one = state.put_chunk(b"one".to_vec()).await.unwrap();
    let two = state.put_chunk(b"two".to_vec()).await.unwrap();
    let (first, second) = (manifest(1, &[("p", &one)]), manifest(2, &[("p", &two)]));
    state.put_manifest(&first).await.unwrap();
    state.put_manifest(&second).await.unwrap();
    assert_eq!(store(&disk).await.newest_manifest().await.unwrap(), Some(second));

    type Damage = fn(&StateStore) -> (Path, PutPayloadText);
    type PutPayloadText = Option<&'static str>;
    let damages: [(&str, Damage); 5] = [
        ("a chunk is gone", |s| (s.chunks.clone().join(hash_of(b"two")), None)),
        ("a chunk is cut", |s| (s.chunks.clone().join(hash_of(b"two")), Some("tw"))),
        ("a manifest is empty", |s| (s.manifest_path(2), Some(""))),
        ("a manifest is cut", |s| (s.manifest_path(2), Some("{\"version\":1,"))),
        ("a manifest was edited", |s| (s.manifest_path(2), Some("{}\n{\"hash\":\"0\"}"))),
    ];
    for (name, damage) in damages {
        let (path, content) = damage(&state);
        let before = state.store.get(&path).await.unwrap().bytes().await.unwrap();
        match content {
            Some(text) => drop(state.store.put(&path, text.into()).await.unwrap()),
            None => state.store.delete(&path).await.unwrap(),
        }
        assert_eq!(state.newest_manifest().await.unwrap(), Some(first.clone()), "{name}");
        state.store.put(&path, before.into()).await.unwrap();
    }
    for cut in [1, 2] {
        state.store.put(&state.manifest_path(cut), "".into()).await.unwrap();
    }
    let lost = state.newest_manifest().await.unwrap_err().to_string();
    assert!(lost.contains("cut 2"), "to begin anew would be to forget: {lost}");
}

#[tokio::test]
async fn a_cut_number_is_taken_once() {
    let disk = Disk::default();
    let state = store(&disk).await;
    state.put_manifest(&manifest(7, &[])).await.unwrap();
    state.put_manifest(&manifest(7, &[])).await.unwrap();
    let other = Manifest { epoch: 2, ..manifest(7, &[]) };
    assert!(matches!(state.put_manifest(&other).await, Err(Error::State { .. })));
}

#[tokio::test]
async fn pruning_keeps_two_manifests_and_their_chunks() {
    let disk = Disk::default();
    let state = store(&disk).await;
    let shared = state.put_chunk(b"shared".to_vec()).await.unwrap();
    for cut in 1..=4 {
        let own = state.put_chunk(format!("own {cut}").into_bytes()).await.unwrap();
        state.put_manifest(&manifest(cut, &[("own", &own), ("shared", &shared)])).await.unwrap();
    }
    assert_eq!(state.prune().await.unwrap(), 4);
    assert_eq!(state.cuts().await.unwrap(), [3, 4]);
    assert_eq!(state.newest_manifest().await.unwrap().unwrap().cut, 4);
    assert_eq!(state.chunk(&shared).await.unwrap(), b"shared");
    assert!(state.chunk(&hash_of(b"own 1")).await.is_err());
    // A chunk that was pruned is stored again when it is needed again.
    state.put_chunk(b"own 1".to_vec()).await.unwrap();
    assert_eq!(state.chunk(&hash_of(b"own 1")).await.unwrap(), b"own 1");
    assert_eq!(jobs_of(&disk).await, ["a job/with a name"]);
}

async fn jobs_of(disk: &Disk) -> Vec<String> {
    let lake = Lake::open(URL, disk.options()).await.unwrap();
    jobs(&lake.root).await.unwrap().into_iter().collect()
}

/// What version 2 of the format looks like. Written once; only another version may need another one.
const FIXTURE: &str = include_str!("../../testdata/manifest_v2.txt");

#[test]
fn the_stored_format_is_read_and_its_damaged_twins_are_refused() {
    let lane = LaneState {
        lane: Lane::kafka("audit", "k8s-audit", 3),
        next_offset: 42,
        chunk: Some("00".into()),
        config_fingerprint: "f".into(),
    };
    let lanes = BTreeMap::from([("audit/k8s-audit/3".to_owned(), lane)]);
    let written = Manifest { lanes, frontier_us: Some(7), ..manifest(2, &[("detector/shared", "11")]) };
    assert_eq!(seal(&written).unwrap(), FIXTURE);
    assert_eq!(unseal(FIXTURE.as_bytes()), Ok(written));
    let twin = |from: &str, to: &str| unseal(FIXTURE.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert!(twin("\"next_offset\":42", "\"next_offset\":41").contains("hash"));
    // A whole manifest of another version, whatever its fields are, is refused by its version.
    let other = "{\"version\":1,\"job\":\"j\"}";
    let hash = id::content_hash("palisade.manifest.v1", other.as_bytes());
    let refused = unseal(format!("{other}\n{{\"hash\":\"{hash}\"}}\n").as_bytes()).unwrap_err();
    assert!(refused.contains("version 1"), "{refused}");
}
