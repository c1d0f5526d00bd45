//! Rules that change under a run: the new ones judge what comes after, also by fields that no rule asked for before, and
//! what does not load changes nothing.

use super::*;

const FIRST: &str = "title: Secrets read\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: kubernetes, service: audit}\n\
    detection:\n  s: {verb: get, objectRef.resource: secrets}\n  condition: s\n";
/// Reads a path of the payload that the first does not.
const SECOND: &str = "title: Answered by a hook\nid: 22222222-2222-4222-8222-222222222222\n\
    logsource: {product: kubernetes, service: audit}\n\
    detection:\n  s: {annotations.hook: 'yes'}\n  condition: s\n";
const BROKEN: &str = "title: Broken\nlogsource: {product: kubernetes}\ndetection:\n  s: {verb: get}\n  condition: t\n";

fn record(number: u64) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{number:032x}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/prod/secrets/db","verb":"get","user":{{"username":"alice"}},"objectRef":{{"resource":"secrets","namespace":"prod","name":"db"}},"responseStatus":{{"code":200}},"stageTimestamp":"2026-01-01T00:00:{:02}.000000Z","annotations":{{"hook":"yes"}}}}"#,
        number % 60
    )
}

/// Waits for something that other threads bring about.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited half a minute for this: {what}");
}

#[test]
fn rules_that_change_judge_what_comes_after_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, lake) = (folder.path().join("rules"), folder.path().join("lake"));
    std::fs::create_dir(&rules).unwrap();
    let write = |text: &str| std::fs::write(rules.join("rule.yml"), text).unwrap();
    write(FIRST);
    let text = format!(
        "[lake]\nurl = '{}'\ncommit_interval_secs = 0.1\n[rules]\nstarter = false\npaths = ['{}']\nreload_secs = 0.05\n\
         [correlate]\nstarter = false\n[anomaly]\nevent_rate_off = true\nfirst_seen_off = true\n\
         [[source]]\nname = 'audit'\nkind = 'channel'\nformat = 'k8s_audit'\n",
        lake.display(),
        rules.display()
    );
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    let plan = Plan::new(&config).unwrap();
    let (mut senders, source) = channel("audit", &["one"]);
    let sender = senders.pop().unwrap();
    let metrics = Arc::new(Metrics::default());
    let options = RunOptions {
        stop: Arc::default(),
        until: Until::Stopped,
        metrics: Arc::clone(&metrics),
        sinks: vec![Box::new(Kept::default())],
    };
    let (plan_then, config_then) = (plan.clone(), config.clone());
    let run = std::thread::Builder::new()
        .spawn(move || run_with(&config_then, &plan_then, options, vec![Box::new(source)]))
        .unwrap();
    let send = |number: u64| {
        sender.begin().unwrap();
        sender.send(record(number).as_bytes()).unwrap();
        sender.wait_landed(number as i64).unwrap();
    };
    let shows = |words: &str| metrics.encode().contains(words);
    send(0);
    write(BROKEN);
    wait_until("the broken rule is refused", || shows(r#"rule_reloads_total{outcome="refused"} 1"#));
    assert!(metrics.health().degraded["rules"].contains("Broken"));
    send(1);
    write(SECOND);
    wait_until("the second rule is taken", || shows(r#"rule_reloads_total{outcome="taken"} 1"#));
    assert!(!metrics.health().degraded.contains_key("rules"));
    send(2);
    drop(sender);
    run.join().unwrap().unwrap();
    let found = rows(&lake, "SELECT title FROM findings ORDER BY time");
    let title =
        |row: &String| serde_json::from_str::<serde_json::Value>(row).unwrap()["title"].as_str().map(str::to_owned);
    let titles: Vec<String> = found.iter().filter_map(title).collect();
    assert_eq!(titles, ["Secrets read", "Secrets read", "Answered by a hook"]);
    let decisions = rows(&lake, "SELECT detail FROM decisions WHERE kind = 'rules'");
    assert_eq!(decisions.len(), 1, "{decisions:?}");
}
