//! `palisade rules explain`: why a rule holds for an event, or does not, and which exception suppresses the match. The event
//! is decoded as a stream decodes it, secrets replaced, so that what is explained is what a stream sees.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use palisade::events::clock::Tolerance;
use palisade::events::{Chunk, EventBatch, FieldPlan, Lane, LaneClock, time};
use palisade::ingest::{Decoded, Format, Settings, decoder};
use palisade::rules::verify::{Bundle, Probe, ProbeError};
use palisade::rules::{JsonEvent, Reading, batch_of_json};
use palisade::{Error, Result};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{bundles, tell};
use crate::cli::must_exist;
use crate::cli::term::{printable, say};

/// The format of events that are not decoded.
const AS_WRITTEN: &str = "as-written";

/// Events that are explained: more than that nobody reads.
const EVENTS_MAX: usize = 20;

/// Bytes of the file of events that are read.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Id, name or title of the rule.
    rule: String,
    /// File with the event, or with several; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// Packs, folders and files of rules and exceptions, separated by commas, beside the pack that is built in.
    #[arg(long, value_delimiter = ',', value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Format of the event, such as k8s_audit; as-written takes the fields of a JSON object as they are, as `rules eval`
    /// does. If absent, it is told by what the event shows.
    #[arg(long, value_parser = known_format)]
    format: Option<String>,
}

impl Explain {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        must_exist(std::slice::from_ref(&self.event))?;
        let format = self.format.as_deref().unwrap_or("auto");
        let reading = if format == AS_WRITTEN { Reading::AsWritten } else { Reading::Taxonomy };
        let mut bundles = bundles(&self.rules)?;
        if !self.rules.is_empty() && reading == Reading::Taxonomy {
            // As on a stream, packs stand beside the one that is built in: its rules may be what they except.
            bundles.push(Bundle::starter().map_err(|e| Error::Rules(e.to_string()))?);
        }
        let probe = Probe::new(&bundles, &self.rule, reading).map_err(|e| match e {
            ProbeError::Unknown { .. } => Error::Usage(e.to_string()),
            other => Error::Rules(other.to_string()),
        })?;
        tell(probe.problems(), json);
        let bytes = self.read()?;
        let records = records(&bytes);
        let (batch, refused) = if format == AS_WRITTEN {
            as_written(probe.plan(), &records)?
        } else {
            decoded(format, probe.plan(), &records)?
        };
        for why in &refused {
            eprintln!("{}", printable(why));
        }
        if batch.rows() == 0 {
            eprintln!("no event could be read: say its --format, or --format {AS_WRITTEN} for other JSON");
            return Ok(ExitCode::FAILURE);
        }
        let shown = batch.rows().min(EVENTS_MAX);
        for row in 0..shown {
            let diagnosis = probe.diagnose(&batch, row);
            if json {
                let line = serde_json::to_string(&diagnosis).map_err(|e| Error::State(e.to_string()))?;
                say(&format!("{line}\n"))?;
                continue;
            }
            let head = if batch.rows() > 1 { format!("event {}: ", row + 1) } else { String::new() };
            say(&format!("{head}{}", printable(&diagnosis.to_string())))?;
        }
        if batch.rows() > shown {
            eprintln!("{} further events are not explained", batch.rows() - shown);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = if self.event.as_os_str() == "-" {
            std::io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(&self.event).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
        };
        read.map_err(Error::io(format!("reading {}", self.event.display())))?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(Error::Usage(format!("{} is too large: give the event alone", self.event.display())));
        }
        Ok(bytes)
    }
}

/// One document over several lines, or a record a line.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    // The byte order mark that some editors begin files with.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        return vec![bytes];
    }
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect()
}

/// The events as a decoder reads them, and why some could not be read.
fn decoded(format: &str, plan: &Arc<FieldPlan>, records: &[&[u8]]) -> Result<(EventBatch, Vec<String>)> {
    let format = Format::named(format).unwrap_or(Format::Auto);
    let settings = Settings { source: "explain".into(), plan: Arc::clone(plan), ..Settings::default() };
    let lane = Arc::new(Lane::channel("explain", "event"));
    let mut decoder = decoder(&format, Arc::clone(&lane), Arc::new(settings));
    let mut chunk = Chunk::new(lane);
    for (offset, record) in (0..).zip(records) {
        chunk.push(record, offset, None, None);
    }
    let (mut clock, mut out) = (LaneClock::new(Tolerance::default()), Decoded::new(Arc::clone(plan)));
    decoder.decode(&chunk, &mut clock, &mut out)?;
    // Nothing follows, so that what is assembled of several records is complete.
    decoder.end(&mut clock, &mut out)?;
    let refused =
        out.rejects.iter().map(|reject| format!("rejected as {}: {}", reject.reason, reject.detail)).collect();
    Ok((out.events.finish()?, refused))
}

/// The events as they are. They happen now, as for `rules eval`: an exception that has expired suppresses none of them.
fn as_written(plan: &Arc<FieldPlan>, records: &[&[u8]]) -> Result<(EventBatch, Vec<String>)> {
    let mut events = Vec::new();
    let mut refused = Vec::new();
    let now = Value::from(time::format_rfc3339(super::at()));
    let columns: serde_json::Map<String, Value> = std::iter::once(("time".to_owned(), now)).collect();
    for (record, number) in records.iter().zip(1..) {
        match serde_json::from_slice(record) {
            Ok(event @ Value::Object(_)) => {
                events.push(JsonEvent {
                    format: "json".into(),
                    columns: columns.clone(),
                    event,
                    ..JsonEvent::default()
                });
            }
            Ok(_) => refused.push(format!("record {number}: JSON, but no object")),
            Err(e) => refused.push(format!("record {number}: not JSON: {e}")),
        }
    }
    Ok((batch_of_json(plan, &events)?, refused))
}

fn known_format(name: &str) -> std::result::Result<String, String> {
    if name == AS_WRITTEN {
        return Ok(name.to_owned());
    }
    let known: Vec<&str> = Format::NAMED.iter().map(|(known, _)| *known).collect();
    match Format::named(name) {
        Some(format) => Ok(format.name().to_owned()),
        None => Err(format!("there are {AS_WRITTEN}, {}", known.join(", "))),
    }
}
