//! Secrets of every kind, planted in every kind of record: nothing that the program writes holds one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade::ingest::redact::SecretKind;
use palisade::metrics::Metrics;
use palisade::run::{RunOptions, Until};
use palisade::{Config, Plan};
use serde_json::{Value, json};

use crate::support::{number, output, program, rows, text, wrong};

/// What every secret holds, in whatever case.
const PLANTED: &str = "planted";

const RULES: &str = r#"
[[pattern]]
kind = "employee_number"
regex = 'EMP-(?P<secret>[a-z0-9]+)'
needles = ["emp-"]
[[key]]
kind = "pin"
names = ["pin"]
[[path]]
kind = "session"
paths = ["requestObject.spec.sessionKey"]
"#;

/// A text with a secret of each kind that a text can hold.
const TEXTS: &[(&str, &str)] = &[
    ("k8s_secret", r#"kubectl apply '{"kind":"Secret","data":{"a":"plantedK8s"}}'"#),
    ("token", "kubeadm join --token plantedToken.1 x"),
    ("jwt", "log eyJhbGciOiJIUzI1NiJ9.eyJwbGFudGVkIjoxfQ.plantedSignature"),
    ("aws_access_key", "id AKIAPLANTEDKEY000001"),
    ("aws_secret_key", "aws_secret_access_key=plantedAwsSecretKey000000000000"),
    ("github_token", "git clone https://ghp_planted00000000000000000000@example.com/x"),
    ("slack_token", "hook xoxb-planted-1234567890"),
    ("private_key", "-----BEGIN PRIVATE KEY-----\nplantedKeyBody\n-----END PRIVATE KEY-----"),
    ("authorization", "curl -H 'Authorization: Bearer planted1'"),
    ("password", "mysql -u root -pplantedPassword -h db"),
    ("url_password", "psql postgres://bob:plantedUrlPassword@db/x"),
    ("api_key", "api_key=plantedApiKey"),
    ("employee_number", "asked by EMP-plantednumber"),
];

/// All kinds: the built-in ones, and those of the rules.
fn kinds() -> impl Iterator<Item = &'static str> {
    SecretKind::ALL.map(SecretKind::name).into_iter().chain(["employee_number", "pin", "session"])
}

fn audit(number: usize, resource: &str, uri: &str, body: &Value) -> String {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": format!("a{number}"),
        "stage": "ResponseComplete", "verb": "create", "user": {"username": "mallory"}, "requestURI": uri,
        "objectRef": {"resource": resource, "namespace": "shop", "name": "one", "apiVersion": "v1"},
        "responseStatus": {"code": 201}, "requestObject": body, "stageTimestamp": "2026-01-01T00:00:00.000000Z",
    })
    .to_string()
}

/// Records of each source, good ones and broken ones.
fn records() -> BTreeMap<&'static str, Vec<String>> {
    let (mut audits, mut alerts, mut auditd, mut cells) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    cells.push("t,who,what,pin".to_owned());
    for (number, (_, words)) in TEXTS.iter().enumerate() {
        let line = words.replace('\n', " ");
        let uri = format!("/api/v1/namespaces/shop/configmaps?note={}", form(words));
        let applied = json!({"kind": "ConfigMap", "data": {"a": words}}).to_string();
        let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": applied});
        let map = json!({"kind": "ConfigMap", "metadata": {"annotations": annotations}, "data": {"file": words}});
        audits.push(audit(number, "configmaps", &uri, &map));
        audits.push(format!("{{\"note\":{},,}}", json!(words)));
        alerts.push(
            json!({
                "output": words, "priority": "Notice", "rule": "Something ran", "source": "syscall",
                "time": "2026-01-01T00:00:00.000000000Z", "hostname": "n",
                "output_fields": {"proc.cmdline": format!("sh -c {words}"), "evt.time": 1_767_225_600_000_000_000i64},
            })
            .to_string(),
        );
        alerts.push(format!("{{\"output\":{},,}}", json!(words)));
        let stamp = format!("msg=audit(1767225600.001:{}):", number + 10);
        auditd.push(format!(
            "type=SYSCALL {stamp} arch=c000003e syscall=59 success=yes exit=0 ppid=1 pid=2 auid=1000 uid=0 gid=0 \
             comm=\"sh\" exe=\"/bin/sh\" key=\"exec\""
        ));
        auditd.push(format!("type=EXECVE {stamp} argc=3 a0=\"sh\" a1=\"-c\" a2={}", hex(words)));
        auditd.push(format!("type=PROCTITLE {stamp} proctitle={}", hex(&format!("sh\0-c\0{words}"))));
        auditd.push(format!("type=EOE {stamp}"));
        auditd.push(format!("type=EXECVE msg=audit(then): {line}"));
        let cell = format!("\"{}\"", line.replace('"', "\"\""));
        cells.push(format!("2026-01-01T00:00:00Z,sh,{cell},plantedPin"));
        cells.push(format!("no time,sh,{cell},plantedPin"));
        cells.push(format!("2026-01-01T00:00:00Z,{cell}"));
    }
    let body = json!({"kind": "Order", "spec": {"sessionKey": "plantedSession", "pin": ["plantedPin"]}});
    audits.push(audit(100, "orders", "/x", &body));
    let secret = json!({"kind": "Secret", "data": {"a": "plantedData"}, "stringData": {"b": "plantedText"}});
    audits.push(audit(101, "secrets", "/x", &secret));
    let manifest = "kind: Secret\nstringData:\n  a: |\n    plantedYaml\n  b: plantedYaml\n";
    let map = json!({"kind": "ConfigMap", "data": {"manifest": manifest, "DB_SECRET": "plantedVariable"}});
    audits.push(audit(102, "configmaps", "/x", &map));
    let container = json!({
        "args": ["--password", "plantedArgument"],
        "env": [{"name": "API_TOKEN", "value": "plantedVariable"}],
    });
    audits.push(audit(103, "pods", "/x", &json!({"kind": "Pod", "spec": {"containers": [container]}})));
    audits.push("{\"requestObject\":{\"spec\":{\"sessionKey\":\"plantedSession\"},,}".to_owned());
    audits.push("{\"pin\":\"plantedPin\",,}".to_owned());
    BTreeMap::from([("k8s_audit", audits), ("falco", alerts), ("auditd", auditd), ("mapped", cells)])
}

/// A text as clients write it into a query.
fn form(text: &str) -> String {
    let written = |b: u8| match b {
        b' ' => "+".to_owned(),
        b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(written).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02X}")).collect()
}

/// Writes the records, the rules and a configuration; returns the configuration's path.
fn world(folder: &Path) -> PathBuf {
    let quoted = |path: &Path| toml::Value::from(path.display().to_string());
    let (rules, mapping) = (folder.join("redaction.toml"), folder.join("mapping.toml"));
    std::fs::write(&rules, RULES).unwrap();
    std::fs::write(&mapping, "format = \"csv\"\ntime = \"t\"\ncolumns.process_cmd_line = \"what\"\n").unwrap();
    let mut config = format!("[redaction]\nrules = {}\n[lake]\nfsync = false\n", quoted(&rules));
    for (format, records) in records() {
        let path = folder.join(format!("{format}.log"));
        std::fs::write(&path, records.join("\n") + "\n").unwrap();
        config.push_str(&format!(
            "[[source]]\nname = \"{format}\"\nkind = \"files\"\nformat = \"{format}\"\ncluster = \"c\"\npaths = [{}]\n",
            quoted(&path)
        ));
        if format == "mapped" {
            config.push_str(&format!("mapping = {}\n", quoted(&mapping)));
        }
    }
    let path = folder.join("palisade.toml");
    std::fs::write(&path, config).unwrap();
    path
}

fn holds_secret(bytes: &[u8]) -> bool {
    let folded = bytes.to_ascii_lowercase();
    folded.windows(PLANTED.len()).any(|window| window == PLANTED.as_bytes())
}

/// Where in a text a secret stands, with what is around it.
fn found_in(text: &str) -> Option<String> {
    let at = text.to_ascii_lowercase().find(PLANTED)?;
    let (from, to) = (text.floor_char_boundary(at.saturating_sub(200)), text.ceil_char_boundary(at + 100));
    Some(text[from..to].to_owned())
}

/// Files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Every row of every table, as text.
fn tables(lake: &Path) -> String {
    let names = ["events", "findings", "rejects", "coverage", "objects", "decisions", "sources"];
    let all = names.iter().flat_map(|name| rows(lake, &format!("SELECT * FROM {name}")));
    all.map(|row| row.to_string() + "\n").collect()
}

#[test]
fn planted_secrets_are_nowhere_in_lake_logs_metrics_or_rejects() {
    let folder = tempfile::tempdir().unwrap();
    let config = world(folder.path());
    let run = |lake: &Path| {
        let mut command = program();
        command.args(["run", "--json", "--until-caught-up", "--config"]).arg(&config);
        command.env("PALISADE__LAKE__URL", lake).env("PALISADE_LOG", "debug");
        command
    };
    let lake = folder.path().join("lake");
    let out = output(&mut run(&lake));
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(found_in(&text(&out.stderr)), None, "in the logs");
    assert_eq!(found_in(&text(&out.stdout)), None, "in the findings shown");
    assert_eq!(found_in(&tables(&lake)), None, "in a table");
    let mut paths = Vec::new();
    files(&lake, &mut paths);
    assert!(paths.len() > 8);
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        // State is compressed as a whole; Parquet was read above, and here its footers with their statistics.
        let inside = zstd::stream::decode_all(bytes.as_slice()).unwrap_or_default();
        assert!(!holds_secret(&bytes) && !holds_secret(&inside), "{}", path.display());
    }

    // All of it was there: markers stand in its place, in events and rejects, and rules match them.
    for kind in kinds() {
        let holding = format!("WHERE strpos(raw, '<redacted:{kind}>') > 0");
        let marked = |table: &str| number(&lake, &format!("SELECT count(*) FROM {table} {holding}"));
        assert!(marked("events") > 0, "{kind} in events");
        assert!(marked("rejects") > 0, "{kind} in rejects");
    }
    let maps = "SELECT count(*) FROM findings WHERE title = 'Credentials Stored In A ConfigMap'";
    assert_eq!(number(&lake, maps), TEXTS.len() as i64 + 1);

    // Without redaction they are found.
    let bare = folder.path().join("bare");
    let out = output(run(&bare).env("PALISADE__REDACTION__ENABLED", "false"));
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(found_in(&tables(&bare)).is_some());
}

#[test]
fn replaced_secrets_are_counted_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let config = world(folder.path());
    let mut config = Config::load(&config).unwrap();
    config.lake.url = folder.path().join("lake").display().to_string();
    let plan = Plan::new(&config).unwrap();
    let metrics = Arc::new(Metrics::new());
    let options =
        RunOptions { stop: Arc::default(), until: Until::CaughtUp, metrics: Arc::clone(&metrics), sinks: Vec::new() };
    palisade::run::run(&config, &plan, options).unwrap();
    let shown = metrics.encode();
    assert_eq!(found_in(&shown), None);
    for kind in kinds() {
        let line = format!("palisade_secrets_redacted_total{{kind=\"{kind}\"}} ");
        assert!(shown.contains(&line), "{kind}: {shown}");
    }
}

#[test]
fn mistakes_in_rules_of_redaction_are_told_by_config_check() {
    let folder = tempfile::tempdir().unwrap();
    let config = world(folder.path());
    let check = || {
        let mut command = program();
        command.args(["config", "check", "--config"]).arg(&config);
        command
    };
    let before = text(&output(&mut check()).stdout);
    let rules = folder.path().join("redaction.toml");
    std::fs::write(&rules, format!("{RULES}[[keep]]\nregex = 'none'\n")).unwrap();
    let after = text(&output(&mut check()).stdout);
    let print = |said: &str| said.rsplit(' ').next().map(str::to_owned);
    assert_ne!(print(&before), print(&after), "rules decide what is found: {before}{after}");
    std::fs::write(&rules, "\n[[pattern]]\nkind = \"a\"\nregex = '('\n").unwrap();
    let words = wrong(&mut check());
    assert!(words.contains("redaction.toml: line 4: `pattern[0].regex`: unclosed group"), "{words}");
}
