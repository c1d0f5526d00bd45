//! Receivers of landed findings: standard output, a file, a Kafka topic.
//!
//! Not here: when findings are handed over (after they landed) and what happens to those that were not taken.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use palisade_events::seam::SinkError;
use palisade_events::{Finding, Sink};

use crate::config::{SinkConfig, SinkKind};
use crate::error::{Error, Result};

/// Makes the sinks of a configuration.
///
/// # Errors
/// When a file cannot be opened, or Kafka properties are refused.
pub fn sinks(configs: &[SinkConfig]) -> Result<Vec<Box<dyn Sink>>> {
    configs.iter().map(sink).collect()
}

fn sink(config: &SinkConfig) -> Result<Box<dyn Sink>> {
    match (&config.kind, &config.path) {
        (SinkKind::Stdout, _) => Ok(Box::new(Lines::new("stdout", std::io::stdout()))),
        (SinkKind::File, Some(path)) => Ok(Box::new(Lines::new("file", append(path)?))),
        (SinkKind::File, None) => Err(Error::State("a file sink needs a path".into())),
        #[cfg(feature = "kafka")]
        (SinkKind::Kafka, _) => Ok(Box::new(topic::Topic::new(config)?)),
        #[cfg(not(feature = "kafka"))]
        (SinkKind::Kafka, _) => Err(Error::State("built without Kafka".into())),
    }
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(format!("opening {}", path.display())))
}

/// One JSON line per finding.
pub struct Lines<W: Write + Send> {
    name: &'static str,
    out: BufWriter<W>,
}

impl<W: Write + Send> Lines<W> {
    /// Writes lines to `out`.
    pub fn new(name: &'static str, out: W) -> Self {
        Self { name, out: BufWriter::new(out) }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn name(&self) -> &str {
        self.name
    }

    fn deliver(&mut self, findings: &[Finding]) -> Result<(), SinkError> {
        let fail = |e: std::io::Error| SinkError {
            sink: self.name.into(),
            why: e.to_string(),
            retry: e.kind() != std::io::ErrorKind::BrokenPipe,
        };
        for finding in findings {
            writeln!(self.out, "{}", finding.to_json()).map_err(fail)?;
        }
        self.out.flush().map_err(fail)
    }
}

#[cfg(feature = "kafka")]
mod topic {
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use rdkafka::ClientContext;
    use rdkafka::config::ClientConfig;
    use rdkafka::message::DeliveryResult;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};

    use super::*;

    /// How long a batch may take to be acknowledged.
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

    /// Why the broker did not take a message of the batch at hand.
    #[derive(Clone, Default)]
    struct Reports(Arc<Mutex<Option<String>>>);

    impl Reports {
        fn take(&self) -> Option<String> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
        }
    }

    impl ClientContext for Reports {}

    impl ProducerContext for Reports {
        type DeliveryOpaque = ();

        fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
            if let Err((error, _)) = result {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// One JSON message per finding, keyed by its group. A batch counts as taken when the broker has acknowledged every
    /// message of it; after a failure the whole batch is sent again, so readers go by `finding_uid`.
    pub(super) struct Topic {
        topic: String,
        reports: Reports,
        producer: BaseProducer<Reports>,
    }

    impl Topic {
        pub(super) fn new(config: &SinkConfig) -> Result<Self> {
            let mut properties = ClientConfig::new();
            properties.set("bootstrap.servers", config.brokers.clone().unwrap_or_default());
            properties.set("enable.idempotence", "true");
            for (key, value) in &config.properties {
                properties.set(key, value);
            }
            let reports = Reports::default();
            let producer = properties
                .create_with_context(reports.clone())
                .map_err(|e| Error::State(format!("kafka sink: {e}")))?;
            Ok(Self { topic: config.topic.clone().unwrap_or_default(), reports, producer })
        }

        fn send(&self, findings: &[Finding]) -> std::result::Result<(), String> {
            for finding in findings {
                let payload = finding.to_json().to_string();
                let mut record = BaseRecord::to(&self.topic).key(&finding.group_uid).payload(&payload);
                while let Err((error, back)) = self.producer.send(record) {
                    if error.rdkafka_error_code() != Some(rdkafka::error::RDKafkaErrorCode::QueueFull) {
                        return Err(error.to_string());
                    }
                    self.producer.poll(Duration::from_millis(50));
                    record = back;
                }
            }
            self.producer.flush(FLUSH_TIMEOUT).map_err(|e| e.to_string())?;
            self.reports.take().map_or(Ok(()), Err)
        }
    }

    impl Sink for Topic {
        fn name(&self) -> &str {
            &self.topic
        }

        fn deliver(&mut self, findings: &[Finding]) -> std::result::Result<(), SinkError> {
            self.send(findings).map_err(|why| {
                // What is still queued comes again with the batch.
                self.producer.purge(PurgeConfig::default().queue().inflight());
                self.producer.poll(Duration::ZERO);
                let _purged = self.reports.take();
                SinkError { sink: self.topic.clone(), why, retry: true }
            })
        }
    }
}
