//! TLS and every SASL mechanism against a real broker, whose addresses, certificates and password lie in the folder that
//! `PALISADE_KAFKA_SECURE` names (`scripts/kafka.sh start secure` makes it and prints its name).

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palisade_events::Chunk;

use super::*;

/// The topic that `scripts/kafka.sh` has made, with one partition.
const SECURE: &str = "secure";
const USER: &str = "palisade";
/// Tests share the topic: one sends numbers from here on, another smaller ones.
const FIRST: u64 = 100;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("PALISADE_KAFKA_SECURE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        println!("not run: PALISADE_KAFKA_SECURE names no folder of a broker");
    }
    folder
}

fn of(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap().trim().to_owned()
}

/// A token such as the broker takes without knowing a key: the mechanism's own way for tests.
fn token(path: &Path, secs: u64) {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let claims = part(format!("{{\"sub\":\"{USER}\",\"iat\":{now},\"exp\":{}}}", now + secs));
    // Renamed, so that nobody reads half of it.
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("{}.{claims}.", part("{\"alg\":\"none\"}".into()))).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// Sends numbered records through the listener that asks nobody; returns the offset of the first.
fn produce(folder: &Path, numbers: std::ops::Range<u64>) -> i64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", of(folder, "plaintext"));
    let consumer: BaseConsumer = config.create().unwrap();
    let (_, end) = consumer.fetch_watermarks(SECURE, 0, PATIENCE).unwrap();
    let producer: BaseProducer = config.create().unwrap();
    for number in numbers {
        let payload = number.to_string();
        let record = BaseRecord::<(), _>::to(SECURE).partition(0).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    end
}

fn secure_settings(folder: &Path, listener: &str, properties: &[(&str, &str)]) -> KafkaSettings {
    let mut all = BTreeMap::from([("bootstrap.servers".to_owned(), of(folder, listener))]);
    all.insert("security.protocol".to_owned(), listener.to_owned());
    // Not asked for the number of partitions: wrong passwords are told sooner.
    all.insert("queued.max.messages.kbytes".to_owned(), "1024".to_owned());
    all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    KafkaSettings {
        name: "s".into(),
        topics: vec![SECURE.into()],
        group: format!("secure-{}-{listener}", std::process::id()),
        generation: 0,
        cluster_header: None,
        cluster_from_topic: None,
        begin: Begin::Earliest,
        properties: all,
        oauth_token_file: None,
    }
}

#[test]
fn every_mechanism_reads_over_every_listener_that_has_it() {
    let Some(folder) = folder() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let token_file = scratch.path().join("token");
    token(&token_file, 600);
    let numbers = FIRST..FIRST + 10;
    let first = produce(&folder, numbers.clone());
    let (ca, password) = (folder.join("ca.pem").display().to_string(), of(&folder, "password"));
    let keys = folder.join("client.p12").display().to_string();
    let ca = [("ssl.ca.location", ca.as_str())];
    let own = [("ssl.keystore.location", keys.as_str()), ("ssl.keystore.password", password.as_str())];
    let user = [("sasl.username", USER), ("sasl.password", password.as_str())];
    let mut cases = vec![("ssl", "", [&ca[..], &own[..]].concat())];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        cases.push(("sasl_plaintext", mechanism, user.to_vec()));
        cases.push(("sasl_ssl", mechanism, [&ca[..], &user[..]].concat()));
    }
    cases.push(("sasl_plaintext", "OAUTHBEARER", Vec::new()));
    cases.push(("sasl_ssl", "OAUTHBEARER", ca.to_vec()));
    for (listener, mechanism, mut properties) in cases {
        if !mechanism.is_empty() {
            properties.push(("sasl.mechanism", mechanism));
        }
        let mut settings = secure_settings(&folder, listener, &properties);
        settings.oauth_token_file = (mechanism == "OAUTHBEARER").then(|| token_file.clone());
        settings.group += mechanism;
        let mut source = KafkaSource::new(settings).unwrap();
        let lanes = joined(&mut source, 1);
        start_at(&mut source, &lanes[0], Some(first));
        let read = read_all(&mut source, 1);
        let came = read.records[&lanes[0]].iter().map(|(_, number, _)| *number).filter(|number| *number >= FIRST);
        assert_eq!(came.collect::<Vec<_>>(), numbers.clone().collect::<Vec<_>>(), "{listener} {mechanism}");
    }
}

#[test]
fn who_is_not_let_in_is_told_why_and_may_try_again() {
    let Some(folder) = folder() else { return };
    let ca = folder.join("ca.pem").display().to_string();
    let user = [("sasl.username", USER), ("sasl.password", "hunter2")];
    for (listener, properties, why) in [
        (
            "sasl_ssl",
            [&[("ssl.ca.location", ca.as_str()), ("sasl.mechanism", "PLAIN")][..], &user[..]].concat(),
            "uthenticat",
        ),
        ("sasl_plaintext", [&[("sasl.mechanism", "SCRAM-SHA-512")][..], &user[..]].concat(), "uthenticat"),
        // Its certificate is nobody's that the system knows.
        ("sasl_ssl", [&[("sasl.mechanism", "PLAIN")][..], &user[..]].concat(), "certificate"),
        // It wants a certificate too.
        ("ssl", vec![("ssl.ca.location", ca.as_str())], "certificate"),
    ] {
        let mut source = KafkaSource::new(secure_settings(&folder, listener, &properties)).unwrap();
        let error = try_signal(&mut source).unwrap_err();
        assert!(error.retry && error.why.contains(why) && !error.why.contains("hunter2"), "{listener}: {error:?}");
    }
}

/// The broker lets nobody stay for longer than a token is good, so that reading on shows that the next one was taken.
#[test]
fn tokens_are_renewed_while_records_come() {
    let Some(folder) = folder() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let token_file = scratch.path().join("token");
    token(&token_file, 4);
    let ca = folder.join("ca.pem").display().to_string();
    let properties = [("ssl.ca.location", ca.as_str()), ("sasl.mechanism", "OAUTHBEARER")];
    let mut settings = secure_settings(&folder, "sasl_ssl", &properties);
    settings.oauth_token_file = Some(token_file.clone());
    settings.group += "-renewed";
    let mut source = KafkaSource::new(settings).unwrap();
    let lanes = joined(&mut source, 1);
    let first = produce(&folder, 0..1);
    start_at(&mut source, &lanes[0], Some(first));
    let mut seen = 0;
    for _ in 0..10 {
        token(&token_file, 4);
        let begun = clock_now();
        while begun.elapsed() < Duration::from_secs(1) {
            seen += read(&mut source);
        }
        produce(&folder, 1..2);
    }
    let deadline = clock_now() + PATIENCE;
    while seen < 11 {
        assert!(clock_now() < deadline, "{seen} of 11 records came");
        token(&token_file, 4);
        seen += read(&mut source);
    }
}

/// What comes next, as the run loop takes it: a broker may refuse a handshake in the midst of another, which passes.
fn read(source: &mut KafkaSource) -> usize {
    match source.next(Duration::from_millis(50)) {
        Ok(Signal::Records(chunk)) => small(&chunk),
        Ok(_) => 0,
        Err(error) if error.retry => {
            std::thread::sleep(Duration::from_millis(50));
            0
        }
        Err(error) => panic!("{error}"),
    }
}

fn small(chunk: &Chunk) -> usize {
    let number = |record| std::str::from_utf8(chunk.payload(record)).ok()?.parse::<u64>().ok();
    chunk.records.iter().filter_map(number).filter(|number| *number < FIRST).count()
}
