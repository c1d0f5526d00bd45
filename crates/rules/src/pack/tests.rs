//! Packs on disk: what their files do to the rules, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::FieldPlan;
use serde_json::json;

use super::*;
use crate::{JsonEvent, batch_of_json};

/// A folder that is gone when the test is done.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("palisade-rules-{}-{name}", std::process::id()));
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PACK: &str = "name = \"shop\"\nversion = \"1.2.0\"\nattack_version = \"18\"\nrequires = 1\n";
const FIELDS: &str = "\
[[logsource]]\nproduct = [\"shop\"]\nformats = [\"mapped\"]\nmap = \"shop\"\n\
[map.shop.aliases]\nCustomer = [\"actor_user_name\", \"cart.owner\"]\n\
[map.process.aliases]\nShell = [\"process_name\"]\n";
const PLACEHOLDERS: &str = "[placeholders]\nadmins = [\"alice\", \"bob\"]\n";
const RULE: &str = "\
title: Admin Buys\nid: r-1\nlogsource: {product: shop}\n\
detection: {s: {Customer|expand: '%admins%'}, condition: s}\n";
const SHELL: &str = "\
title: Shell\nid: r-2\nlogsource: {category: process_creation}\ndetection: {s: {Shell: sh}, condition: s}\n";
const EXCEPTION: &str = "\
title: Bob tests\nid: e-1\nlogsource: {product: shop}\n\
filter: {rules: [r-1], s: {Customer: bob}, condition: not s}\n\
palisade: {owner: shop, reason: Bob is paid for it, expires: 2030-01-01}\n";

fn whole() -> Vec<(&'static str, &'static str)> {
    vec![
        ("pack.toml", PACK),
        ("fields.toml", FIELDS),
        ("placeholders.toml", PLACEHOLDERS),
        ("rules/a.yml", RULE),
        ("rules/b.yml", SHELL),
        ("exceptions/a.yml", EXCEPTION),
        ("correlations/c.toml", ""),
        ("correlations/README.md", ""),
        ("tests/a.yml", ""),
    ]
}

fn load(root: &Path) -> (RuleSet, Vec<String>) {
    let (set, problems) = RuleSet::load(&[root.to_owned()]).unwrap();
    (set, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_pack_brings_its_map_placeholders_and_exceptions() {
    let folder = Folder::new("whole", &whole());
    let (set, problems) = load(&folder.0);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(set.remarks(), []);
    let [pack] = set.packs() else { panic!("{:?}", set.packs()) };
    assert_eq!((pack.info.name.as_str(), pack.path.as_deref()), ("shop", Some(folder.0.as_path())));
    assert_eq!(pack.correlations(), [folder.0.join("correlations/c.toml")]);
    assert_eq!(pack.tests(), [folder.0.join("tests/a.yml")]);
    assert_eq!(set.rules()[0].version, "1.2.0");

    let plan = Arc::new(FieldPlan::new(set.raw_fields()));
    let engine = set.compile(&plan).unwrap();
    let event = |format: &str, class_uid, columns: serde_json::Value, event| JsonEvent {
        format: format.into(),
        class_uid,
        columns: columns.as_object().cloned().unwrap(),
        event,
    };
    let events = [
        event("mapped", 0, json!({"actor_user_name": "Alice"}), json!({})),
        event("mapped", 0, json!({}), json!({"cart": {"owner": "bob"}})),
        event("mapped", 0, json!({}), json!({"cart": {"owner": "carol"}})),
        event("shop", 0, json!({"actor_user_name": "alice"}), json!({})),
        event("tracee", 1007, json!({"process_name": "sh"}), json!({})),
    ];
    let batch = batch_of_json(&plan, &events).unwrap();
    let findings = engine.findings(&batch, &engine.evaluate(&batch));
    let told: Vec<_> = findings.iter().map(|f| (f.title.as_str(), f.suppressed_by.as_deref())).collect();
    assert_eq!(told, [("Admin Buys", None), ("Admin Buys", Some("e-1")), ("Shell", None)]);
}

#[test]
fn a_pack_file_that_cannot_be_understood_is_told_by_name() {
    for (name, text, part) in [
        ("pack.toml", "name = \"shop\"", "version"),
        ("pack.toml", "name = \"shop\"\nversion = \"1\"\nrequires = 2", "pack format 2"),
        ("fields.toml", "[[logsource]]\nproduct = [\"shop\"]\nmap = \"none\"", "`none`"),
        ("fields.toml", "[map.shop.same]\nverb = \"api_operation\"", "`same`"),
        ("fields.toml", "[maps.shop]", "maps"),
        ("placeholders.toml", "[placeholders]\nadmins = []", "`admins`"),
        ("placeholders.toml", "[placeholders]\nother = [\"x\"]", "`%admins%`"),
        (
            "exceptions/a.yml",
            "title: x\nlogsource: {product: shop}\nfilter: {rules: any, s: {a: b}, condition: not s}",
            "owner",
        ),
        ("exceptions/b.yml", EXCEPTION, "a second exception"),
        ("rules/c.yml", RULE, "a second rule"),
    ] {
        let mut files = whole();
        files.retain(|(known, _)| *known != name);
        files.push((name, text));
        let folder = Folder::new("broken", &files);
        let (_, problems) = load(&folder.0);
        assert!(problems.iter().any(|p| p.contains(part)), "{name}: {problems:?}");
    }
}

#[test]
fn the_fingerprint_holds_all_that_changes_what_rules_mean() {
    let folder = Folder::new("print", &whole());
    let before = load(&folder.0).0.fingerprint();
    assert_eq!(load(&folder.0).0.fingerprint(), before);
    for (name, text) in [
        ("fields.toml", FIELDS.replace("cart.owner", "cart.user")),
        ("placeholders.toml", PLACEHOLDERS.replace("bob", "bert")),
        ("exceptions/a.yml", EXCEPTION.replace("2030", "2031")),
        ("rules/a.yml", RULE.replace("Admin Buys", "Admin Sells")),
    ] {
        let original = fs::read_to_string(folder.0.join(name)).unwrap();
        fs::write(folder.0.join(name), text).unwrap();
        assert_ne!(load(&folder.0).0.fingerprint(), before, "{name}");
        fs::write(folder.0.join(name), original).unwrap();
    }
}

#[test]
fn a_pack_of_exceptions_alone_is_one() {
    let folder = Folder::new("alone", &[("pack.toml", PACK), ("exceptions/a.yml", EXCEPTION)]);
    let (set, problems) = load(&folder.0);
    assert_eq!((set.rules().len(), set.exceptions().len(), problems.len()), (0, 1, 0));
}
