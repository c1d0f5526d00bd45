//! The file source: plain and compressed files, folders of them, and standard input. Each file is one lane.
//!
//! A line is a record; empty lines are skipped but counted as lines. With [`Framing::Documents`], a line that begins as a
//! JSON object or array and does not complete it goes on in the following lines, for as long as they can lexically belong
//! to it; a line that cannot begins the next record. So a line that broke off costs itself alone, unless what follows
//! happens to fit its open end, as a value does after a colon. The line ends inside a document are kept.
//!
//! A record longer than its bound is delivered cut, one byte over the bound, so that the decoder rejects it by its size.
//! That is one reject for the whole of it: a document is read to its end all the same, since its inner lines might pass
//! for records. Only where a single line is over the document's bound does the record end with that line.
//!
//! What is incomplete at the end of the file, a line without newline or a document, is delivered as it is; when the file
//! has grown beyond it in a later run, the whole of it is delivered as a further record. Where a part of the file cannot
//! be read, a record that reaches into it is not delivered at all, so that it comes whole once the file is mended.
//!
//! Files are the same if their content says so, not their path ([`KnownFile`]): a copy, a compressed twin, a rotated and
//! renamed file is read once, and a file that grew goes on where it was left. A file that became shorter than what was
//! read of it cannot be told from another one, and is read as such; so is a file whose first record grew.
//!
//! At most [`FileSettings::lanes_max`] lanes are joined at a time, in path order; the next joins when an earlier one has
//! ended. Lanes are read round-robin, a chunk at a time.
//!
//! Not here: following a file while it grows; a run ends at the end of the files.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_events::seam::{Hold, Resume, Signal, Source, SourceError};
use palisade_events::{Chunk, Coverage, CoverageKind, Lane};
use tempfile::NamedTempFile;

use crate::decode::Limits;

mod framing;
mod lines;
mod records;
mod ledger;
mod identity;
mod reading;

pub use ledger::KnownFile;
pub use lines::Compression;

use identity::{Identified, Listing, Unreadable};
use ledger::Marks;
use reading::{Reached, Reading};

/// What the file source is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// The cluster that the files belong to; empty if none is stated.
    pub cluster: String,
    /// Whether the first record of a file is needed to read any other.
    pub header: Header,
    /// Whether a JSON document over several lines is one record.
    pub framing: Framing,
    /// Longest line that is delivered whole.
    pub record_bytes_max: usize,
    /// Longest record that is delivered whole if it begins as a JSON object or array does, on one line or many; no less
    /// than `record_bytes_max`. So much is held in memory of one record, and a line more while it is read.
    pub document_bytes_max: usize,
    /// A chunk is handed over when it holds so many bytes,
    pub chunk_bytes_max: usize,
    /// or so many records.
    pub chunk_records_max: usize,
    /// Most that is taken from standard input, since it is copied to a temporary file first.
    pub stdin_bytes_max: u64,
    /// Lanes joined at a time; each holds an open file and a buffer.
    pub lanes_max: usize,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            header: Header::Absent,
            framing: Framing::Documents,
            record_bytes_max: Limits::default().record_bytes_max,
            document_bytes_max: Limits::default().document_bytes_max,
            chunk_bytes_max: 1 << 20,
            chunk_records_max: 8192,
            stdin_bytes_max: 16 << 30,
            lanes_max: 64,
        }
    }
}

/// Whether files begin with a header record, as CSV does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Every record stands alone.
    Absent,
    /// The first record is a header: a lane that starts further on is given it `again` first.
    First,
}

/// What of a file is one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line, or a JSON object or array, whether it lies on one line or many.
    Documents,
    /// A line, whatever it holds, as in CSV.
    Lines,
}

/// Reads files to their ends.
#[derive(Debug)]
pub struct FileSource {
    name: String,
    settings: FileSettings,
    lanes: Vec<FileLane>,
    by_key: BTreeMap<String, usize>,
    /// The first lane that has not joined yet.
    joined: usize,
    /// The lane to look at first when the next chunk is read.
    turn: usize,
    facts: VecDeque<Coverage>,
    /// Copies of what cannot be read twice; deleted with the source.
    _spools: Vec<NamedTempFile>,
}

#[derive(Debug)]
struct FileLane {
    file: Identified,
    state: State,
    hold: Hold,
    marks: Marks,
}

#[derive(Debug)]
enum State {
    /// Not yet started.
    Waiting,
    /// To be opened and read from this record on.
    Started(Option<i64>),
    /// Open.
    Reading(Box<Reading>),
    /// Read to its end; the end was not yet told.
    Ended,
    /// The end was told.
    CaughtUp,
}

impl FileSource {
    /// Looks at the files that `paths` name: files, folders (with all files below them that are not hidden), `-` for
    /// standard input. `known` is the ledger of earlier runs.
    ///
    /// # Errors
    /// When a path does not exist or is neither a file nor a folder, or standard input holds more than the bound.
    pub fn new(
        name: &str,
        paths: &[PathBuf],
        known: &[KnownFile],
        settings: FileSettings,
    ) -> Result<Self, SourceError> {
        Self::with_stdin(name, paths, known, settings, &mut std::io::stdin())
    }

    /// Like [`new`](Self::new), with another reader in the place of standard input.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_stdin(
        name: &str,
        paths: &[PathBuf],
        known: &[KnownFile],
        settings: FileSettings,
        stdin: &mut dyn Read,
    ) -> Result<Self, SourceError> {
        let Listing { candidates, spools, unreadable: mut faults } =
            identity::list(name, paths, stdin, settings.stdin_bytes_max)?;
        let files = identity::identify(name, candidates, known, settings.framing, &mut faults);
        let facts = faults.iter().map(|file| unreadable(name, file, &settings)).collect();
        let lanes: Vec<FileLane> = files
            .into_iter()
            .map(|file| FileLane { file, state: State::Waiting, hold: Hold::Release, marks: Marks::default() })
            .collect();
        let by_key = lanes.iter().enumerate().map(|(i, lane)| (lane.file.lane.key(), i)).collect();
        Ok(Self { name: name.to_owned(), settings, lanes, by_key, joined: 0, turn: 0, facts, _spools: spools })
    }

    /// All lanes, joined or not.
    pub fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.iter().map(|lane| &lane.file.lane)
    }

    /// The ledger's entry of a lane whose records before `next_record` have been read. Known at the ends of delivered
    /// chunks and at the place where the lane started, until a later place has landed.
    pub fn progress(&self, lane: &Lane, next_record: i64) -> Option<KnownFile> {
        let lane = &self.lanes[*self.by_key.get(&lane.key())?];
        let mark = lane.marks.get(next_record)?;
        let prefix_hash = blake3::Hash::from(mark.prefix_hash).to_hex().to_string();
        let (far_bytes, far_hash) = match &lane.file.known {
            Some(known) if known.far_bytes > mark.bytes => (known.far_bytes, known.far_hash.clone()),
            _ => (mark.bytes, prefix_hash.clone()),
        };
        Some(KnownFile {
            source: self.name.clone(),
            fingerprint: lane.file.lane.fingerprint.clone().unwrap_or_default(),
            generation: lane.file.lane.generation,
            path: lane.file.lane.origin.clone(),
            records: next_record,
            bytes: mark.bytes,
            prefix_hash,
            compression: lane.file.compression,
            far_bytes,
            far_hash,
        })
    }

    fn find(&self, lane: &Lane) -> Result<usize, SourceError> {
        self.by_key.get(&lane.key()).copied().ok_or_else(|| SourceError {
            source_name: self.name.clone(),
            why: format!("lane {lane} is not one of this source"),
            retry: false,
        })
    }

    /// The lanes that may join now.
    fn join(&mut self) -> Vec<Arc<Lane>> {
        let running = self.lanes[..self.joined].iter().filter(|l| !matches!(l.state, State::CaughtUp)).count();
        let room = self.settings.lanes_max.max(1).saturating_sub(running);
        let from = self.joined;
        self.joined = (from + room).min(self.lanes.len());
        self.lanes[from..self.joined].iter().map(|l| Arc::clone(&l.file.lane)).collect()
    }

    /// Lets one lane say what it has to say; `None` if it is held, waiting or done.
    fn step(&mut self, index: usize) -> Option<Signal> {
        let lane = &mut self.lanes[index];
        if lane.hold == Hold::Hold {
            return None;
        }
        if let State::Started(next) = lane.state {
            lane.state = match Reading::open(&lane.file, next, &self.settings) {
                Ok((reading, start)) => {
                    lane.marks.put(reading.next_record(), start);
                    State::Reading(Box::new(reading))
                }
                Err(e) => {
                    self.facts.push_back(broken(&lane.file.lane, &self.settings, &e, -1));
                    State::Ended
                }
            };
        }
        if let State::Reading(reading) = &mut lane.state {
            let mut chunk = Chunk::new(Arc::clone(&lane.file.lane));
            let reached = reading.read(&mut chunk, &self.settings);
            let next = reading.next_record();
            lane.marks.put(next, reading.mark());
            match reached {
                Reached::Bound => {}
                Reached::End => lane.state = State::Ended,
                Reached::Fault(e) => {
                    self.facts.push_back(broken(&lane.file.lane, &self.settings, &e, next));
                    lane.state = State::Ended;
                }
            }
            if !chunk.records.is_empty() {
                return Some(Signal::Records(chunk));
            }
        }
        if let Some(fact) = self.facts.pop_front() {
            return Some(Signal::Fact(fact));
        }
        if matches!(lane.state, State::Ended) {
            lane.state = State::CaughtUp;
            return Some(Signal::CaughtUp(Arc::clone(&lane.file.lane)));
        }
        None
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self, wait: Duration) -> Result<Signal, SourceError> {
        if let Some(fact) = self.facts.pop_front() {
            return Ok(Signal::Fact(fact));
        }
        let joining = self.join();
        if !joining.is_empty() {
            return Ok(Signal::Joined(joining));
        }
        for step in 0..self.joined {
            let index = (self.turn + step) % self.joined;
            if let Some(signal) = self.step(index) {
                self.turn = index + 1;
                return Ok(signal);
            }
        }
        if self.lanes.iter().all(|lane| matches!(lane.state, State::CaughtUp)) {
            return Ok(Signal::Finished);
        }
        // Only held lanes and lanes that were not started are left: nothing changes until the caller acts.
        std::thread::sleep(wait.min(Duration::from_millis(10)));
        Ok(Signal::Nothing)
    }

    /// `None` goes on where the ledger says that the file was left, and begins at the beginning if it was never read.
    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError> {
        for (lane, resume) in lanes {
            let index = self.find(lane)?;
            self.lanes[index].state = State::Started(resume.as_ref().map(|resume| resume.next_offset));
        }
        Ok(())
    }

    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError> {
        for lane in lanes {
            let index = self.find(lane)?;
            self.lanes[index].state = State::CaughtUp;
        }
        Ok(())
    }

    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold) {
        if let Some(&index) = self.by_key.get(&lane.key()) {
            self.lanes[index].hold = hold;
        }
    }

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        for (lane, next) in lanes {
            if let Some(&index) = self.by_key.get(&lane.key()) {
                self.lanes[index].marks.landed(*next);
            }
        }
    }
}

fn gap(lane: Arc<Lane>, settings: &FileSettings, detail: String) -> Coverage {
    Coverage {
        lane,
        offset: -1,
        cluster: settings.cluster.clone(),
        kind: CoverageKind::Gap,
        // What lies in the unread part is not known, its time neither.
        window_start: 0,
        window_end: 0,
        count: -1,
        detail,
    }
}

fn unreadable(source: &str, file: &Unreadable, settings: &FileSettings) -> Coverage {
    let lane = Arc::new(Lane::file(source, &file.name, "unreadable", 0));
    gap(lane, settings, format!("{} cannot be read: {}", file.name, file.why))
}

fn broken(lane: &Arc<Lane>, settings: &FileSettings, error: &std::io::Error, next: i64) -> Coverage {
    let from = if next < 0 { String::new() } else { format!(" from record {next} on") };
    gap(Arc::clone(lane), settings, format!("{lane} cannot be read{from}: {error}"))
}

/// Opens a file for reading, decompressed if it is gzip or zstd.
pub(crate) fn open_content(path: &std::path::Path) -> std::io::Result<Box<dyn Read + Send>> {
    lines::open(path).map(|(content, _)| content)
}

#[cfg(test)]
mod tests;
