//! Running the program, and reading lakes through its own SQL.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use palisade_drill::{Attack, Drill, Settings, Stream};

/// The program under test.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    for variable in ["PALISADE_LAKE", "PALISADE_CONFIG", "PALISADE_LOG", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs to the end and expects success.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Runs to the end and expects to be told that it was called wrongly; returns what was said.
pub(crate) fn wrong(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

/// Starts in the background, output to files beside the lake.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Rows of a query as JSON objects.
pub(crate) fn rows(lake: &Path, query: &str) -> Vec<serde_json::Value> {
    let out = succeed(program().args(["sql", "--json", "--lake"]).arg(lake).arg(query));
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one number that a query gives.
pub(crate) fn number(lake: &Path, query: &str) -> i64 {
    let rows = rows(lake, query);
    rows[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap()
}

/// Events in a lake; 0 where there is none yet.
pub(crate) fn events(lake: &Path) -> i64 {
    let out = program().args(["sql", "--json", "--lake"]).arg(lake).arg("SELECT count(*) AS n FROM events").output();
    let row = text(&out.unwrap().stdout);
    serde_json::from_str::<serde_json::Value>(row.trim()).ok().and_then(|row| row["n"].as_i64()).unwrap_or(0)
}

/// Waits until a lake holds more events than `before`, which takes as long as it takes; returns how many.
pub(crate) fn wait_for_growth(lake: &Path, before: i64) -> i64 {
    for _ in 0..600 {
        let now = events(lake);
        if now > before {
            return now;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("nothing has landed for minutes: there were {before} events");
}

/// Every finding, whole, by id.
pub(crate) fn findings(lake: &Path) -> BTreeMap<String, String> {
    findings_where(lake, "true")
}

/// The findings that a condition holds for, whole, by id.
pub(crate) fn findings_where(lake: &Path, condition: &str) -> BTreeMap<String, String> {
    let rows = rows(lake, &format!("SELECT * FROM findings WHERE {condition}"));
    let all: BTreeMap<String, String> =
        rows.iter().map(|row| (row["finding_uid"].as_str().unwrap().to_owned(), row.to_string())).collect();
    assert_eq!(all.len(), rows.len(), "a finding is there twice");
    all
}

/// Asserts equality of findings with a message that can be read.
pub(crate) fn same_findings(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    for (uid, row) in left {
        match right.get(uid) {
            None => panic!("only in the first:\n{row}"),
            Some(other) => assert_eq!(row, other, "the same finding with other content"),
        }
    }
    if let Some((_, row)) = right.iter().find(|(uid, _)| !left.contains_key(*uid)) {
        panic!("only in the second:\n{row}");
    }
}

/// A drill with its attack.
pub(crate) fn drill(seed: u64, secs: u64, rate: f64) -> Drill {
    Drill::new(Settings {
        seed,
        duration_secs: secs,
        events_per_sec: rate,
        attacks: vec![Attack::new("stolen-ci-token", secs / 2)],
        ..Settings::default()
    })
    .unwrap()
}

/// Writes a drill's streams as files, one per stream; returns the paths and the records in each.
pub(crate) fn write_drill(folder: &Path, drill: Drill) -> BTreeMap<&'static str, (PathBuf, i64)> {
    let mut files = BTreeMap::new();
    for stream in Stream::USUAL {
        let path = folder.join(format!("{}.log", stream.topic()));
        let file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        files.insert(stream.topic(), (path, file, 0));
    }
    for record in drill {
        let (_, file, count) = files.get_mut(record.stream.topic()).unwrap();
        file.write_all(&record.payload).unwrap();
        file.write_all(b"\n").unwrap();
        *count += 1;
    }
    files
        .into_iter()
        .map(|(topic, (path, mut file, count))| {
            file.flush().unwrap();
            (topic, (path, count))
        })
        .collect()
}
