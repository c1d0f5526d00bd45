//! The source against librdkafka's embedded broker. What that cannot show, a test on a real one does.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::*;

const TOPIC: &str = "t";

/// Longest wait for anything: far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn cluster(partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, partitions, 1).unwrap();
    cluster
}

fn source(cluster: &MockCluster<'static, DefaultProducerContext>, properties: &[(&str, &str)]) -> KafkaSource {
    let mut all = BTreeMap::from([("bootstrap.servers".to_owned(), cluster.bootstrap_servers())]);
    all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    KafkaSource::new(KafkaSettings {
        name: "s".into(),
        topics: vec![TOPIC.into()],
        group: "g".into(),
        generation: 0,
        cluster_header: Some("cluster".into()),
        begin: Begin::Earliest,
        properties: all,
    })
    .unwrap()
}

/// Sends numbered records to a partition, each of at least `bytes` bytes; every third names its cluster.
fn send(
    cluster: &MockCluster<'static, DefaultProducerContext>,
    partition: i32,
    numbers: std::ops::Range<u64>,
    bytes: usize,
) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "0")
        .create()
        .unwrap();
    for number in numbers {
        let payload = format!("{number}{}", " ".repeat(bytes));
        let mut record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&payload);
        if number % 3 == 0 {
            record = record.headers(OwnedHeaders::new().insert(Header { key: "cluster", value: Some("west") }));
        }
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// What comes next, of what is not nothing.
fn signal(source: &mut KafkaSource) -> Signal {
    let deadline = clock_now() + PATIENCE;
    loop {
        match source.next(Duration::from_millis(50)).unwrap() {
            Signal::Nothing => assert!(clock_now() < deadline, "nothing comes"),
            signal => return signal,
        }
    }
}

fn joined(source: &mut KafkaSource, count: usize) -> Vec<Arc<Lane>> {
    let mut lanes = Vec::new();
    while lanes.len() < count {
        if let Signal::Joined(more) = signal(source) {
            lanes.extend(more);
        }
    }
    lanes.sort();
    lanes
}

/// Reads until every lane is at its end. Per lane the (offset, number, cluster) of its records, and all facts.
type Read = (BTreeMap<Arc<Lane>, Vec<(i64, u64, Option<String>)>>, Vec<Coverage>);

fn read_all(source: &mut KafkaSource, lanes: usize) -> Read {
    let (mut read, mut facts, mut ended) = (BTreeMap::new(), Vec::new(), std::collections::BTreeSet::new());
    while ended.len() < lanes {
        match signal(source) {
            Signal::Records(chunk) => {
                facts.extend(chunk.facts.iter().cloned());
                let of_lane: &mut Vec<_> = read.entry(Arc::clone(&chunk.lane)).or_default();
                for record in &chunk.records {
                    let number = std::str::from_utf8(chunk.payload(record)).unwrap().trim().parse().unwrap();
                    of_lane.push((record.offset, number, record.cluster.as_ref().map(ToString::to_string)));
                }
            }
            Signal::CaughtUp(lane) => {
                ended.insert(lane);
            }
            _ => {}
        }
    }
    (read, facts)
}

#[test]
fn partitions_are_read_in_order_from_where_the_lake_says_by_either_protocol() {
    for strategy in ["range", "cooperative-sticky"] {
        let cluster = cluster(2);
        send(&cluster, 0, 0..50, 0);
        send(&cluster, 1, 100..130, 0);
        let mut source = source(&cluster, &[("partition.assignment.strategy", strategy)]);
        let lanes = joined(&mut source, 2);
        // A committed offset of the group would be a lie: the lake's word counts.
        source.start(&[(Arc::clone(&lanes[0]), Some(20)), (Arc::clone(&lanes[1]), None)]).unwrap();
        assert_eq!((source.begins_at(&lanes[0]), source.begins_at(&lanes[1])), (Some(20), Some(0)), "{strategy}");
        let (read, facts) = read_all(&mut source, 2);
        let expected = |numbers: std::ops::Range<u64>, first: u64| -> Vec<(i64, u64, Option<String>)> {
            numbers.map(|n| ((n - first) as i64, n, (n % 3 == 0).then(|| "west".to_owned()))).collect()
        };
        assert_eq!(read[&lanes[0]], expected(20..50, 0), "{strategy}");
        assert_eq!(read[&lanes[1]], expected(100..130, 100), "{strategy}");
        assert_eq!((facts.len(), source.missing_lanes().unwrap()), (0, 0), "{strategy}");
    }
}

#[test]
fn a_held_lane_waits_and_loses_nothing() {
    let cluster = cluster(2);
    send(&cluster, 0, 0..30, 0);
    send(&cluster, 1, 0..30, 0);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 2);
    source.start(&[(Arc::clone(&lanes[0]), None), (Arc::clone(&lanes[1]), None)]).unwrap();
    source.hold(&lanes[0], Hold::Hold);
    let (read, _) = read_all(&mut source, 1);
    assert!(!read.contains_key(&lanes[0]) && read[&lanes[1]].len() == 30);
    source.hold(&lanes[0], Hold::Release);
    let (read, _) = read_all(&mut source, 1);
    assert_eq!(read[&lanes[0]].len(), 30);
}

#[test]
fn records_that_expired_unread_are_told_as_a_gap() {
    let cluster = cluster(1);
    // The embedded broker keeps about five megabytes.
    send(&cluster, 0, 0..120, 100_000);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    source.start(&[(Arc::clone(&lanes[0]), Some(3))]).unwrap();
    let first = source.begins_at(&lanes[0]).unwrap();
    assert!(first > 3, "nothing has expired");
    let (read, facts) = read_all(&mut source, 1);
    assert_eq!(read[&lanes[0]].first().map(|(offset, ..)| *offset), Some(first));
    assert_eq!(read[&lanes[0]].len() as i64, 120 - first);
    let facts: Vec<_> = facts.iter().map(|fact| (fact.kind, fact.count)).collect();
    assert_eq!(facts, [(CoverageKind::Gap, first - 3)]);
}

#[test]
fn a_topic_that_is_shorter_than_what_was_read_is_refused() {
    let cluster = cluster(1);
    send(&cluster, 0, 0..5, 0);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    let refused = source.start(&[(Arc::clone(&lanes[0]), Some(1000))]).unwrap_err();
    assert!(!refused.retry && refused.why.contains("generation"), "{refused:?}");
}
