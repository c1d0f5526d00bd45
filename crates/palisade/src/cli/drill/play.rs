//! Letting a drill run: into files, to standard output, to Kafka, at a set speed or as fast as it can.
//!
//! Not here: what is written, which is the drill crate's.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::{Compression, GzBuilder};
use indicatif::ProgressBar;
use palisade::{Error, Result};
use palisade_drill::dataset::{LOSSES_FILE, Ledger, SETTINGS_FILE, TRUTH_FILE, losses, settings_text};
use palisade_drill::{Drill, Record, Settings, Stream};

use super::super::term::simulated_time;
use super::arguments::Shape;

/// Starts a drill. Scenario errors are mistakes of whoever wrote the scenario.
pub(super) fn begin(shape: &Shape) -> Result<(Drill, Settings)> {
    let (settings, given) = shape.settings()?;
    let drill = Drill::with_scenarios(settings.clone(), &given).map_err(|e| Error::Usage(e.to_string()))?;
    Ok((drill, settings))
}

pub(super) fn write(folder: &Path, gzip: bool, speed: Option<f64>, shape: &Shape, json: bool) -> Result<ExitCode> {
    let (drill, settings) = begin(shape)?;
    let stop = super::super::stop_on_signals()?;
    let bar = bar(json, settings.duration_secs);
    let written = into_folder(drill, &settings, folder, gzip, speed, &bar, &stop)?;
    bar.finish_and_clear();
    if !json {
        anstream::println!("{} records in {}", written, folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a drill's files. Gives the number of records.
pub(super) fn into_folder(
    mut drill: Drill,
    settings: &Settings,
    folder: &Path,
    gzip: bool,
    speed: Option<f64>,
    bar: &ProgressBar,
    stop: &AtomicBool,
) -> Result<u64> {
    std::fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
    forget(folder)?;
    let mut files: Vec<(Stream, Out)> = Vec::new();
    for stream in &settings.streams {
        if !files.iter().any(|(open, _)| open == stream) {
            files.push((*stream, Out::create(path_of(folder, *stream, gzip), gzip)?));
        }
    }
    let mut ledger = Ledger::default();
    let mut pace = Pace::new(speed);
    let mut written = 0u64;
    while let Some(record) = drill.next() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ledger.note(&drill, &record);
        if let Some((_, out)) = files.iter_mut().find(|(stream, _)| *stream == record.stream) {
            out.line(&record.payload)?;
        }
        written += 1;
        pace.wait(written);
        show(bar, settings, &record, written);
    }
    for (_, out) in files {
        out.finish()?;
    }
    let save = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).map_err(Error::io(format!("writing {name} in {}", folder.display())))
    };
    save(TRUTH_FILE, ledger.truth())?;
    save(LOSSES_FILE, &losses(&drill))?;
    save(SETTINGS_FILE, &settings_text(settings))?;
    Ok(written)
}

/// Takes away what an earlier drill left, which would be taken for a part of this one.
fn forget(folder: &Path) -> Result<()> {
    for stream in Stream::ALL {
        for gzip in [false, true] {
            let path = path_of(folder, stream, gzip);
            if path.is_file() {
                std::fs::remove_file(&path).map_err(Error::io(format!("removing {}", path.display())))?;
            }
        }
    }
    Ok(())
}

/// Where a stream's file is.
pub(super) fn path_of(folder: &Path, stream: Stream, gzip: bool) -> PathBuf {
    folder.join(if gzip { format!("{}.gz", stream.file()) } else { stream.file().to_owned() })
}

pub(super) fn print(speed: Option<f64>, shape: &Shape) -> Result<ExitCode> {
    let (drill, _) = begin(shape)?;
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut pace = Pace::new(speed);
    for (n, record) in (1u64..).zip(drill) {
        let sent = out.write_all(&record.payload).and_then(|()| out.write_all(b"\n"));
        let sent = if pace.wait(n) { sent.and_then(|()| out.flush()) } else { sent };
        if let Err(error) = sent {
            // Whoever reads has had enough.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Ok(ExitCode::SUCCESS);
            }
            return Err(Error::io("writing to standard output")(error));
        }
    }
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("writing to standard output")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(not(feature = "kafka"))]
pub(super) fn produce(
    _: &str,
    _: &str,
    _: &[(String, String)],
    _: Option<f64>,
    _: &Shape,
    _: bool,
) -> Result<ExitCode> {
    Err(Error::Usage("this program was built without Kafka".into()))
}

/// Sends each record to the topic of its stream, with its event time, its key, and the truth in the header
/// `palisade-truth`, which no decoder reads.
#[cfg(feature = "kafka")]
pub(super) fn produce(
    brokers: &str,
    prefix: &str,
    properties: &[(String, String)],
    speed: Option<f64>,
    shape: &Shape,
    json: bool,
) -> Result<ExitCode> {
    use rdkafka::config::ClientConfig;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    let failed = |e: rdkafka::error::KafkaError| Error::State(format!("producing to {brokers}: {e}"));
    let (mut drill, settings) = begin(shape)?;
    let stop = super::super::stop_on_signals()?;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("linger.ms", "20").set("compression.type", "lz4");
    for (name, value) in properties {
        client.set(name, value);
    }
    let producer: BaseProducer = client.create().map_err(failed)?;
    let topics: Vec<String> = Stream::ALL.iter().map(|stream| format!("{prefix}{}", stream.topic())).collect();
    let bar = bar(json, settings.duration_secs);
    let mut ledger = Ledger::default();
    let mut pace = Pace::new(speed);
    let mut sent = 0u64;
    while let Some(record) = drill.next() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ledger.note(&drill, &record);
        let mut message: BaseRecord<'_, str, [u8]> = BaseRecord::to(&topics[record.stream as usize])
            .key(record.key.as_str())
            .payload(record.payload.as_slice())
            .timestamp(record.time / 1000);
        if let Some(truth) = record.label.and_then(|label| drill.truth(label)) {
            let value = format!(
                "{}\t{}\t{}\t{}\t{}\t{}",
                truth.attack,
                truth.scenario,
                truth.variant,
                truth.role.name(),
                truth.step,
                truth.technique
            );
            message = message
                .headers(OwnedHeaders::new().insert(Header { key: "palisade-truth", value: Some(value.as_bytes()) }));
        }
        super::super::demo::enqueue(&producer, message).map_err(failed)?;
        sent += 1;
        if sent.is_multiple_of(256) {
            producer.poll(Duration::ZERO);
        }
        pace.wait(sent);
        show(&bar, &settings, &record, sent);
    }
    producer.flush(Duration::from_secs(30)).map_err(failed)?;
    bar.finish_and_clear();
    if !json {
        anstream::println!("{sent} records sent to {brokers}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar over the simulated time.
pub(super) fn bar(json: bool, secs: u64) -> ProgressBar {
    simulated_time(json, secs, ", {elapsed}")
}

fn show(bar: &ProgressBar, settings: &Settings, record: &Record, written: u64) {
    if written.is_multiple_of(4_096) {
        bar.set_position(u64::try_from((record.time - settings.start) / 1_000_000).unwrap_or(0));
        bar.set_message(format!("{written} records"));
    }
}

/// Keeps to a speed.
struct Pace {
    per_sec: Option<f64>,
    begun: Instant,
}

impl Pace {
    fn new(per_sec: Option<f64>) -> Self {
        // Anything below one record an hour is a slip of the hand.
        let per_sec = per_sec.filter(|speed| speed.is_finite()).map(|speed| speed.max(1.0 / 3_600.0));
        Self { per_sec, begun: now() }
    }

    /// Waits until this many records are due. Says whether it had to.
    fn wait(&mut self, records: u64) -> bool {
        let Some(per_sec) = self.per_sec else { return false };
        let due = Duration::from_secs_f64(records as f64 / per_sec);
        match due.checked_sub(now() - self.begun) {
            Some(early) if early > Duration::from_millis(1) => {
                std::thread::sleep(early);
                true
            }
            _ => false,
        }
    }
}

#[allow(clippy::disallowed_methods)] // The speed is one of the wall clock's seconds.
fn now() -> Instant {
    Instant::now()
}

/// A stream's file. The same drill gives the same bytes, compressed or not.
enum Out {
    Plain(PathBuf, BufWriter<File>),
    Gzip(PathBuf, Box<flate2::write::GzEncoder<BufWriter<File>>>),
}

impl Out {
    fn create(path: PathBuf, gzip: bool) -> Result<Self> {
        let file = File::create(&path).map_err(Error::io(format!("making {}", path.display())))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        // No time and no name in the header.
        Ok(if gzip {
            Self::Gzip(path, Box::new(GzBuilder::new().write(file, Compression::best())))
        } else {
            Self::Plain(path, file)
        })
    }

    fn line(&mut self, payload: &[u8]) -> Result<()> {
        let (path, written) = match self {
            Self::Plain(path, file) => (path, file.write_all(payload).and_then(|()| file.write_all(b"\n"))),
            Self::Gzip(path, gzip) => (path, gzip.write_all(payload).and_then(|()| gzip.write_all(b"\n"))),
        };
        written.map_err(Error::io(format!("writing {}", path.display())))
    }

    fn finish(self) -> Result<()> {
        let (path, mut file) = match self {
            Self::Plain(path, file) => (path, file),
            Self::Gzip(path, gzip) => {
                let file = gzip.finish().map_err(Error::io(format!("writing {}", path.display())))?;
                (path, file)
            }
        };
        file.flush().map_err(Error::io(format!("writing {}", path.display())))
    }
}
