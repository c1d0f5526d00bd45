//! Who talks to whom in clusters of any shape, and how much.

use std::collections::BTreeSet;

use super::*;
use crate::random::Random;
use crate::record::Stream;
use crate::settings::Settings;

/// Pairs of who connects and to whom, with the port, that `acts` acts leave in Calico's logs.
fn ways(settings: &Settings, acts: u64) -> BTreeSet<String> {
    let mut random = Random::new(settings.seed);
    let cluster = Cluster::new(settings, &mut random);
    let mut wire = Wire::new(settings, random, cluster.nodes.len());
    let mut ways = BTreeSet::new();
    for n in 0..acts as Micros {
        act(&cluster, &mut wire, settings.start + n * 1_000);
        while let Some(record) = wire.delivered(Micros::MAX) {
            let flow: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
            let way = ["source_namespace", "source_name_aggr", "dest_namespace", "dest_name_aggr", "dest_port"];
            let way = way.map(|key| flow[key].to_string());
            ways.insert(format!("{} {} {}", way.join(" "), flow["dest_ip"], flow["action"]));
        }
    }
    ways
}

#[test]
fn destinations_are_the_same_day_after_day() {
    let streams = vec![Stream::Calico];
    let first = ways(&Settings { streams, ..Settings::default() }, 60_000);
    let streams = vec![Stream::Calico];
    let more = ways(&Settings { streams, ..Settings::default() }, 90_000);
    let new = more.difference(&first).count();
    assert!(new * 12 < first.len(), "{new} new ways beside {}", first.len());
    assert!(first.iter().any(|way| way.contains("deny")));
}

#[test]
fn any_cluster_has_traffic() {
    for (nodes, replicas, namespaces) in [(1, 1, 1), (3, 7, 2), (0, 0, 0), (5, 1, 40)] {
        let namespaces = (0..namespaces).map(|n| format!("team-{n}")).collect();
        let streams = vec![Stream::Calico];
        let settings = Settings { nodes, replicas, namespaces, streams, ..Settings::default() };
        assert!(ways(&settings, 3_000).len() > 20, "{settings:?}");
    }
}

#[test]
fn counts_have_a_heavy_tail_within_their_bound() {
    let settings = Settings::default();
    let mut wire = Wire::new(&settings, Random::new(3), 1);
    let counts: Vec<u64> = (0..20_000).map(|_| several(&mut wire, 200)).collect();
    let share = |least: u64| counts.iter().filter(|count| **count >= least).count() * 1_000 / counts.len();
    assert!((480..520).contains(&(1_000 - share(2))), "{}", share(2));
    assert!((5..30).contains(&share(64)), "{}", share(64));
    assert!(counts.iter().all(|count| (1..=200).contains(count)));
}
