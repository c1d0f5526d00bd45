//! The source against librdkafka's embedded broker. What that cannot show, a test on a real one does.

use palisade_events::Coverage;
use palisade_events::facts::CoverageKind;
use palisade_events::seam::RecordMark;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

mod records;
#[cfg(feature = "tls")]
mod secure;

const TOPIC: &str = "t";

/// Longest wait for anything: far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, partitions, 1).unwrap();
    cluster
}

fn settings(cluster: &Cluster, properties: &[(&str, &str)]) -> KafkaSettings {
    let mut all = BTreeMap::from([("bootstrap.servers".to_owned(), cluster.bootstrap_servers())]);
    all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    KafkaSettings {
        name: "s".into(),
        topics: vec![TOPIC.into()],
        group: "g".into(),
        generation: 0,
        cluster_header: Some("cluster".into()),
        cluster_from_topic: None,
        begin: Begin::Earliest,
        properties: all,
        oauth_token_file: None,
    }
}

fn source(cluster: &Cluster, properties: &[(&str, &str)]) -> KafkaSource {
    KafkaSource::new(settings(cluster, properties)).unwrap()
}

/// Sends numbered records to a partition, each of at least `bytes` bytes; every third names its cluster.
fn send(cluster: &Cluster, partition: i32, numbers: std::ops::Range<u64>, bytes: usize) {
    send_to(cluster, TOPIC, partition, numbers, bytes, &[]);
}

fn send_to(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    numbers: std::ops::Range<u64>,
    bytes: usize,
    properties: &[(&str, &str)],
) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("linger.ms", "0");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    let producer: BaseProducer = config.create().unwrap();
    for number in numbers {
        let payload = format!("{number}{}", " ".repeat(bytes));
        let mut record = BaseRecord::<(), _>::to(topic).partition(partition).payload(&payload);
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
    try_signal(source).unwrap()
}

fn try_signal(source: &mut KafkaSource) -> Result<Signal, SourceError> {
    let deadline = clock_now() + PATIENCE;
    loop {
        match source.next(Duration::from_millis(50))? {
            Signal::Nothing => assert!(clock_now() < deadline, "nothing comes"),
            signal => return Ok(signal),
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

/// Starts one lane, going on with nothing to compare.
fn start_at(source: &mut KafkaSource, lane: &Arc<Lane>, next: Option<i64>) {
    source.start(&[(Arc::clone(lane), next.map(Resume::at))]).unwrap();
}

/// Per lane the (offset, number, cluster) of its records.
type Numbered = BTreeMap<Arc<Lane>, Vec<(i64, u64, Option<String>)>>;

/// What was read until every lane was at its end.
#[derive(Default)]
struct Read {
    records: Numbered,
    facts: Vec<Coverage>,
    marks: BTreeMap<Arc<Lane>, Vec<RecordMark>>,
    chunks: usize,
}

fn read_all(source: &mut KafkaSource, lanes: usize) -> Read {
    let (mut read, mut ended) = (Read::default(), std::collections::BTreeSet::new());
    while ended.len() < lanes {
        match signal(source) {
            Signal::Records(chunk) => {
                read.chunks += 1;
                read.facts.extend(chunk.facts.iter().cloned());
                let of_lane = read.records.entry(Arc::clone(&chunk.lane)).or_default();
                let marks = read.marks.entry(Arc::clone(&chunk.lane)).or_default();
                for record in &chunk.records {
                    let payload = chunk.payload(record);
                    let number = std::str::from_utf8(payload).unwrap().trim().parse().unwrap();
                    of_lane.push((record.offset, number, record.cluster.as_ref().map(ToString::to_string)));
                    marks.push(RecordMark::new(record.offset, record.time, payload));
                }
            }
            Signal::CaughtUp(lane) => {
                ended.insert(lane);
            }
            _ => {}
        }
    }
    read
}

/// Numbers from an offset on, as they were sent to a partition that begins with `first`.
fn numbered(numbers: std::ops::Range<u64>, first: u64, else_cluster: Option<&str>) -> Vec<(i64, u64, Option<String>)> {
    let cluster = |n: u64| if n.is_multiple_of(3) { Some("west") } else { else_cluster };
    numbers.map(|n| ((n - first) as i64, n, cluster(n).map(str::to_owned))).collect()
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
        source.start(&[(Arc::clone(&lanes[0]), Some(Resume::at(20))), (Arc::clone(&lanes[1]), None)]).unwrap();
        assert_eq!((source.begins_at(&lanes[0]), source.begins_at(&lanes[1])), (Some(20), Some(0)), "{strategy}");
        let read = read_all(&mut source, 2);
        assert_eq!(read.records[&lanes[0]], numbered(20..50, 0, None), "{strategy}");
        assert_eq!(read.records[&lanes[1]], numbered(100..130, 100, None), "{strategy}");
        assert_eq!((read.facts.len(), source.missing_lanes().unwrap()), (0, 0), "{strategy}");
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
    let read = read_all(&mut source, 1);
    assert!(!read.records.contains_key(&lanes[0]) && read.records[&lanes[1]].len() == 30);
    source.hold(&lanes[0], Hold::Release);
    assert_eq!(read_all(&mut source, 1).records[&lanes[0]].len(), 30);
}

#[test]
fn what_a_lane_has_taken_in_when_it_is_held_waits_too() {
    let cluster = cluster(1);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    start_at(&mut source, &lanes[0], None);
    assert!(matches!(signal(&mut source), Signal::CaughtUp(_)));
    assert_eq!(source.lanes[0].intake.add(0, b"7", None, clock_now()), Ok(true));
    source.hold(&lanes[0], Hold::Hold);
    assert!(matches!(source.next(Duration::from_millis(100)).unwrap(), Signal::Nothing));
    source.hold(&lanes[0], Hold::Release);
    let Signal::Records(chunk) = signal(&mut source) else { panic!("a record was taken in") };
    assert_eq!(chunk.bytes, b"7");
}

#[test]
fn records_that_expired_unread_are_told_as_a_gap() {
    let cluster = cluster(1);
    // The embedded broker keeps about five megabytes.
    send(&cluster, 0, 0..120, 100_000);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    // The record before has expired as well: it cannot be compared.
    let resume = Resume { next_offset: 3, last: Some(RecordMark::new(2, None, b"gone")) };
    let starts = [(Arc::clone(&lanes[0]), Some(resume))];
    source.start(&starts).unwrap();
    // A caller that failed elsewhere may start again.
    source.start(&starts).unwrap();
    let first = source.begins_at(&lanes[0]).unwrap();
    assert!(first > 3, "nothing has expired");
    let read = read_all(&mut source, 1);
    assert_eq!(read.records[&lanes[0]].first().map(|(offset, ..)| *offset), Some(first));
    assert_eq!(read.records[&lanes[0]].len() as i64, 120 - first);
    let facts: Vec<_> = read.facts.iter().map(|fact| (fact.kind, fact.count)).collect();
    assert_eq!(facts, [(CoverageKind::Gap, first - 3)]);
}

#[test]
fn a_topic_that_is_shorter_than_what_was_read_is_refused() {
    let cluster = cluster(1);
    send(&cluster, 0, 0..5, 0);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    let refused = source.start(&[(Arc::clone(&lanes[0]), Some(Resume::at(1000)))]).unwrap_err();
    assert!(!refused.retry && refused.why.contains("generation"), "{refused:?}");
}

#[test]
fn a_topic_that_has_become_shorter_while_it_is_read_is_refused_in_time() {
    let cluster = cluster(1);
    send(&cluster, 0, 0..5, 0);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    start_at(&mut source, &lanes[0], None);
    read_all(&mut source, 1);
    source.compare_at = clock_now();
    assert!(matches!(source.next(Duration::ZERO).unwrap(), Signal::Nothing), "nothing has changed");
    assert!(source.compare_at > clock_now(), "the ends were compared");
    // The embedded broker cannot cut a topic.
    source.lanes[0].intake.restart(6, None);
    source.compare_at = clock_now();
    let refused = source.next(Duration::ZERO).unwrap_err();
    assert!(!refused.retry && refused.why.contains("generation"), "{refused:?}");
}

#[test]
fn a_topic_with_another_record_where_the_last_was_read_is_refused() {
    let cluster = cluster(1);
    send(&cluster, 0, 0..10, 0);
    let first = {
        let mut source = source(&cluster, &[]);
        let lanes = joined(&mut source, 1);
        start_at(&mut source, &lanes[0], None);
        read_all(&mut source, 1).marks[&lanes[0]][4].clone()
    };
    assert_eq!(first.offset, 4);
    let other_payload = RecordMark::new(4, first.time, b"another");
    let other_time = RecordMark { time: first.time.map(|time| time - 1000), ..first };
    for mark in [other_payload, other_time] {
        let mut source = source(&cluster, &[]);
        let lanes = joined(&mut source, 1);
        let resume = Resume { next_offset: 5, last: Some(mark) };
        source.start(&[(Arc::clone(&lanes[0]), Some(resume))]).unwrap();
        for _ in 0..2 {
            let refused = try_signal(&mut source).unwrap_err();
            assert!(!refused.retry && refused.why.contains("generation"), "{refused:?}");
        }
    }
}

#[test]
fn the_record_before_is_compared_and_not_delivered_again_by_either_protocol() {
    for strategy in ["range", "cooperative-sticky"] {
        let properties = [("partition.assignment.strategy", strategy)];
        let cluster = cluster(2);
        send(&cluster, 0, 0..10, 0);
        send(&cluster, 1, 0..10, 0);
        let marks = {
            let mut source = source(&cluster, &properties);
            let lanes = joined(&mut source, 2);
            source.start(&[(Arc::clone(&lanes[0]), None), (Arc::clone(&lanes[1]), None)]).unwrap();
            read_all(&mut source, 2).marks
        };
        let mut source = source(&cluster, &properties);
        let lanes = joined(&mut source, 2);
        let resume = |lane: &Arc<Lane>, next: i64| {
            let last = marks[lane].get(next as usize - 1).cloned();
            (Arc::clone(lane), Some(Resume { next_offset: next, last }))
        };
        source.start(&[resume(&lanes[0], 5), resume(&lanes[1], 10)]).unwrap();
        assert_eq!((source.begins_at(&lanes[0]), source.begins_at(&lanes[1])), (Some(5), Some(10)), "{strategy}");
        let read = read_all(&mut source, 2);
        assert_eq!(read.records[&lanes[0]], numbered(5..10, 0, None), "{strategy}");
        assert!(!read.records.contains_key(&lanes[1]), "{strategy}: it is at its end");
        // The group went on without the marks being asked for again.
        send(&cluster, 1, 10..12, 0);
        assert_eq!(read_all(&mut source, 1).records[&lanes[1]], numbered(10..12, 0, None), "{strategy}");
    }
}

#[test]
fn a_topics_name_tells_the_cluster_unless_a_header_does() {
    let cluster = MockCluster::new(1).unwrap();
    let topic = "k8s.east.audit";
    cluster.create_topic(topic, 1, 1).unwrap();
    send_to(&cluster, topic, 0, 0..12, 0, &[]);
    let mut settings = settings(&cluster, &[]);
    settings.topics = vec![topic.into()];
    settings.cluster_from_topic = Some("k8s.{cluster}.audit".into());
    let mut source = KafkaSource::new(settings.clone()).unwrap();
    let lanes = joined(&mut source, 1);
    start_at(&mut source, &lanes[0], None);
    assert_eq!(read_all(&mut source, 1).records[&lanes[0]], numbered(0..12, 0, Some("east")));
    settings.cluster_from_topic = Some("k8s.audit".into());
    let refused = KafkaSource::new(settings).err().unwrap();
    assert!(!refused.retry && refused.why.contains("{cluster}"), "{refused:?}");
}

#[test]
fn a_pattern_has_one_cluster_and_fits_the_whole_name() {
    let pattern = TopicPattern::parse("logs-{cluster}").unwrap();
    assert_eq!(pattern.cluster("logs-east").as_deref(), Some("east"));
    assert_eq!((pattern.cluster("logs-"), pattern.cluster("old-logs-east")), (None, None));
    let pattern = TopicPattern::parse("a.{cluster}.b").unwrap();
    assert_eq!(pattern.cluster("a.x.y.b").as_deref(), Some("x.y"));
    // Before and after must not overlap.
    assert_eq!(pattern.cluster("a.b"), None);
    assert_eq!((TopicPattern::parse("logs"), TopicPattern::parse("{cluster}.{cluster}")), (None, None));
}

#[test]
fn records_that_come_one_by_one_share_chunks_and_none_is_lost() {
    let cluster = cluster(1);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    // Each record is a batch of its own, and the embedded broker answers a fetch with one batch.
    send_to(&cluster, TOPIC, 0, 0..300, 0, &[("batch.num.messages", "1")]);
    start_at(&mut source, &lanes[0], None);
    let read = read_all(&mut source, 1);
    assert_eq!(read.records[&lanes[0]], numbered(0..300, 0, None));
    assert!(read.chunks < 300, "{} chunks", read.chunks);
}

#[test]
fn a_small_chunk_waits_for_company_but_not_long() {
    let lane = Arc::new(Lane::kafka("s", TOPIC, 0));
    let mut intake = Intake::new(lane, 5, None, None);
    let begin = clock_now();
    assert!(intake.is_empty() && !intake.is_due(begin + PATIENCE) && intake.hand_over().is_none());
    assert_eq!(intake.add(5, b"a", None, begin), Ok(true));
    assert_eq!(intake.add(6, b"b", None, begin + intake::LINGER / 2), Ok(true));
    assert!(!intake.is_due(begin + intake::LINGER / 2));
    // The first record has waited long enough, whatever came after it.
    assert!(intake.is_due(begin + intake::LINGER));
    let chunk = intake.hand_over().unwrap();
    assert_eq!(chunk.records.iter().map(|record| record.offset).collect::<Vec<_>>(), [5, 6]);
    // What was handed over does not come again.
    assert_eq!(intake.add(6, b"b", None, begin), Ok(false));
    assert_eq!(intake.last(), Some(&RecordMark::new(6, None, b"b")));
    // A large one does not wait.
    assert_eq!(intake.add(9, &vec![0; intake::CHUNK_BYTES_MIN], None, begin), Ok(true));
    assert!(intake.is_due(begin) && !intake.is_full());
    assert_eq!(intake.next_offset(), 10);
}

#[test]
fn a_record_that_was_compacted_away_is_no_other_record() {
    let lane = Arc::new(Lane::kafka("s", TOPIC, 0));
    let mark = RecordMark::new(4, Some(1), b"a");
    let mut intake = Intake::new(lane, 5, Some(mark.clone()), None);
    assert_eq!((intake.fetch_from(), intake.next_offset()), (4, 5));
    assert_eq!(intake.add(4, b"b", Some(1), clock_now()), Err(OtherRecord(4)));
    assert_eq!(intake.fetch_from(), 4, "it is compared again");
    assert_eq!(intake.add(7, b"c", Some(1), clock_now()), Ok(true));
    intake.restart(5, Some(mark));
    assert_eq!(intake.add(4, b"a", Some(1), clock_now()), Ok(false));
    assert_eq!(intake.add(5, b"b", Some(1), clock_now()), Ok(true));
    assert_eq!(intake.hand_over().unwrap().records.len(), 1);
}

#[test]
fn a_start_that_failed_may_be_repeated() {
    for strategy in ["range", "cooperative-sticky"] {
        let cluster = cluster(2);
        send(&cluster, 0, 0..10, 0);
        send(&cluster, 1, 0..10, 0);
        let mut source = source(&cluster, &[("partition.assignment.strategy", strategy)]);
        let lanes = joined(&mut source, 2);
        let starts = [(Arc::clone(&lanes[0]), None), (Arc::clone(&lanes[1]), Some(Resume::at(4)))];
        cluster.request_errors(RDKafkaApiKey::ListOffsets, &[UNANSWERED]);
        let failed = source.start(&starts).unwrap_err();
        assert!(failed.retry && source.begins_at(&lanes[0]).is_none(), "{strategy}: {failed:?}");
        source.start(&starts).unwrap();
        let read = read_all(&mut source, 2);
        assert_eq!(read.records[&lanes[0]], numbered(0..10, 0, None), "{strategy}");
        assert_eq!(read.records[&lanes[1]], numbered(4..10, 0, None), "{strategy}");
    }
}

#[test]
fn a_lane_whose_place_is_lost_finds_it_again_by_itself() {
    for strategy in ["range", "cooperative-sticky"] {
        let cluster = cluster(2);
        send(&cluster, 0, 0..10, 0);
        send(&cluster, 1, 0..10, 0);
        let mut source = source(&cluster, &[("partition.assignment.strategy", strategy)]);
        let lanes = joined(&mut source, 2);
        source.start(&[(Arc::clone(&lanes[0]), None), (Arc::clone(&lanes[1]), None)]).unwrap();
        let read = read_all(&mut source, 2);
        assert_eq!((read.records[&lanes[0]].len(), read.records[&lanes[1]].len()), (10, 10), "{strategy}");
        cluster.request_errors(RDKafkaApiKey::ListOffsets, &[UNANSWERED]);
        let lost = KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset);
        source.recover(0, lost).unwrap();
        assert!(matches!(source.lanes[0].stage, Stage::Lost { .. }), "{strategy}");
        send(&cluster, 0, 10..15, 0);
        // What was read is compared and not read a second time. Both lanes may be told to be at their ends again.
        let mut numbers = Vec::new();
        while numbers.len() < 5 {
            let read = read_all(&mut source, 1);
            numbers.extend(read.records.into_values().flatten());
        }
        assert_eq!(numbers, numbered(10..15, 0, None), "{strategy}");
        assert_eq!(source.lanes[0].stage, Stage::Reading, "{strategy}");
    }
}

/// An answer that is not asked for again by librdkafka itself.
const UNANSWERED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

#[test]
fn a_lane_that_is_let_go_takes_along_what_it_did_not_hand_over() {
    let cluster = cluster(1);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    start_at(&mut source, &lanes[0], None);
    assert!(matches!(signal(&mut source), Signal::CaughtUp(_)));
    assert_eq!(source.lanes[0].intake.add(0, b"7", None, clock_now()), Ok(true));
    source.release(&lanes).unwrap();
    assert!(source.begins_at(&lanes[0]).is_none());
    assert!(matches!(source.next(Duration::from_millis(50)).unwrap(), Signal::Nothing));
}

#[test]
fn partitions_share_what_may_be_read_ahead() {
    let share = setup::Share::of;
    assert_eq!(share(None), setup::Share { queue_bytes: 16 << 20, queue_records: 20_971, fetch_bytes: 4 << 20 });
    assert_eq!((share(Some(1)), share(Some(4))), (share(None), share(None)));
    assert_eq!(share(Some(64)).queue_bytes, 1 << 20);
    assert_eq!(share(Some(10_000)).queue_bytes, 512 << 10);
}
