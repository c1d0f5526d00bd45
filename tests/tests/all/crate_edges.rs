//! The crates know each other as the design says, the heavy libraries are where they belong and there once, and every
//! licence is one we allow.
//!
//! The graph comes from `cargo metadata` itself. The crate that wraps it would turn on a feature of serde_json, and with
//! that `cargo test` would build DataFusion a second time beside what `cargo run` uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

type Graph = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata(flags: &[&str]) -> Value {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(flags)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// What each of our crates depends on, by the names of packages; dev-dependencies are left out.
fn edges() -> Graph {
    let metadata = metadata(&["--no-deps"]);
    let normal = |package: &Value| {
        let kept = items(&package["dependencies"]).iter().filter(|d| d["kind"].is_null());
        kept.map(|d| text(&d["name"]).to_owned()).collect()
    };
    items(&metadata["packages"]).iter().map(|p| (text(&p["name"]).to_owned(), normal(p))).collect()
}

fn ours(edges: &Graph, name: &str) -> BTreeSet<String> {
    let names = edges[name].iter().filter(|dependency| edges.contains_key(*dependency));
    names.map(|dependency| dependency.trim_start_matches("palisade-").to_owned()).collect()
}

#[test]
fn our_crates_know_each_other_as_designed() {
    let edges = edges();
    let stages = ["ingest", "rules", "anomaly", "correlate", "lake", "drill"];
    let all: BTreeSet<String> = ["events", "hunt"].iter().chain(&stages).map(|s| s.to_string()).collect();
    let may: BTreeMap<&str, BTreeSet<String>> = stages
        .iter()
        .map(|stage| (*stage, ["events"].map(String::from).into()))
        .chain([
            ("events", BTreeSet::new()),
            ("hunt", ["events", "lake", "rules", "correlate"].map(String::from).into()),
        ])
        .collect();
    for (name, may) in &may {
        let knows = ours(&edges, &format!("palisade-{name}"));
        assert!(knows.is_subset(may), "{name} knows {knows:?}; it may know {may:?}");
    }
    assert_eq!(ours(&edges, "palisade"), all, "the façade composes all crates");
    for (name, knows) in &edges {
        let may_know_the_facade = ["palisade-tests", "palisade-benches"].contains(&name.as_str());
        assert!(may_know_the_facade || !knows.contains("palisade"), "{name} knows the façade");
    }
}

#[test]
fn heavy_libraries_are_known_only_where_they_belong() {
    // A library, by the beginning of its name, and the crates that may name it.
    let homes: [(&str, &[&str]); 8] = [
        ("datafusion", &["correlate", "hunt", "lake", "palisade", "rules"]),
        ("deltalake", &["lake", "hunt", "palisade"]),
        ("object_store", &["lake", "hunt", "palisade"]),
        ("parquet", &["lake", "hunt", "palisade"]),
        ("rdkafka", &["ingest", "palisade"]),
        ("tokio", &["correlate", "hunt", "lake", "palisade"]),
        ("ndarray", &["anomaly"]),
        ("polars", &["hunt"]),
    ];
    let metadata = metadata(&["--no-deps"]);
    for package in items(&metadata["packages"]) {
        let name = text(&package["name"]).trim_start_matches("palisade-");
        if ["tests", "benches"].contains(&name) {
            continue;
        }
        for dependency in items(&package["dependencies"]).iter().filter(|d| d["kind"].is_null()) {
            let library = text(&dependency["name"]);
            for (beginning, may) in homes {
                assert!(!library.starts_with(beginning) || may.contains(&name), "{name} knows {library}");
            }
            // The lowering of rules to DataFusion is a feature that nobody gets unasked.
            let lowered = name == "rules" && library.starts_with("datafusion");
            assert!(!lowered || dependency["optional"] == true, "rules knows {library} without being asked");
        }
    }
}

/// Every stage knows `events`, so what it knows, everyone who embeds a part of Palisade compiles.
#[test]
fn events_knows_arrow_and_small_libraries_only() {
    let may = ["ahash", "arrow", "blake3", "hashbrown", "serde", "serde_json", "thiserror"];
    let edges = edges();
    let others: Vec<&String> = edges["palisade-events"].iter().filter(|known| !may.contains(&known.as_str())).collect();
    assert!(others.is_empty(), "events knows {others:?}: is each as pure and as small as those in the list?");
}

#[test]
fn pure_crates_reach_no_runtime_and_no_engine() {
    let banned = ["tokio", "datafusion", "rdkafka", "deltalake", "object_store", "reqwest"];
    let metadata = metadata(&["--all-features"]);
    let graph = resolved(&metadata);
    for name in ["palisade-events", "palisade-anomaly", "palisade-drill"] {
        let reached = reached(&graph, name);
        assert!(reached.contains("arrow-array"), "the graph of {name} is cut off: {reached:?}");
        for banned in banned {
            assert!(!reached.contains(banned), "{name} reaches {banned}");
        }
    }
    // Lowering rules to DataFusion is a feature, which hunts ask for; who asks for rules alone gets none of it.
    let reached = reached_alone("palisade-rules");
    assert!(reached.contains("arrow-array"), "the graph of rules is cut off: {reached:?}");
    for banned in banned {
        assert!(!reached.contains(banned), "rules reaches {banned} without being asked");
    }
}

/// What a package reaches that is built by itself, with its default features. Metadata tells features of the whole
/// workspace only.
fn reached_alone(name: &str) -> BTreeSet<String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["tree", "--locked", "--edges", "normal", "--target", "all", "--prefix", "none", "--package", name])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// What each package of a resolved graph depends on, for the features that were resolved.
fn resolved(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let names: BTreeMap<&str, &str> =
        items(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in items(&metadata["resolve"]["nodes"]) {
        let normal = |dependency: &&Value| items(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let reached = items(&node["deps"]).iter().filter(normal).map(|dependency| names[text(&dependency["pkg"])]);
        graph.entry(names[text(&node["id"])]).or_default().extend(reached);
    }
    graph
}

fn reached<'m>(graph: &BTreeMap<&'m str, Vec<&'m str>>, name: &'m str) -> BTreeSet<&'m str> {
    let mut seen = BTreeSet::from([name]);
    let mut open = vec![name];
    while let Some(next) = open.pop() {
        open.extend(graph.get(next).into_iter().flatten().copied().filter(|found| seen.insert(*found)));
    }
    seen
}

/// What `deny.toml` tells cargo-deny, held here as well, since not everyone who runs the tests has cargo-deny.
#[test]
fn libraries_are_there_once_and_under_allowed_licences() {
    let deny: toml::Table = std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let list = |section: &str, key: &str| deny[section][key].as_array().unwrap().clone();
    let allowed: BTreeSet<String> =
        list("licenses", "allow").iter().map(|licence| licence.as_str().unwrap().to_owned()).collect();
    let once: BTreeSet<String> =
        list("bans", "deny").iter().map(|ban| ban["crate"].as_str().unwrap().to_owned()).collect();
    assert!(once.is_superset(&["arrow", "datafusion", "parquet", "object_store"].map(String::from).into()));

    let metadata = metadata(&["--all-features"]);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in items(&metadata["packages"]) {
        let (name, licence) = (text(&package["name"]), text(&package["license"]));
        versions.entry(name).or_default().insert(text(&package["version"]));
        assert!(permits(licence, &allowed), "{name} is under {licence}");
        let source = package["source"].as_str();
        assert!(source.is_none_or(|s| s.starts_with("registry+")), "{name} is a fork or a patch: {source:?}");
    }
    for name in once {
        let found = &versions[name.as_str()];
        assert_eq!(found.len(), 1, "{name} is there as {found:?}");
    }
}

/// Whether an SPDX expression lets us choose allowed licences only. An OR needs one side, an AND both; `/` is an old OR.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+WITH+");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (permitted, rest) = either(&tokens, allowed);
    assert!(rest.is_empty(), "{expression} is no licence expression");
    permitted
}

fn either<'t>(tokens: &'t [&'t str], allowed: &BTreeSet<String>) -> (bool, &'t [&'t str]) {
    let (mut permitted, mut rest) = both(tokens, allowed);
    while let ["OR", more @ ..] = rest {
        let (other, after) = both(more, allowed);
        (permitted, rest) = (permitted | other, after);
    }
    (permitted, rest)
}

fn both<'t>(tokens: &'t [&'t str], allowed: &BTreeSet<String>) -> (bool, &'t [&'t str]) {
    let (mut permitted, mut rest) = licence(tokens, allowed);
    while let ["AND", more @ ..] = rest {
        let (other, after) = licence(more, allowed);
        (permitted, rest) = (permitted & other, after);
    }
    (permitted, rest)
}

fn licence<'t>(tokens: &'t [&'t str], allowed: &BTreeSet<String>) -> (bool, &'t [&'t str]) {
    match tokens {
        ["(", inner @ ..] => {
            let (permitted, rest) = either(inner, allowed);
            let [")", rest @ ..] = rest else { panic!("a bracket is not closed in {tokens:?}") };
            (permitted, rest)
        }
        [name, rest @ ..] => (allowed.contains(&name.replace("+WITH+", " WITH ")), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn licence_expressions_are_read() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    for (expression, permitted) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(permits(expression, &allowed), permitted, "{expression}");
    }
}
