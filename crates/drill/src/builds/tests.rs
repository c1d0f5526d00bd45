//! That what daemons and the registry tell of the same build agrees.

use std::collections::BTreeMap;

use super::*;
use crate::record::Stream;
use crate::settings::{MONDAY_MORNING, Settings};

#[test]
fn a_pushed_image_is_the_one_that_the_daemon_pushed() {
    let settings = Settings { streams: vec![Stream::Docker, Stream::Registry], ..Settings::default() };
    let mut random = Random::new(2);
    let cluster = Cluster::new(&settings, &mut random);
    let mut wire = Wire::new(&settings, random, cluster.nodes.len());
    let mut actions: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut references = Vec::new();
    let mut pushed = Vec::new();
    for nth in 0..400 {
        act(&cluster, &mut wire, MONDAY_MORNING + nth * 60 * SECOND);
    }
    while let Some(record) = wire.delivered(Micros::MAX) {
        let value: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        if record.stream == Stream::Docker {
            let action = text(&value["Action"]);
            if action == "push" {
                references.push(text(&value["Actor"]["ID"]));
            }
            let action = action.split(':').next().unwrap_or_default().to_owned();
            *actions.entry((text(&value["Type"]), action)).or_default() += 1;
        } else {
            let event = &value["events"][0];
            if event["action"] == "push" {
                let target = &event["target"];
                assert_eq!(record.key, text(&target["repository"]));
                pushed.push(format!("registry.example.com/{}:{}", text(&target["repository"]), text(&target["tag"])));
            }
        }
    }
    assert!(!references.is_empty() && references.iter().all(|reference| pushed.contains(reference)));
    for action in ["create", "start", "exec_create", "exec_start", "exec_die", "die", "destroy"] {
        assert!(actions[&("container".to_owned(), action.to_owned())] > 10, "{action}: {actions:?}");
    }
}
