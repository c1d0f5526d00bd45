//! Against a real broker, named by `PALISADE_KAFKA` (`scripts/kafka.sh start` prints it): produced while the detector
//! runs, killed again and again, and nothing is lost and nothing is there twice.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use palisade_drill::{Drill, Stream};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::{drill, events, findings_where, number, program, same_findings, start, succeed, wait_for_growth};

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
    let names: Vec<String> = Stream::USUAL.iter().map(|s| format!("{}-{suffix}", s.topic())).collect();
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
        counts[Stream::USUAL.iter().position(|s| *s == record.stream).unwrap()] += 1;
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

/// Records in each partition of a topic.
fn ends(broker: &str, topic: &str) -> Vec<i64> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let end = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(30)).unwrap().1;
    (0..PARTITIONS).map(end).collect()
}

fn configure(path: &Path, broker: &str, suffix: &str, job: &str, lake: &Path) {
    let mut text = format!(
        "job = \"{job}\"\n[lake]\nurl = \"{}\"\ncommit_interval_secs = 0.3\n[pipeline]\nidle_secs = 8.0\n",
        lake.display()
    );
    for (topic, format) in [("k8s-audit", "k8s_audit"), ("falco", "falco"), ("auditd", "auditd")] {
        text.push_str(&format!(
            "[[source]]\nname = \"{topic}\"\nkind = \"kafka\"\nformat = \"{format}\"\ncluster = \"c\"\nbrokers = \"{broker}\"\n\
             topics = [\"{topic}-{suffix}\"]\nproperties = {{ \"session.timeout.ms\" = \"2000\", \"heartbeat.interval.ms\" = \"500\" }}\n"
        ));
    }
    std::fs::write(path, text).unwrap();
}

fn detector(config: &Path) -> Command {
    let mut command = program();
    command.args(["run", "--until-caught-up", "--config"]).arg(config);
    command
}

/// The row accounts of a job at its newest checkpoint.
fn accounts(lake: &Path, job: &str) -> serde_json::Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let manifest = runtime.block_on(async {
        let lake = palisade::lake::Lake::open_existing(&lake.display().to_string()).await.unwrap();
        lake.state(job).newest_manifest().await.unwrap().unwrap()
    });
    manifest.accounting
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
    let mut landed = 0;
    for attempt in 0..6u64 {
        let mut child = start(&mut detector(&config));
        // Each life lands something, and dies at a moment of its own in a cut after that.
        landed = wait_for_growth(&lake, landed);
        std::thread::sleep(Duration::from_millis(90 * attempt));
        assert!(child.try_wait().unwrap().is_none(), "each is killed at work");
        child.kill().unwrap();
        child.wait().unwrap();
        landed = landed.max(events(&lake));
    }
    let produced = producer.join().unwrap();
    succeed(&mut detector(&config));
    assert!(events(&lake) > landed, "the last life had something left to do");

    // Where each audit record lies says the broker, and the lake holds exactly these places.
    let topic = format!("k8s-audit-{suffix}");
    for (partition, records) in ends(&broker, &topic).into_iter().enumerate() {
        let of = format!("FROM events WHERE origin = '{topic}' AND partition = {partition}");
        let places = number(&lake, &format!("SELECT count(DISTINCT record_offset) {of}"));
        let last = number(&lake, &format!("SELECT coalesce(max(record_offset), -1) {of}"));
        assert_eq!((places, last + 1), (records, records), "every offset of partition {partition}");
    }

    let sum = |source: &str| {
        let events = number(&lake, &format!("SELECT coalesce(sum(records), 0) FROM events WHERE source = '{source}'"));
        let rejects = number(&lake, &format!("SELECT count(*) FROM rejects WHERE source = '{source}'"));
        let facts = number(
            &lake,
            &format!(
                "SELECT count(*) FROM coverage WHERE source = '{source}' AND record_offset >= 0 AND kind IN ('lost', 'health')"
            ),
        );
        events + rejects + facts
    };
    assert_eq!(sum("k8s-audit"), produced[0], "every audit record is one event");
    assert_eq!(sum("falco"), produced[1], "every alert is one event or one coverage fact");
    let accounts = accounts(&lake, &format!("killed-{suffix}"));
    let account = |name: &str| accounts[name].as_i64().unwrap();
    assert_eq!(account("records"), produced.iter().sum::<i64>(), "every record was taken in once: {accounts}");
    let elsewhere = account("coverage") + account("rejected") + account("held");
    assert_eq!(account("records"), account("used") + elsewhere, "and the others are accounted for: {accounts}");
    let distinct = number(&lake, "SELECT count(DISTINCT event_uid) FROM events");
    assert_eq!(number(&lake, "SELECT count(*) FROM events"), distinct, "no event is there twice");
    succeed(program().args(["lake", "verify", "--lake"]).arg(&lake));

    // A detector that was never killed, but told to stop on its way, finds the same by its rules, to the byte. What it
    // finds in panes also depends on which lanes fell silent while the producer ran, which is time's decision and differs
    // between the two runs.
    let reference = folder.path().join("reference");
    let config = folder.path().join("reference.toml");
    configure(&config, &broker, &suffix, &format!("reference-{suffix}"), &reference);
    let mut child = start(program().args(["run", "--config"]).arg(&config));
    wait_for_growth(&reference, 0);
    assert!(child.try_wait().unwrap().is_none(), "it waits for more");
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success(), "a graceful stop is no failure");
    assert!(number(&reference, "SELECT count(*) FROM events") > 0, "it flushes and commits");
    succeed(&mut detector(&config));
    assert_eq!(number(&reference, "SELECT count(*) FROM events"), distinct);
    let by_rule = |lake: &Path| findings_where(lake, "kind = 'rule'");
    let (left, right) = (by_rule(&reference), by_rule(&lake));
    assert!(!left.is_empty());
    same_findings(&left, &right);
}
