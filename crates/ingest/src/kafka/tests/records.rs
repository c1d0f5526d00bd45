//! What comes with a payload: compression, keys, headers, times; and how sources end.

use palisade_events::RecordMeta;
use rdkafka::Timestamp;

use super::*;

type Sent<'a> = BaseRecord<'a, [u8], [u8]>;

fn record<'a>() -> Sent<'a> {
    BaseRecord::to(TOPIC).partition(0)
}

fn produce(cluster: &Cluster, records: Vec<Sent<'_>>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for record in records {
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Everything in the one partition there is.
fn metas(cluster: &Cluster) -> Vec<RecordMeta> {
    let mut source = source(cluster, &[]);
    let lanes = joined(&mut source, 1);
    start_at(&mut source, &lanes[0], None);
    let mut metas = Vec::new();
    loop {
        match signal(&mut source) {
            Signal::Records(chunk) => metas.extend(chunk.records),
            Signal::CaughtUp(_) => return metas,
            _ => {}
        }
    }
}

#[test]
fn batches_are_read_however_they_are_compressed() {
    // More than the embedded broker keeps, unless it is compressed.
    let count = 80;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let cluster = cluster(1);
        let properties = [("compression.type", codec), ("linger.ms", "200")];
        send_to(&cluster, TOPIC, 0, 0..count, 100_000, &properties);
        let mut source = source(&cluster, &[]);
        let lanes = joined(&mut source, 1);
        start_at(&mut source, &lanes[0], None);
        let begin = source.begins_at(&lanes[0]).unwrap() as u64;
        assert_eq!(begin == 0, codec != "none", "{codec}: {begin}");
        assert_eq!(read_all(&mut source, 1).records[&lanes[0]], numbered(begin..count, 0, None), "{codec}");
    }
}

#[test]
fn every_codec_is_built_in() {
    let features = ClientConfig::new().create_native_config().unwrap().get("builtin.features").unwrap();
    let features: Vec<&str> = features.split(',').collect();
    let of_tls = ["ssl", "sasl_scram", "sasl_oauthbearer"];
    for feature in ["gzip", "snappy", "lz4", "zstd", "sasl_plain"] {
        assert!(features.contains(&feature), "{feature}: {features:?}");
    }
    // Other crates of a build may have asked for TLS.
    if cfg!(feature = "tls") {
        assert!(of_tls.iter().all(|feature| features.contains(feature)), "{features:?}");
    }
}

#[test]
fn keys_traces_and_tombstones_come_with_their_records() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let header = |key, value| Header { key, value: Some(value) };
    let traced = |name| OwnedHeaders::new().insert(header(name, TRACE));
    // A name that is no text, as any producer may send it; this client sends one only if it is deceived.
    let bytes = vec![0xff, 0xfe];
    #[allow(unsafe_code)]
    // SAFETY: nobody looks at it as text: the client hands its pointer and length to librdkafka, which copies bytes.
    let no_text = unsafe { std::str::from_utf8_unchecked(&bytes) };
    let many = (0..headers::HEADERS_MAX).fold(OwnedHeaders::new(), |headers, _| headers.insert(header("x", "y")));
    let cluster = cluster(1);
    produce(
        &cluster,
        vec![
            record().payload(b"1"),
            record().payload(b"2").key(b"node-1").headers(traced("TraceParent").insert(header("cluster", "west"))),
            record()
                .payload(b"3")
                .key(&[0, 0, 0, 7])
                .headers(OwnedHeaders::new().insert(header("traceparent", "00-1"))),
            record().key(b"gone"),
            record().payload(b"").key(b""),
            record()
                .payload(b"6")
                .headers(OwnedHeaders::new().insert(header(no_text, "x")).insert(header("traceparent", TRACE))),
            record().payload(b"7").headers(many.insert(header("traceparent", TRACE))),
            record()
                .payload(b"8")
                .headers(OwnedHeaders::new().insert(Header::<&[u8]> { key: "traceparent", value: None })),
        ],
    );
    let told: Vec<_> = metas(&cluster)
        .into_iter()
        .map(|m| (m.key.map(String::from), m.trace.map(String::from), m.tombstone, m.cluster.map(|c| c.to_string())))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (None, None, false, None),
        (text("node-1"), text(TRACE), false, text("west")),
        (text("00000007"), None, false, None),
        (text("gone"), None, true, None),
        (None, None, false, None),
        (None, text(TRACE), false, None),
        (None, None, false, None),
        (None, None, false, None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_records_time_is_its_producers_or_its_brokers() {
    let cluster = cluster(1);
    produce(&cluster, vec![record().payload(b"1").timestamp(1_700_000_000_123)]);
    let read: Vec<_> = metas(&cluster).iter().map(|meta| (meta.time, meta.time_is_brokers)).collect();
    assert_eq!(read, [(Some(1_700_000_000_123_000), false)]);
    // The embedded broker gives no times of its own.
    for (timestamp, expected) in [
        (Timestamp::LogAppendTime(5), (Some(5000), true)),
        (Timestamp::CreateTime(5), (Some(5000), false)),
        (Timestamp::NotAvailable, (None, false)),
        (Timestamp::CreateTime(-1), (None, false)),
        (Timestamp::CreateTime(0), (None, false)),
        (Timestamp::CreateTime(i64::MAX), (None, false)),
    ] {
        assert_eq!(intake::carrier_time(timestamp), expected, "{timestamp:?}");
    }
}

#[test]
fn a_source_ends_soon_although_its_brokers_are_gone() {
    let cluster = cluster(1);
    send(&cluster, 0, 0..5, 0);
    let mut source = source(&cluster, &[]);
    let lanes = joined(&mut source, 1);
    start_at(&mut source, &lanes[0], None);
    read_all(&mut source, 1);
    cluster.broker_down(1).unwrap();
    // The offsets of a last cut wait for somebody to take them.
    source.landed(&[(Arc::clone(&lanes[0]), 5)]);
    let begun = clock_now();
    drop(source);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn why_no_broker_can_be_reached_is_told() {
    let cluster = cluster(1);
    // Nobody listens there. With a bound that is set, nobody asks for the number of partitions first.
    let properties = [("bootstrap.servers", "127.0.0.1:1"), ("queued.max.messages.kbytes", "1024")];
    let mut source = source(&cluster, &properties);
    let error = try_signal(&mut source).unwrap_err();
    assert!(error.retry && error.why.contains("refused"), "{error:?}");
}

#[test]
fn settings_do_not_show_what_properties_say() {
    let cluster = cluster(1);
    let mut settings = settings(&cluster, &[("sasl.password", "hunter2")]);
    let shown = format!("{settings:?}");
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    settings.properties.insert("sasl.pasword".into(), "hunter2".into());
    let error = KafkaSource::new(settings).err().unwrap();
    assert!(error.why.contains("sasl.pasword") && !error.why.contains("hunter2"), "{error:?}");
}
