//! Golden vectors of every id scheme: ids in lakes must never change.

use super::*;

/// Ids are stored for years: these vectors may only change together with the version in the scheme.
#[test]
fn golden_vectors_hold() {
    let kafka = LaneHash::new(&Lane::kafka("audit", "k8s-audit", 3));
    let file = LaneHash::new(&Lane::file("scan", "/var/log/a.log", "f00d", 0));
    let text = |uid: [u8; 32]| String::from_utf8_lossy(&uid).into_owned();
    let seen = [
        text(kafka.event_uid(42, 0)),
        text(kafka.event_uid(42, 1)),
        text(file.event_uid(1, 0)),
        finding_uid("rule", "workload:c/n/w", "2026-01-01T00:00:00Z"),
        group_uid("rule", "workload:c/n/w", "2026-01-01"),
    ];
    assert_eq!(seen.join("\n"), include_str!("golden.txt").trim_end());
}

#[test]
fn renamed_file_keeps_its_event_ids() {
    let before = LaneHash::new(&Lane::file("scan", "audit.log", "f00d", 0));
    let after = LaneHash::new(&Lane::file("scan", "audit.log.1", "f00d", 0));
    let other = LaneHash::new(&Lane::file("scan", "audit.log", "f00d", 1));
    assert_eq!(before.event_uid(7, 0), after.event_uid(7, 0));
    assert_ne!(before.event_uid(7, 0), other.event_uid(7, 0));
}

#[test]
fn parts_do_not_run_into_each_other() {
    assert_ne!(uid("s", &["ab", "c"]), uid("s", &["a", "bc"]));
}
