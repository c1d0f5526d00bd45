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

    use palisade_ingest::kafka::{TokenFile, client_config, without_secrets};
    use rdkafka::ClientContext;
    use rdkafka::client::OAuthToken;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    use rdkafka::message::DeliveryResult;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};

    use super::*;

    /// How long a batch may take to be acknowledged.
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

    /// What librdkafka calls back.
    #[derive(Clone, Default)]
    struct Reports {
        /// Why the broker did not take a message of the batch at hand.
        refusal: Arc<Mutex<Option<String>>>,
        /// What was said last about connections that fail.
        trouble: Arc<Mutex<Option<String>>>,
        token: Option<TokenFile>,
    }

    impl Reports {
        fn take(from: &Mutex<Option<String>>) -> Option<String> {
            from.lock().unwrap_or_else(PoisonError::into_inner).take()
        }
    }

    impl ClientContext for Reports {
        const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

        fn error(&self, error: KafkaError, reason: &str) {
            tracing::debug!(%error, reason, "librdkafka");
            // That all brokers are down says nothing about why.
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
                *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
            }
        }

        fn generate_oauth_token(&self, _: Option<&str>) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
            match &self.token {
                Some(file) => file.token(),
                None => Err("no file with a token is configured".into()),
            }
        }
    }

    impl ProducerContext for Reports {
        type DeliveryOpaque = ();

        fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
            if let Err((error, _)) = result {
                self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
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
            let mut client = client_config(&config.properties);
            for (name, value) in
                [("bootstrap.servers", config.brokers.as_deref().unwrap_or_default()), ("enable.idempotence", "true")]
            {
                if !config.properties.contains_key(name) {
                    client.set(name, value);
                }
            }
            let token = config.oauth_token_file.clone().map(TokenFile::new);
            let reports = Reports { token, ..Reports::default() };
            let producer = client
                .create_with_context(reports.clone())
                .map_err(|e| Error::State(format!("kafka sink: {}", without_secrets(&e))))?;
            Ok(Self { topic: config.topic.clone().unwrap_or_default(), reports, producer })
        }

        fn send(&self, findings: &[Finding]) -> std::result::Result<(), String> {
            for finding in findings {
                let payload = finding.to_json().to_string();
                let mut record = BaseRecord::to(&self.topic).key(&finding.group_uid).payload(&payload);
                while let Err((error, back)) = self.producer.send(record) {
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(error.to_string());
                    }
                    self.producer.poll(Duration::from_millis(50));
                    record = back;
                }
            }
            let flushed = self.producer.flush(FLUSH_TIMEOUT);
            let trouble = Reports::take(&self.reports.trouble);
            flushed.map_err(|e| trouble.map_or_else(|| e.to_string(), |trouble| format!("{e}: {trouble}")))?;
            Reports::take(&self.reports.refusal).map_or(Ok(()), Err)
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
                let _purged = Reports::take(&self.reports.refusal);
                SinkError { sink: self.topic.clone(), why, retry: true }
            })
        }
    }
}
