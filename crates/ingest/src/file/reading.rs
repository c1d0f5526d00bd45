//! One open file: the records still to come, from the place where the lane starts.

use std::io;

use palisade_events::{Chunk, RecordMeta};

use super::identity::Identified;
use super::ledger::Mark;
use super::lines;
use super::records::Records;
use super::{FileSettings, Header};

/// How far a reading came.
#[derive(Debug)]
pub(super) enum Reached {
    /// The chunk is full.
    Bound,
    /// The file's end.
    End,
    /// A part of the file that cannot be read; what was read before it stands.
    Fault(io::Error),
}

/// A file being read.
#[derive(Debug)]
pub(super) struct Reading {
    records: Records,
    next_record: i64,
    /// The file's first record, to be delivered again before the next one.
    header: Option<Kept>,
    /// A record that was read while looking for the start.
    pending: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    line: i64,
    text: Vec<u8>,
}

impl Reading {
    /// Opens a file at record `next`; tells the place where it starts.
    pub(super) fn open(file: &Identified, next: Option<i64>, settings: &FileSettings) -> io::Result<(Self, Mark)> {
        let known = file.known.as_ref();
        let next = next.or(known.map(|k| k.records)).unwrap_or(0).max(0);
        let records = Records::new(lines::open(&file.path)?.0, settings);
        let mut reading = Self { records, next_record: next, header: None, pending: None };
        if next == 0 {
            let start = reading.mark();
            return Ok((reading, start));
        }
        // What an earlier run read is skipped by its bytes, since its last record may have been unfinished then.
        let (skip_bytes, skip_records) = match known {
            Some(known) if known.records <= next => (known.bytes, next - known.records),
            _ => (0, next),
        };
        let first = reading.skip(skip_bytes, skip_records)?;
        if settings.header == Header::First {
            reading.header = first;
        }
        let start = match known {
            Some(known) if known.records == next => known_mark(known.bytes, &known.prefix_hash),
            _ => None,
        };
        let start = start.unwrap_or_else(|| reading.mark());
        Ok((reading, start))
    }

    /// Skips what begins in the first `bytes` bytes, then `records` records. Gives the first record of the file.
    fn skip(&mut self, bytes: u64, mut records: i64) -> io::Result<Option<Kept>> {
        let mut first: Option<Kept> = None;
        let mut text = Vec::new();
        while self.records.bytes() < bytes || records > 0 {
            text.clear();
            let begins = self.records.bytes();
            let Some(record) = self.records.next(&mut text)? else { break };
            if text.is_empty() {
                continue;
            }
            if first.is_none() {
                first = Some(Kept { line: record.line, text: text.clone() });
            }
            // The record that the earlier run ended in: only its newline came since, or more of it.
            let grew = begins < bytes && begins + record.bytes - record.end_bytes > bytes;
            if begins >= bytes || grew {
                if records == 0 {
                    self.pending = Some(Kept { line: record.line, text });
                    break;
                }
                records -= 1;
            }
        }
        Ok(first)
    }

    /// The number of the record that comes next.
    pub(super) fn next_record(&self) -> i64 {
        self.next_record
    }

    /// The place before the next record.
    pub(super) fn mark(&mut self) -> Mark {
        Mark { bytes: self.records.bytes(), prefix_hash: self.records.hash() }
    }

    /// Fills an empty chunk.
    pub(super) fn read(&mut self, chunk: &mut Chunk, settings: &FileSettings) -> Reached {
        if let Some(header) = &self.header {
            chunk.push(&header.text, 0, Some(header.line), None);
            chunk.records[0].again = true;
        }
        let repeated = chunk.records.len();
        let reached = self.fill(chunk, settings);
        if chunk.records.len() > repeated {
            self.header = None;
        } else {
            chunk.records.clear();
            chunk.bytes.clear();
        }
        reached
    }

    fn fill(&mut self, chunk: &mut Chunk, settings: &FileSettings) -> Reached {
        // A header that is repeated does not count towards the bounds, so that every chunk brings something new.
        let bytes_max = chunk.bytes.len().saturating_add(settings.chunk_bytes_max.max(1));
        let records_max = chunk.records.len().saturating_add(settings.chunk_records_max.max(1));
        if let Some(kept) = self.pending.take() {
            chunk.push(&kept.text, self.next_record, Some(kept.line), None);
            self.next_record += 1;
        }
        while chunk.bytes.len() < bytes_max && chunk.records.len() < records_max {
            let start = chunk.bytes.len();
            let record = match self.records.next(&mut chunk.bytes) {
                Ok(Some(record)) => record,
                Ok(None) => return Reached::End,
                Err(e) => return Reached::Fault(e),
            };
            let end = chunk.bytes.len();
            if end == start {
                continue;
            }
            let line = Some(record.line);
            let offset = self.next_record;
            chunk.records.push(RecordMeta { start, end, offset, line, ..RecordMeta::default() });
            self.next_record += 1;
        }
        Reached::Bound
    }
}

fn known_mark(bytes: u64, prefix_hash: &str) -> Option<Mark> {
    Some(Mark { bytes, prefix_hash: *blake3::Hash::from_hex(prefix_hash).ok()?.as_bytes() })
}
