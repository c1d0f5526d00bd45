//! `palisade scan` over recordings of real systems, each folder whole: every record is decoded, or rejected with a stated
//! reason. What comes of each is a snapshot, `recordings.txt`; `PALISADE_WRITE_SNAPSHOTS=1` writes it anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::support::{program, rows, succeed};

const FOLDERS: [&str; 11] = [
    "audit2rbac",
    "auditd",
    "calico_flow",
    "cloudtrail",
    "docker",
    "falco",
    "hubble",
    "k8s_audit",
    "kubearmor",
    "tetragon",
    "tracee",
];

/// Folders that mostly hold other things than records.
const MIXED: [&str; 2] = ["kubehound", "registry"];

fn data() -> Option<PathBuf> {
    let set = std::env::var_os("PALISADE_SHARED").map(PathBuf::from);
    let promised = set.is_some();
    let root = set.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into()).join("data");
    assert!(root.is_dir() || !promised, "PALISADE_SHARED is set, but has no data");
    if !root.is_dir() {
        eprintln!("not run: no shared data");
    }
    root.is_dir().then_some(root)
}

fn told(lake: &Path, query: &str) -> String {
    let mut lines: Vec<String> = rows(lake, query)
        .iter()
        .map(|row| {
            let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            row.as_object().unwrap().values().map(text).collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    lines.iter().fold(String::new(), |mut all, line| {
        writeln!(all, "  {line}").unwrap();
        all
    })
}

#[test]
fn every_record_of_every_folder_is_decoded_or_rejected_with_a_reason() {
    let Some(data) = data() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut seen = String::new();
    for folder in FOLDERS.into_iter().chain(MIXED) {
        let lake = scratch.path().join(folder);
        let out = succeed(program().args(["scan", "--json"]).arg(data.join(folder)).arg("--lake").arg(&lake));
        assert!(!out.contains("panicked"), "{folder}: {out}");
        writeln!(seen, "{folder}").unwrap();
        for (what, query) in [
            ("events", "SELECT format, class_uid, count(*) AS n FROM events GROUP BY 1, 2"),
            ("rejects", "SELECT reason, count(*) AS n FROM rejects GROUP BY 1"),
            ("coverage", "SELECT kind, count(*) AS n FROM coverage GROUP BY 1"),
            ("objects", "SELECT kind, count(*) AS n FROM objects GROUP BY 1"),
        ] {
            let lines = told(&lake, query);
            if !lines.is_empty() {
                write!(seen, " {what}\n{lines}").unwrap();
            }
        }
        // A reason is a word of ours, and says more in its detail.
        let reasons = rows(&lake, "SELECT reason, detail FROM rejects");
        for reject in &reasons {
            let (reason, detail) = (reject["reason"].as_str().unwrap(), reject["detail"].as_str().unwrap());
            assert!(reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{reason}");
            assert!(!detail.is_empty(), "{reason}");
        }
    }
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/recordings.txt");
    if std::env::var_os("PALISADE_WRITE_SNAPSHOTS").is_some() {
        std::fs::write(&stored, &seen).unwrap();
    }
    let expected = std::fs::read_to_string(&stored).unwrap_or_default();
    assert!(expected == seen, "counts differ from {}:\n{seen}", stored.display());
}
