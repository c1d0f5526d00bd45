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
    use std::time::Duration;

    use rdkafka::config::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;

    /// How long a batch may take to be acknowledged.
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

    /// One JSON message per finding, keyed by its group.
    pub(super) struct Topic {
        topic: String,
        producer: BaseProducer,
    }

    impl Topic {
        pub(super) fn new(config: &SinkConfig) -> Result<Self> {
            let mut properties = ClientConfig::new();
            properties.set("bootstrap.servers", config.brokers.clone().unwrap_or_default());
            properties.set("enable.idempotence", "true");
            for (key, value) in &config.properties {
                properties.set(key, value);
            }
            let producer = properties.create().map_err(|e| Error::State(format!("kafka sink: {e}")))?;
            Ok(Self { topic: config.topic.clone().unwrap_or_default(), producer })
        }
    }

    impl Sink for Topic {
        fn name(&self) -> &str {
            &self.topic
        }

        fn deliver(&mut self, findings: &[Finding]) -> Result<(), SinkError> {
            let fail = |why: String| SinkError { sink: self.topic.clone(), why, retry: true };
            for finding in findings {
                let payload = finding.to_json().to_string();
                let mut record = BaseRecord::to(&self.topic).key(&finding.group_uid).payload(&payload);
                while let Err((error, back)) = self.producer.send(record) {
                    if error.rdkafka_error_code() != Some(rdkafka::error::RDKafkaErrorCode::QueueFull) {
                        return Err(fail(error.to_string()));
                    }
                    self.producer.poll(Duration::from_millis(50));
                    record = back;
                }
            }
            self.producer.flush(FLUSH_TIMEOUT).map_err(|e| fail(e.to_string()))
        }
    }
}
