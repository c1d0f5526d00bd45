//! `palisade demo`: an embedded broker, a simulated cluster with an attack in it, the whole pipeline, two queries.
//!
//! The broker is librdkafka's mock cluster, which keeps only a few megabytes per partition: the producer therefore never
//! runs far ahead of what the pipeline has read.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use palisade::config::{LakeConfig, SourceConfig, SourceKind};
use palisade::events::time::format_rfc3339;
use palisade::metrics::Metrics;
use palisade::run::{RunOptions, Until};
use palisade::{Config, Error, Ownership, Plan, Result, Severity};
use palisade_drill::{Attack, Drill, Settings, Stream};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::show::Screen;
use super::term::{BOLD, DIM, simulated_time};

/// Records that the producer may be ahead of the pipeline: about 6 MB over nine partitions that keep 5 MB each.
const AHEAD_MAX: u64 = 4_000;
/// Partitions of each topic.
const PARTITIONS: i32 = 3;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder to keep the lake in, which must be empty or new; a new temporary folder if absent.
    #[arg(long)]
    lake: Option<PathBuf>,
    /// Seed of the simulated cluster.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated time.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Simulated events per second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
}

impl Demo {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        let lake = match self.lake {
            Some(lake) => lake,
            None => {
                let folder = tempfile::Builder::new().prefix("palisade-demo-").tempdir();
                folder.map_err(Error::io("making a temporary lake"))?.keep()
            }
        };
        super::must_be_empty(&lake)?;
        let broker = MockCluster::new(1).map_err(|e| Error::State(format!("embedded broker: {e}")))?;
        for stream in Stream::USUAL {
            broker
                .create_topic(stream.topic(), PARTITIONS, 1)
                .map_err(|e| Error::State(format!("embedded broker: {e}")))?;
        }
        let config = configure(&broker.bootstrap_servers(), &lake.display().to_string())?;
        let plan = Plan::new(&config)?;
        let settings = Settings {
            seed: self.seed,
            duration_secs: self.minutes.max(1) * 60,
            events_per_sec: self.rate,
            attacks: vec![Attack::new("stolen-ci-token", self.minutes.max(1) * 36)],
            ..Settings::default()
        };
        if !json {
            introduce(&settings, plan.stages().rules.rules().len());
        }
        let metrics = Arc::new(Metrics::new());
        let stop = super::stop_on_signals()?;
        let bar = simulated_time(json, settings.duration_secs, "");
        let (screen, seen) =
            Screen::new(json, if json { Severity::Informational } else { Severity::Medium }, Some(bar.clone()));
        let producer =
            Production::start(&broker.bootstrap_servers(), settings, Arc::clone(&metrics), &stop, bar.clone())?;
        let options = RunOptions {
            stop: Arc::clone(&stop),
            until: Until::CaughtUp,
            metrics: Arc::clone(&metrics),
            sinks: vec![Box::new(screen)],
        };
        let outcome = palisade::run::run(&config, &plan, options);
        // Nothing reads any more, however the run ended: the producer must not wait for it.
        stop.store(true, Ordering::Relaxed);
        let produced = producer.join()?;
        bar.finish_and_clear();
        let summary = outcome?;
        let Ok(seen) = seen.lock() else { return Ok(ExitCode::FAILURE) };
        if json {
            super::summarise(&summary);
            return Ok(ExitCode::SUCCESS);
        }
        let techniques: Vec<String> = seen.techniques.keys().cloned().collect();
        anstream::println!(
            "{BOLD}Done.{BOLD:#} {produced} records produced, {} read, {} events kept.",
            summary.records,
            summary.events
        );
        anstream::println!(
            "{} findings in {} groups; ATT&CK techniques seen: {}",
            seen.total(),
            seen.groups.len(),
            techniques.join(", ")
        );
        for (severity, count) in seen.by_severity.iter().rev() {
            anstream::println!("  {:<13} {count}", severity.name());
        }
        let lake = lake.display();
        let program = std::env::args().next().unwrap_or_else(|| "palisade".into());
        anstream::println!("\nThe history is in {BOLD}{lake}{BOLD:#}. Two questions to ask it:\n");
        anstream::println!(
            "  {program} sql --lake {lake} \"SELECT title, entity, count(*) AS n, min(first_seen) AS first FROM findings GROUP BY title, entity ORDER BY first\""
        );
        anstream::println!(
            "  {program} sql --lake {lake} \"SELECT time, actor_user_name, src_endpoint_ip, api_operation, resource_type, namespace_name, resource_name FROM events WHERE resource_subresource = 'exec' ORDER BY time\""
        );
        anstream::println!("\n{DIM}or `{program} sql --lake {lake}` for a prompt{DIM:#}");
        Ok(ExitCode::SUCCESS)
    }
}

fn configure(brokers: &str, lake: &str) -> Result<Config> {
    let source = |stream: Stream, format: &str| SourceConfig {
        cluster: "demo".into(),
        brokers: Some(brokers.to_owned()),
        topics: vec![stream.topic().to_owned()],
        group: Some(format!("demo-{}", stream.topic())),
        ..SourceConfig::new(stream.topic(), SourceKind::Kafka, format)
    };
    let owner = |namespace: &str, owner: &str| Ownership {
        owner: owner.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Ownership::default()
    };
    let mut config = Config {
        job: "demo".into(),
        lake: LakeConfig { url: lake.to_owned(), fsync: false, commit_interval_secs: 1.0, ..LakeConfig::default() },
        sources: vec![
            source(Stream::K8sAudit, "k8s_audit"),
            source(Stream::Falco, "falco"),
            source(Stream::Auditd, "auditd"),
        ],
        owners: vec![owner("payments", "team-payments"), owner("shop", "team-shop")],
        ..Config::default()
    };
    config.pipeline.idle_secs = 3.0;
    config.check()?;
    Ok(config)
}

fn introduce(settings: &Settings, rules: usize) {
    let end = settings.start + settings.duration_secs as i64 * 1_000_000;
    anstream::println!(
        "{BOLD}Palisade demo{BOLD:#}: a cluster of {} nodes from {} to {}, {rules} rules, statistics and SQL correlations.",
        settings.nodes,
        format_rfc3339(settings.start),
        format_rfc3339(end)
    );
    anstream::println!(
        "{DIM}Kubernetes audit, Falco and auditd over an embedded broker; someone with a stolen token arrives after {} minutes.{DIM:#}\n",
        settings.attacks.first().map_or(0, |attack| attack.at_secs / 60)
    );
}

/// The thread that plays the cluster.
struct Production(JoinHandle<Result<u64>>);

impl Production {
    fn start(
        brokers: &str,
        settings: Settings,
        metrics: Arc<Metrics>,
        stop: &Arc<AtomicBool>,
        bar: ProgressBar,
    ) -> Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("linger.ms", "5")
            .set("compression.type", "none")
            .create()
            .map_err(|e| Error::State(format!("embedded broker: {e}")))?;
        let stop = Arc::clone(stop);
        let play = move || {
            let start = settings.start;
            let mut produced = 0u64;
            let drill = Drill::new(settings).map_err(|e| Error::State(e.to_string()))?;
            for record in drill {
                while produced >= metrics.records.get() + AHEAD_MAX && !stop.load(Ordering::Relaxed) {
                    producer.poll(Duration::from_millis(2));
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                send(&producer, &record)?;
                produced += 1;
                if produced.is_multiple_of(256) {
                    bar.set_position(u64::try_from((record.time - start) / 1_000_000).unwrap_or(0));
                    bar.set_message(format!("{} events", metrics.events.get()));
                    producer.poll(Duration::ZERO);
                }
            }
            producer.flush(Duration::from_secs(10)).map_err(|e| Error::State(format!("embedded broker: {e}")))?;
            Ok(produced)
        };
        let thread = std::thread::Builder::new().name("cluster".into()).spawn(play);
        Ok(Self(thread.map_err(Error::io("starting the cluster"))?))
    }

    fn join(self) -> Result<u64> {
        self.0.join().map_err(|_| Error::Thread("cluster"))?
    }
}

fn send(producer: &BaseProducer<DefaultProducerContext>, record: &palisade_drill::Record) -> Result<()> {
    let message: BaseRecord<'_, str, [u8]> = BaseRecord::to(record.stream.topic())
        .key(record.key.as_str())
        .payload(record.payload.as_slice())
        .timestamp(record.time / 1000);
    enqueue(producer, message).map_err(|e| Error::State(format!("embedded broker: {e}")))
}

/// Hands a record to a producer, waiting while its queue is full.
pub(super) fn enqueue(
    producer: &BaseProducer<DefaultProducerContext>,
    mut message: BaseRecord<'_, str, [u8]>,
) -> KafkaResult<()> {
    while let Err((error, back)) = producer.send(message) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error);
        }
        producer.poll(Duration::from_millis(10));
        message = back;
    }
    Ok(())
}
