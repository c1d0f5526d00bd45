//! Which files there are, and which of them are the same: twins, grown, rotated and renamed files keep one identity.
//!
//! Two contents are the same file if one is a prefix of the other that reaches beyond the first record. A file's
//! fingerprint is the hash of its first record; files that share it but part further on are told apart by a generation.
//!
//! Not here: reading records.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::Lane;
use palisade_events::id::content_hash;
use palisade_events::seam::SourceError;
use tempfile::NamedTempFile;
use walkdir::WalkDir;

use super::ledger::KnownFile;
use super::lines::{self, Compression, Content, Lines};
use super::{Framing, records};

/// Bytes of the first record that make the fingerprint: enough to hold a whole audit event.
const FINGERPRINT_BYTES: usize = 64 << 10;

/// A file to look at: the name it goes by, and where its bytes are.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// A file that will be a lane.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) lane: Arc<Lane>,
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    pub(super) known: Option<KnownFile>,
}

/// A file that cannot be read, and why.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) name: String,
    pub(super) why: String,
}

/// The files that paths name.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In path order, each once.
    pub(super) candidates: Vec<Candidate>,
    /// Copies of what cannot be read twice.
    pub(super) spools: Vec<NamedTempFile>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// Lists the files that `paths` name, in path order, each once. `-` is copied to a temporary file first, so that it can be
/// read twice. Anything else that is neither a file nor a folder is refused: opening a pipe waits for a writer, who may
/// never come.
pub(super) fn list(
    source: &str,
    paths: &[PathBuf],
    stdin: &mut dyn Read,
    spool_bytes_max: u64,
) -> Result<Listing, SourceError> {
    let failed = |path: &Path, why: &dyn std::fmt::Display, retry: bool| SourceError {
        source_name: source.to_owned(),
        why: format!("{}: {why}", path.display()),
        retry,
    };
    let (mut files, mut spools, mut unreadable) = (BTreeMap::new(), Vec::new(), Vec::new());
    for path in paths {
        if path.as_os_str() == "-" {
            let spool = spool(stdin, spool_bytes_max).map_err(|e| failed(path, &e, false))?;
            files.insert(path.clone(), spool.path().to_path_buf());
            spools.push(spool);
            continue;
        }
        let kind = std::fs::metadata(path).map_err(|e| failed(path, &e, e.kind() != io::ErrorKind::NotFound))?;
        if kind.is_file() {
            files.insert(path.clone(), path.clone());
        } else if kind.is_dir() {
            for entry in
                WalkDir::new(path).follow_links(true).into_iter().filter_entry(|e| e.depth() == 0 || !is_hidden(e))
            {
                match entry {
                    Ok(entry) if entry.file_type().is_file() => {
                        files.insert(entry.path().to_path_buf(), entry.path().to_path_buf());
                    }
                    Ok(_) => {}
                    Err(e) => unreadable
                        .push(Unreadable { name: e.path().unwrap_or(path).display().to_string(), why: e.to_string() }),
                }
            }
        } else {
            let why = "is neither a file nor a folder; what a pipe holds can be read from standard input, as `-`";
            return Err(failed(path, &why, false));
        }
    }
    unreadable.sort_by(|a, b| a.name.cmp(&b.name));
    let candidates = files.into_iter().map(|(name, path)| Candidate { name: name.display().to_string(), path });
    Ok(Listing { candidates: candidates.collect(), spools, unreadable })
}

fn is_hidden(entry: &walkdir::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().first() == Some(&b'.')
}

fn spool(from: &mut dyn Read, bytes_max: u64) -> io::Result<NamedTempFile> {
    let mut spool = NamedTempFile::new()?;
    let copied = io::copy(&mut from.take(bytes_max.saturating_add(1)), &mut spool)?;
    if copied > bytes_max {
        return Err(io::Error::other(format!("holds more than the bound of {bytes_max} bytes")));
    }
    spool.flush()?;
    spool.seek(SeekFrom::Start(0))?;
    Ok(spool)
}

/// Gives every candidate its identity, in path order. Files without any record have none.
pub(super) fn identify(
    source: &str,
    candidates: Vec<Candidate>,
    known: &[KnownFile],
    framing: Framing,
    unreadable: &mut Vec<Unreadable>,
) -> Vec<Identified> {
    let mut distinct: Vec<Distinct> = Vec::new();
    for candidate in candidates {
        match fingerprint(&candidate.path, framing) {
            Ok(Some((fingerprint, compression))) => {
                add_unless_twin(&mut distinct, Distinct { candidate, fingerprint, compression });
            }
            Ok(None) => {}
            Err(e) => unreadable.push(Unreadable { name: candidate.name, why: e.to_string() }),
        }
    }
    let mut found: Vec<Identified> = Vec::new();
    for content in distinct {
        let (known, generation) = recognise(source, &content, known, &found);
        found.push(Identified {
            lane: Arc::new(Lane::file(source, &content.candidate.name, &content.fingerprint, generation)),
            path: content.candidate.path,
            compression: content.compression,
            known,
        });
    }
    found
}

/// One content among those of this run.
struct Distinct {
    candidate: Candidate,
    fingerprint: String,
    compression: Compression,
}

/// Of twins the longer one is read: the other holds nothing that it does not.
fn add_unless_twin(distinct: &mut Vec<Distinct>, content: Distinct) {
    for other in distinct.iter_mut().filter(|other| other.fingerprint == content.fingerprint) {
        // Contents that cannot be read to where they part cannot be shown to be twins; reading them tells what is wrong.
        match compare(&other.candidate.path, &content.candidate.path).unwrap_or(Relation::Differ) {
            Relation::Differ => {}
            Relation::SecondGoesOn => {
                *other = content;
                return;
            }
            Relation::Same | Relation::FirstGoesOn => return,
        }
    }
    distinct.push(content);
}

/// Finds the ledger's entry that is a prefix of the content, the longest first; else the next free generation.
fn recognise(source: &str, content: &Distinct, known: &[KnownFile], found: &[Identified]) -> (Option<KnownFile>, u32) {
    let mine: Vec<&KnownFile> =
        known.iter().filter(|k| k.source == source && k.fingerprint == content.fingerprint).collect();
    let here: Vec<u32> = found
        .iter()
        .filter(|f| f.lane.fingerprint.as_deref() == Some(content.fingerprint.as_str()))
        .map(|f| f.lane.generation)
        .collect();
    let mut free: Vec<&KnownFile> = mine.iter().copied().filter(|k| !here.contains(&k.generation)).collect();
    free.sort_by_key(|k| (std::cmp::Reverse(k.far_bytes), k.generation));
    let ends: BTreeSet<u64> = free.iter().map(|k| k.far_bytes).collect();
    let hashes = prefix_hashes(&content.candidate.path, &ends);
    let fits = free.into_iter().find(|k| hashes.get(&k.far_bytes) == Some(&k.far_hash));
    let generation = match fits {
        Some(file) => file.generation,
        None => {
            let used = mine.iter().map(|k| k.generation).chain(here).max();
            used.map_or(0, |last| last.saturating_add(1))
        }
    };
    (fits.cloned(), generation)
}

/// The hash of the first record that is not empty, cut to a bound; `None` if there is no such record.
fn fingerprint(path: &Path, framing: Framing) -> io::Result<Option<(String, Compression)>> {
    let (content, compression) = lines::open(path)?;
    let head = records::head(content, framing, FINGERPRINT_BYTES)?;
    Ok(head.map(|head| (content_hash("palisade.file.v1", &head), compression)))
}

/// The hashes of the content up to each of some places, as far as it reaches: one pass, however many files share its
/// first record, as those with one CSV header do.
fn prefix_hashes(path: &Path, ends: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut hashes = BTreeMap::new();
    let Some(mut lines) = (!ends.is_empty()).then(|| lines::open(path).ok()).flatten().map(|open| Lines::new(open.0))
    else {
        return hashes;
    };
    let mut at = 0;
    for &end in ends {
        // What cannot be read is no prefix; reading it later tells why.
        if lines.skip(end - at).ok() != Some(end - at) {
            break;
        }
        at = end;
        hashes.insert(end, blake3::Hash::from(lines.hash()).to_hex().to_string());
    }
    hashes
}

enum Relation {
    Same,
    FirstGoesOn,
    SecondGoesOn,
    Differ,
}

/// Compares two contents up to where they part.
fn compare(first: &Path, second: &Path) -> io::Result<Relation> {
    let (mut a, mut b) = (lines::open(first)?.0, lines::open(second)?.0);
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (m, n) = (read_full(&mut a, &mut left)?, read_full(&mut b, &mut right)?);
        let common = m.min(n);
        if left[..common] != right[..common] {
            return Ok(Relation::Differ);
        }
        match m.cmp(&n) {
            std::cmp::Ordering::Greater => return Ok(Relation::FirstGoesOn),
            std::cmp::Ordering::Less => return Ok(Relation::SecondGoesOn),
            std::cmp::Ordering::Equal if m == 0 => return Ok(Relation::Same),
            std::cmp::Ordering::Equal => {}
        }
    }
}

fn read_full(content: &mut Content, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
