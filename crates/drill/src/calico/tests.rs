//! Which ends report a connection, when, and what they count.

use serde_json::{Value, json};

use super::*;
use crate::act::{Login, Place, Terminal};
use crate::random::Random;
use crate::record::Record;
use crate::settings::{MONDAY_MORNING, Settings};

fn scene() -> (Cluster, Wire) {
    let settings = Settings { streams: vec![Stream::Calico], ..Settings::default() };
    let mut random = Random::new(7);
    let cluster = Cluster::new(&settings, &mut random);
    let wire = Wire::new(&settings, random, cluster.nodes.len());
    (cluster, wire)
}

fn sent(wire: &mut Wire) -> Vec<(Record, Value)> {
    let records = std::iter::from_fn(|| wire.delivered(Micros::MAX));
    let read = |record: Record| (serde_json::from_slice(&record.payload).unwrap(), record);
    let mut sent: Vec<_> = records.map(read).map(|(flow, record): (Value, _)| (record, flow)).collect();
    // The source's first.
    sent.sort_by_key(|(_, flow)| flow["reporter"] == "dst");
    sent
}

fn connect<'e>(from: End<'e>, to: End<'e>) -> Connect<'e> {
    Connect {
        from,
        to,
        source_port: 40_112,
        port: 5_432,
        transport: Transport::Tcp,
        verdict: Verdict::Forwarded,
        bytes_sent: 2_900,
        bytes_received: 14_000,
        count: 1,
        lasts: 30_000,
        by: None,
    }
}

fn pods(cluster: &Cluster) -> (&Pod, &Pod) {
    let web = cluster.pods.iter().find(|pod| pod.workload == "web").unwrap();
    (web, cluster.pods.iter().find(|pod| pod.workload == "db").unwrap())
}

#[test]
fn both_ends_report_the_same_connection_at_the_end_of_its_interval() {
    let (cluster, mut wire) = scene();
    let (web, db) = pods(&cluster);
    let at = MONDAY_MORNING + 7 * SECOND + 1;
    wire.calico_connect(&cluster, at, &connect(End::Pod(web), End::Pod(db)), None);
    let sent = sent(&mut wire);
    let [(first, source), (second, target)] = &sent[..] else { panic!("{} records", sent.len()) };
    let secs = MONDAY_MORNING / SECOND;
    for (record, flow) in &sent {
        assert_eq!(record.time, (secs + 15) * SECOND);
        assert_eq!((&flow["start_time"], &flow["end_time"]), (&json!(secs), &json!(secs + 15)));
        assert_eq!((&flow["source_name"], &flow["dest_name"]), (&json!(web.name), &json!(db.name)));
        assert_eq!((&flow["dest_name_aggr"], &flow["dest_service_name"]), (&json!("db-*"), &json!("db")));
        assert_eq!(flow["@timestamp"], (secs + 15) * 1_000);
    }
    assert_eq!((&first.key, &second.key), (&cluster.nodes[web.node].name, &cluster.nodes[db.node].name));
    assert_eq!((&source["bytes_out"], &source["bytes_in"]), (&json!(2_900), &json!(14_000)));
    assert_eq!((&target["bytes_out"], &target["bytes_in"]), (&json!(14_000), &json!(2_900)));
    assert_eq!(source["packets_in"], target["packets_out"]);
}

#[test]
fn ends_report_where_they_are_watched_and_policies_deny_at_one() {
    let (cluster, mut wire) = scene();
    let (web, db) = pods(&cluster);
    let (web, db) = (End::Pod(web), End::Pod(db));
    let outside = End::Outside { ip: "203.0.113.9", name: "api.example" };
    let private = End::Outside { ip: "10.40.0.2", name: "" };
    let cases: [(End<'_>, End<'_>, Verdict, &[&str]); 8] = [
        (web, outside, Verdict::Forwarded, &["src allow wep-net pub"]),
        (web, private, Verdict::Forwarded, &["src allow wep-net pvt"]),
        (web, End::ApiServer, Verdict::Forwarded, &["src allow wep-net pvt"]),
        (outside, web, Verdict::Forwarded, &["dst allow net-wep web"]),
        (End::Node(0), web, Verdict::Forwarded, &["src allow hep-wep web", "dst allow hep-wep web"]),
        (web, outside, Verdict::Dropped, &["src deny wep-net pub"]),
        (web, db, Verdict::Dropped, &["src allow wep-wep db", "dst deny wep-wep db"]),
        (outside, End::ApiServer, Verdict::Forwarded, &[]),
    ];
    for (from, to, verdict, expected) in cases {
        wire.calico_connect(&cluster, MONDAY_MORNING, &Connect { verdict, ..connect(from, to) }, None);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told: Vec<String> = sent(&mut wire)
            .iter()
            .map(|(_, flow)| {
                let [reporter, action, from, to, name] =
                    ["reporter", "action", "source_type", "dest_type", "dest_name_aggr"].map(|key| text(&flow[key]));
                let name = name.split('-').next().unwrap_or_default().to_owned();
                assert!(text(&flow["policies"]["enforced_policies"][0]).contains(&format!("|{action}|")));
                assert!(verdict == Verdict::Forwarded || flow["bytes_in"] == 0 || flow["bytes_out"] == 0);
                format!("{reporter} {action} {from}-{to} {name}")
            })
            .collect();
        assert_eq!(told, expected);
    }
}

#[test]
fn several_connections_have_no_source_port_and_one_knows_its_process() {
    let (cluster, mut wire) = scene();
    let (web, _) = pods(&cluster);
    let by = Process {
        place: Place::Pod(web),
        pid: 4_711,
        exe: "/usr/bin/curl",
        argv: &["curl", "-d", "a\"b"],
        cwd: "/",
        uid: 0,
        login: Login::None,
        terminal: Terminal::None,
        parent: Wire::shim(web, MONDAY_MORNING),
        started: MONDAY_MORNING,
    };
    let to = End::Outside { ip: "203.0.113.9", name: "api.example" };
    let one = Connect { by: Some(by), ..connect(End::Pod(web), to) };
    wire.calico_connect(&cluster, MONDAY_MORNING, &one, None);
    wire.calico_connect(&cluster, MONDAY_MORNING, &Connect { count: 9, lasts: 60 * SECOND, ..one }, None);
    let sent = sent(&mut wire);
    let [(_, one), (_, nine)] = &sent[..] else { panic!("{} records", sent.len()) };
    assert_eq!((&one["source_port"], &nine["source_port"]), (&json!(40_112), &Value::Null));
    assert_eq!((&one["num_flows"], &one["num_flows_completed"]), (&json!(1), &json!(1)));
    assert_eq!((&nine["num_flows"], &nine["num_flows_completed"]), (&json!(9), &json!(0)));
    assert_eq!((&one["process_name"], &one["process_id"]), (&json!("/usr/bin/curl"), &json!("4711")));
    assert_eq!(one["process_args"], json!(["curl -d a\"b"]));
    assert_eq!(one["dest_domains"], json!(["api.example"]));
}
