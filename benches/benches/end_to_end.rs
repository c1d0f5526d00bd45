//! From a Kafka topic to committed tables, as a ratio to draining the same topic with a bare consumer in the same run.
//!
//! ```sh
//! export PALISADE_KAFKA=$(scripts/kafka.sh start) PALISADE_KAFKA_PID=$(scripts/kafka.sh pid)
//! cargo bench --workspace --bench end_to_end -- --events 1000000
//! scripts/kafka.sh stop
//! ```
//!
//! What the shape stands for: Kubernetes audit events of about 1.2 kB from a busy cluster, four partitions, the starter
//! pack, the statistics and the correlations on, commits durable. The data come from the drill, so users, objects and
//! addresses repeat as in a real cluster, but every event has ids and times of its own; compression is not flattered by
//! one template repeated. The peer is the least that any consumer must do: fetch each message and look at its length.
//! Both read from the same broker; the broker's CPU is told apart. Every one of `--runs` is printed, never a mean of
//! different things. The pipeline's time ends when the last row has landed: the last cut waits until its lanes have been
//! silent for 0.2 seconds, which is part of it.

#![allow(clippy::disallowed_methods)] // it measures time

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use palisade::metrics::Metrics;
use palisade::run::{RunOptions, Until};
use palisade::{Config, Plan};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const PARTITIONS: i32 = 4;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |name: &str, default: u64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|i| arguments.get(i + 1)).and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let (events, runs) = (argument("--events", 1_000_000), argument("--runs", 2));
    let Ok(broker) = std::env::var("PALISADE_KAFKA") else {
        println!("not run: PALISADE_KAFKA names no broker; scripts/kafka.sh starts one");
        return Ok(());
    };
    let topic = format!("bench-{}", std::process::id());
    let bytes = fill(&broker, &topic, events)?;
    println!("{events} audit events, {:.0} bytes each, {PARTITIONS} partitions", bytes as f64 / events as f64);
    for run in 0..runs {
        let broker_before = broker_cpu();
        let bare = drain(&broker, &topic, events, run)?;
        let broker_bare = broker_since(broker_before, events);
        let broker_before = broker_cpu();
        let whole = pipeline(&broker, &topic, events, run)?;
        let broker_whole = broker_since(broker_before, events);
        report(events, bytes, bare, &whole, &broker_bare, &broker_whole);
    }
    Ok(())
}

struct Whole {
    wall: Duration,
    threads: BTreeMap<String, f64>,
    lake_bytes: u64,
    findings: u64,
    peak_bytes: u64,
}

fn report(events: u64, bytes: u64, bare: Duration, whole: &Whole, broker_bare: &str, broker_whole: &str) {
    let rate = |wall: Duration| events as f64 / wall.as_secs_f64();
    println!("\nbare drain            {:>10.0} events/s   ({broker_bare})", rate(bare));
    println!(
        "topic to lake         {:>10.0} events/s   {:.1} % of the bare drain   ({broker_whole})",
        rate(whole.wall),
        100.0 * rate(whole.wall) / rate(bare)
    );
    println!("peak memory           {:>10.0} MiB", whole.peak_bytes as f64 / 1048576.0);
    println!(
        "lake                  {:>10.1} bytes/event, {:.1} % of the input",
        whole.lake_bytes as f64 / events as f64,
        100.0 * whole.lake_bytes as f64 / bytes as f64
    );
    println!("findings              {:>10}", whole.findings);
    println!("core-microseconds per event, by thread:");
    for (name, secs) in &whole.threads {
        println!("  {name:<18} {:>8.3}", secs * 1e6 / events as f64);
    }
}

/// Fills the topic and returns the payload bytes.
fn fill(broker: &str, topic: &str, events: u64) -> Outcome<u64> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", broker).create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    for result in futures::executor::block_on(admin.create_topics(&[new], &AdminOptions::new()))? {
        result.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("compression.type", "zstd")
        .create()?;
    let mut bytes = 0;
    for (number, payload) in palisade_drill::audit_corpus(1, usize::try_from(events)?).iter().enumerate() {
        bytes += payload.len() as u64;
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).payload(payload.as_slice()).partition(number as i32 / 64 % PARTITIONS);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(bytes)
}

/// The least that a consumer must do.
fn drain(broker: &str, topic: &str, events: u64, run: u64) -> Outcome<Duration> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", format!("{topic}-drain-{run}"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[topic])?;
    // Joining the group takes seconds and is no part of draining: the clock starts with the first message.
    let (mut seen, mut bytes, mut begun) = (0u64, 0usize, Instant::now());
    while seen < events {
        if let Some(message) = consumer.poll(Duration::from_secs(30)) {
            if seen == 0 {
                begun = Instant::now();
            }
            bytes += message?.payload_len();
            seen += 1;
        }
    }
    assert!(bytes > 0);
    Ok(begun.elapsed())
}

fn pipeline(broker: &str, topic: &str, events: u64, run: u64) -> Outcome<Whole> {
    let folder = tempfile::tempdir()?;
    let lake = folder.path().join("lake");
    let text = format!(
        "job = \"{topic}-{run}\"\n[lake]\nurl = {:?}\n[pipeline]\nidle_secs = 0.2\n[[source]]\nname = \"audit\"\n\
         kind = \"kafka\"\nformat = \"k8s_audit\"\ncluster = \"bench\"\nbrokers = \"{broker}\"\ntopics = [\"{topic}\"]\n",
        lake.display().to_string()
    );
    let config = Config::parse("bench", &text, &BTreeMap::new())?;
    let plan = Plan::new(&config)?;
    let metrics = Arc::new(Metrics::new());
    let watch = Watch::start(Arc::clone(&metrics), events)?;
    // What filling the topic, draining it and earlier runs took is no part of this run's peak.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let options = RunOptions {
        stop: Arc::new(AtomicBool::new(false)),
        until: Until::CaughtUp,
        metrics: Arc::clone(&metrics),
        sinks: Vec::new(),
    };
    let summary = palisade::run::run(&config, &plan, options)?;
    let (wall, threads) = watch.finish();
    assert_eq!(summary.events, events, "every event was read");
    assert_eq!(metrics.rows_landed.get(), events, "every event landed");
    Ok(Whole {
        wall,
        threads,
        lake_bytes: folder_bytes(&lake.join("events"))?,
        findings: summary.findings,
        peak_bytes: peak_bytes(),
    })
}

/// Looks on from outside: when the first record came in, when the last row landed, and what each thread had used then.
struct Watch {
    done: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Duration, BTreeMap<String, f64>)>,
}

impl Watch {
    fn start(metrics: Arc<Metrics>, events: u64) -> Outcome<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&done);
        let before = thread_cpu();
        let watch = move || {
            let mut begun = Instant::now();
            while metrics.records.get() == 0 && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                begun = Instant::now();
            }
            let mut threads = thread_cpu();
            while metrics.rows_landed.get() < events && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(25));
                threads = thread_cpu();
            }
            let wall = begun.elapsed();
            for (name, secs) in &mut threads {
                *secs -= before.get(name).copied().unwrap_or(0.0);
            }
            threads.retain(|_, secs| *secs > 0.005);
            (wall, threads)
        };
        Ok(Self { done, thread: std::thread::Builder::new().name("watch".into()).spawn(watch)? })
    }

    fn finish(self) -> (Duration, BTreeMap<String, f64>) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// CPU seconds by thread name. The run loop is the main thread; librdkafka names its own `rdk:…`.
fn thread_cpu() -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return by_name };
    for task in tasks.flatten() {
        if let Some((name, secs)) = cpu_of(&task.path().join("stat")) {
            *by_name.entry(name).or_insert(0.0) += secs;
        }
    }
    by_name
}

/// CPU seconds of the broker, if `PALISADE_KAFKA_PID` names its process.
fn broker_cpu() -> Option<f64> {
    let pid = std::env::var("PALISADE_KAFKA_PID").ok()?;
    cpu_of(Path::new(&format!("/proc/{pid}/stat"))).map(|(_, secs)| secs)
}

/// What the broker spent on each event since a moment.
fn broker_since(before: Option<f64>, events: u64) -> String {
    match before.zip(broker_cpu()) {
        Some((before, now)) => format!("broker {:.2} core-us/event", (now - before) * 1e6 / events as f64),
        None => "broker not measured: PALISADE_KAFKA_PID names no process".into(),
    }
}

fn cpu_of(stat: &Path) -> Option<(String, f64)> {
    /// Clock ticks per second in `/proc`: fixed at 100 for user space on Linux.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string(stat).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((name, ticks / TICKS))
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn folder_bytes(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
