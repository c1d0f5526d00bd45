//! Against a real broker, named by `PALISADE_KAFKA` (`scripts/kafka.sh start` prints it): produced while the detector
//! runs, killed again and again, and nothing is lost and nothing is there twice.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use palisade_drill::{Drill, Stream};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::{drill, findings_where, number, program, same_findings, start, succeed};

const PARTITIONS: i32 = 4;

fn broker() -> Option<String> {
    let broker = std::env::var("PALISADE_KAFKA").ok().filter(|b| !b.is_empty());
    if broker.is_none() {
        println!("not run: PALISADE_KAFKA names no broker");
    }
    broker
}

fn create_topics(broker: &str, suffix: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let names: Vec<String> = Stream::ALL.iter().map(|s| format!("{}-{suffix}", s.topic())).collect();
    let topics: Vec<NewTopic<'_>> =
        names.iter().map(|n| NewTopic::new(n, PARTITIONS, TopicReplication::Fixed(1))).collect();
    for result in futures::executor::block_on(admin.create_topics(&topics, &AdminOptions::new())).unwrap() {
        result.unwrap();
    }
}

fn produce(broker: &str, suffix: &str, drill: Drill, pause_every: usize) -> [i64; 3] {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("linger.ms", "20")
        .set("acks", "all")
        .create()
        .unwrap();
    let mut counts = [0; 3];
    for (number, record) in drill.enumerate() {
        let topic = format!("{}-{suffix}", record.stream.topic());
        counts[Stream::ALL.iter().position(|s| *s == record.stream).unwrap()] += 1;
        let mut message = BaseRecord::to(&topic)
            .key(record.key.as_str())
            .payload(record.payload.as_slice())
            .timestamp(record.time / 1000);
        while let Err((_, back)) = producer.send(message) {
            producer.poll(Duration::from_millis(20));
            message = back;
        }
        if number % pause_every == 0 {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    counts
}

fn configure(path: &Path, broker: &str, suffix: &str, job: &str, lake: &Path) {
    let mut text = format!(
        "job = \"{job}\"\n[lake]\nurl = \"{}\"\ncommit_interval_secs = 0.3\n[pipeline]\nidle_secs = 8.0\n",
        lake.display()
    );
    for (topic, format) in [("k8s-audit", "k8s_audit"), ("falco", "falco"), ("auditd", "auditd")] {
        text.push_str(&format!(
            "[[source]]\nname = \"{topic}\"\nkind = \"kafka\"\nformat = \"{format}\"\ncluster = \"c\"\nbrokers = \"{broker}\"\n\
             topics = [\"{topic}-{suffix}\"]\ngroup = \"{job}-{topic}\"\nproperties = {{ \"session.timeout.ms\" = \"6000\" }}\n"
        ));
    }
    std::fs::write(path, text).unwrap();
}

fn detector(config: &Path) -> Command {
    let mut command = program();
    command.args(["run", "--until-caught-up", "--config"]).arg(config);
    command
}

#[test]
fn kill_nine_loses_nothing_and_doubles_nothing() {
    let Some(broker) = broker() else { return };
    let folder = tempfile::tempdir().unwrap();
    let suffix = format!("kill-{}", std::process::id());
    create_topics(&broker, &suffix);
    let producer = {
        let (broker, suffix) = (broker.clone(), suffix.clone());
        let play = move || produce(&broker, &suffix, drill(11, 1800, 60.0), 20);
        std::thread::Builder::new().name("producer".into()).spawn(play).unwrap()
    };
    let lake = folder.path().join("lake");
    let config = folder.path().join("killed.toml");
    configure(&config, &broker, &suffix, &format!("killed-{suffix}"), &lake);
    for attempt in 0..6u64 {
        let mut child = start(&mut detector(&config));
        std::thread::sleep(Duration::from_millis(4200 + 700 * (attempt % 4)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let produced = producer.join().unwrap();
    succeed(&mut detector(&config));

    let sum = |column: &str, source: &str| {
        let events = number(&lake, &format!("SELECT coalesce(sum({column}), 0) FROM events WHERE source = '{source}'"));
        let rejects = number(&lake, &format!("SELECT count(*) FROM rejects WHERE source = '{source}'"));
        let facts = number(
            &lake,
            &format!(
                "SELECT count(*) FROM coverage WHERE source = '{source}' AND record_offset >= 0 AND kind IN ('lost', 'health')"
            ),
        );
        events + rejects + facts
    };
    assert_eq!(sum("1", "k8s-audit"), produced[0], "every audit record is one event");
    assert_eq!(sum("1", "falco"), produced[1], "every alert is one event or one coverage fact");
    let distinct = number(&lake, "SELECT count(DISTINCT event_uid) FROM events");
    assert_eq!(number(&lake, "SELECT count(*) FROM events"), distinct, "no event is there twice");
    succeed(program().args(["lake", "verify", "--lake"]).arg(&lake));

    // A detector that was never killed finds the same by its rules, to the byte. What it finds in panes also depends on
    // which lanes fell silent while the producer ran, which is time's decision and differs between the two runs.
    let reference = folder.path().join("reference");
    let config = folder.path().join("reference.toml");
    configure(&config, &broker, &suffix, &format!("reference-{suffix}"), &reference);
    succeed(&mut detector(&config));
    assert_eq!(number(&reference, "SELECT count(*) FROM events"), distinct);
    let by_rule = |lake: &Path| findings_where(lake, "kind = 'rule'");
    let (left, right) = (by_rule(&reference), by_rule(&lake));
    assert!(!left.is_empty());
    same_findings(&left, &right);
}
