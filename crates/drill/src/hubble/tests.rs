//! Which flows a connection leaves on which nodes, and what they say.

use serde_json::Value;

use super::*;
use crate::act::{Connect, End};
use crate::cluster::Pod;
use crate::random::Random;
use crate::settings::{MONDAY_MORNING, Settings};

fn scene() -> (Cluster, Wire) {
    let settings = Settings { streams: vec![Stream::Hubble], ..Settings::default() };
    let mut random = Random::new(7);
    let cluster = Cluster::new(&settings, &mut random);
    let wire = Wire::new(&settings, random, cluster.nodes.len());
    (cluster, wire)
}

fn on(cluster: &Cluster, node: usize) -> Vec<&Pod> {
    cluster.pods.iter().filter(|pod| pod.node == node).collect()
}

/// What was sent, by node.
fn sent(wire: &mut Wire) -> Vec<(String, Value)> {
    let records = std::iter::from_fn(|| wire.delivered(Micros::MAX));
    records.map(|record| (record.key, serde_json::from_slice(&record.payload).unwrap())).collect()
}

fn connect<'e>(from: End<'e>, to: End<'e>) -> Connect<'e> {
    Connect {
        from,
        to,
        source_port: 40_112,
        port: 5_432,
        transport: Transport::Tcp,
        verdict: Verdict::Forwarded,
        bytes_sent: 900,
        bytes_received: 4_000,
        count: 1,
        lasts: 30_000,
        by: None,
    }
}

#[test]
fn the_first_packet_is_seen_where_it_leaves_and_where_it_arrives() {
    let (cluster, mut wire) = scene();
    let (here, there) = (on(&cluster, 0), on(&cluster, 1));
    let (own, neighbour, remote) = (End::Pod(here[0]), End::Pod(here[1]), End::Pod(there[0]));
    let outside = End::Outside { ip: "203.0.113.9", name: "api.example" };
    let cases: [(End<'_>, End<'_>, &[&str]); 9] = [
        (own, remote, &["worker-1 EGRESS TO_STACK", "worker-2 INGRESS TO_ENDPOINT"]),
        (own, neighbour, &["worker-1 EGRESS ", "worker-1 INGRESS TO_ENDPOINT"]),
        (own, outside, &["worker-1 EGRESS TO_STACK"]),
        (own, End::ApiServer, &["worker-1 EGRESS TO_STACK"]),
        (own, End::Node(1), &["worker-1 EGRESS TO_STACK", "worker-2 INGRESS FROM_NETWORK"]),
        (End::Node(0), own, &["worker-1 INGRESS TO_ENDPOINT"]),
        (End::Node(1), own, &["worker-2 EGRESS TO_NETWORK", "worker-1 INGRESS TO_ENDPOINT"]),
        (outside, own, &["worker-1 INGRESS TO_ENDPOINT"]),
        (outside, End::ApiServer, &[]),
    ];
    for (nth, (from, to, expected)) in cases.into_iter().enumerate() {
        wire.hubble_connect(&cluster, MONDAY_MORNING, &connect(from, to), None);
        let sent = sent(&mut wire);
        let is_first = |event: &Value| {
            let flags = &event["flow"]["l4"]["TCP"]["flags"];
            flags["SYN"] == true && flags["ACK"].is_null()
        };
        let mut seen: Vec<String> = sent
            .iter()
            .filter(|(_, event)| is_first(event))
            .map(|(node, event)| {
                let flow = &event["flow"];
                assert_eq!((&flow["node_name"], &event["time"]), (&event["node_name"], &flow["time"]));
                let point = flow["trace_observation_point"].as_str().unwrap_or_default();
                format!("{node} {} {point}", flow["traffic_direction"].as_str().unwrap())
            })
            .collect();
        let mut expected: Vec<&str> = expected.to_vec();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "case {nth}");
    }
}

#[test]
fn what_is_dropped_is_told_once_with_its_reason() {
    let (cluster, mut wire) = scene();
    let (own, remote) = (End::Pod(on(&cluster, 0)[0]), End::Pod(on(&cluster, 1)[0]));
    let outside = End::Outside { ip: "203.0.113.9", name: "api.example" };
    for (from, to, node, direction) in [
        (own, remote, "worker-2", "INGRESS"),
        (own, outside, "worker-1", "EGRESS"),
        (outside, own, "worker-1", "INGRESS"),
    ] {
        wire.hubble_connect(
            &cluster,
            MONDAY_MORNING,
            &Connect { verdict: Verdict::Dropped, ..connect(from, to) },
            None,
        );
        let sent = sent(&mut wire);
        assert_eq!(sent.len(), 1);
        let (key, event) = &sent[0];
        let flow = &event["flow"];
        assert_eq!((key.as_str(), &flow["traffic_direction"]), (node, &direction.into()));
        assert_eq!((&flow["verdict"], &flow["drop_reason_desc"]), (&"DROPPED".into(), &"POLICY_DENIED".into()));
    }
}

#[test]
fn many_connections_are_told_of_by_a_few_and_answers_swap_the_ends() {
    let (cluster, mut wire) = scene();
    let pod = on(&cluster, 0)[0];
    let to = End::Outside { ip: "203.0.113.9", name: "api.example" };
    let many = Connect { count: 5_000, ..connect(End::Pod(pod), to) };
    let mut answers = 0;
    for _ in 0..40 {
        wire.hubble_connect(&cluster, MONDAY_MORNING, &many, None);
        let sent = sent(&mut wire);
        let firsts = sent.iter().filter(|(_, event)| event["flow"]["Summary"] == "TCP Flags: SYN").count();
        assert_eq!(firsts, 3);
        for (_, event) in sent.iter().filter(|(_, event)| event["flow"]["is_reply"] == true) {
            answers += 1;
            let flow = &event["flow"];
            assert_eq!(flow["IP"]["source"], "203.0.113.9");
            assert_eq!(flow["source"]["labels"][0], "reserved:world");
            assert_eq!((&flow["source_names"][0], &flow["destination_names"]), (&"api.example".into(), &Value::Null));
            assert_eq!(flow["destination"]["pod_name"], pod.name);
            assert_eq!(
                (&flow["l4"]["TCP"]["source_port"], &flow["traffic_direction"]),
                (&5_432.into(), &"EGRESS".into())
            );
        }
    }
    assert!((20..60).contains(&answers), "{answers}");
}

#[test]
fn lookups_have_a_question_and_an_answer() {
    let (cluster, mut wire) = scene();
    let from = on(&cluster, 0)[0];
    let cases: [(&str, &str, &[&str], u64, &str); 4] = [
        ("web.shop.svc.cluster.local", "A", &["10.96.4.7"], 0, r#"{"ips":["10.96.4.7"],"rrtypes":["A"]}"#),
        ("api.example", "AAAA", &[], 0, r#"{"ttl":4294967295}"#),
        ("api.example.shop.svc.cluster.local", "A", &[], 3, r#"{"ttl":4294967295,"rcode":3}"#),
        // What a text says, no proxy tells.
        ("q\"uoted.example", "TXT", &["c2VjcmV0"], 0, r#"{"ips":null,"rrtypes":["TXT"]}"#),
    ];
    for (name, kind, answers, rcode, expected) in cases {
        wire.hubble_lookup(&cluster, MONDAY_MORNING, &Lookup { from, name, kind, answers, rcode }, None);
        let sent = sent(&mut wire);
        let [(_, asked), (_, answered)] = &sent[..] else { panic!("{} records", sent.len()) };
        let (question, answer) = (&asked["flow"]["l7"], &answered["flow"]["l7"]);
        assert_eq!((&question["type"], &answer["type"]), (&"REQUEST".into(), &"RESPONSE".into()));
        for message in [question, answer] {
            assert_eq!(message["dns"]["query"], format!("{name}."));
            assert_eq!(message["dns"]["qtypes"][0], kind);
        }
        assert_eq!(asked["flow"]["source"], answered["flow"]["destination"]);
        assert_eq!(answered["flow"]["is_reply"], true);
        let expected: Value = serde_json::from_str(expected).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&answer["dns"][key], value, "{name} {key}");
        }
    }
}

#[test]
fn lost_events_are_told_of_unless_there_are_none() {
    let (cluster, mut wire) = scene();
    wire.hubble_lost(&cluster, MONDAY_MORNING, 2, 0);
    wire.hubble_lost(&cluster, MONDAY_MORNING, 2, 1_532);
    wire.hubble_lost(&cluster, MONDAY_MORNING, 99, 5);
    let sent = sent(&mut wire);
    let [(key, event)] = &sent[..] else { panic!("{} records", sent.len()) };
    assert_eq!((key.as_str(), &event["node_name"]), ("worker-3", &"worker-3".into()));
    assert_eq!(event["lost_events"]["num_events_lost"], "1532");
}
