//! Cutting a content into records: lines, and JSON documents over several lines.
//!
//! Not here: where a document ends ([`super::framing`]), and which records a lane still has to deliver.

use std::io;

use super::framing::{self, Document, LineEnd};
use super::lines::{Content, Line, Lines};
use super::{FileSettings, Framing};

/// The records of a content, in order.
#[derive(Debug)]
pub(super) struct Records {
    lines: Lines,
    framing: Framing,
    /// Bytes kept of a record that is one line, and of one that begins as a document does.
    line_kept_max: usize,
    document_kept_max: usize,
    over: Over,
}

/// What becomes of a document that is longer than what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// It is read to its end, so that no part of it passes for a record of its own.
    ReadOn,
    /// Nobody will ask for what comes after it.
    Stop,
}

/// One record, without its last line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Number of its first line, from 1.
    pub(super) line: i64,
    /// Bytes in the content, line ends included.
    pub(super) bytes: u64,
    /// Bytes of its last line end, 0 if the content ends here.
    pub(super) end_bytes: u64,
}

impl Records {
    pub(super) fn new(content: Content, settings: &FileSettings) -> Self {
        let line_kept_max = settings.record_bytes_max.saturating_add(1);
        Self {
            lines: Lines::new(content),
            framing: settings.framing,
            line_kept_max,
            document_kept_max: match settings.framing {
                Framing::Documents => settings.document_bytes_max.saturating_add(1).max(line_kept_max),
                Framing::Lines => line_kept_max,
            },
            over: Over::ReadOn,
        }
    }

    /// Bytes consumed.
    pub(super) fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    /// The hash of everything consumed.
    pub(super) fn hash(&mut self) -> [u8; 32] {
        self.lines.hash()
    }

    /// Reads the next record and appends what is kept of it to `into`; an empty line is a record here. `None` at the
    /// end. Where the content cannot be read, nothing of the record counts as consumed.
    pub(super) fn next(&mut self, into: &mut Vec<u8>) -> io::Result<Option<Record>> {
        let start = into.len();
        self.lines.begin();
        let read = self.read(into);
        if read.is_err() {
            self.lines.revert();
            into.truncate(start);
        }
        read
    }

    fn read(&mut self, into: &mut Vec<u8>) -> io::Result<Option<Record>> {
        let start = into.len();
        let kept_max = self.document_kept_max;
        let Some(mut last) = self.lines.next(into, kept_max)? else { return Ok(None) };
        let mut record = Record { line: self.lines.lines(), bytes: last.bytes, end_bytes: last.end_bytes };
        if self.framing == Framing::Lines || !framing::opens(&into[start..]) {
            into.truncate(start.saturating_add(self.line_kept_max));
            return Ok(Some(record));
        }
        let end = start.saturating_add(kept_max);
        let mut document: Option<Document> = None;
        let mut line_start = start;
        loop {
            let line = &into[line_start..];
            // Of a line over the bound too little is here to tell how it ends.
            let is_cut = line.len() >= kept_max;
            let is_enough = self.over == Over::Stop && into.len() >= end;
            if is_cut || is_enough || !self.goes_on(&mut document, line)? {
                break;
            }
            let Some(next) = self.lengthen(into, last, end)? else { break };
            (line_start, last) = (next.start, next.line);
            record.bytes += next.bytes;
            record.end_bytes = last.end_bytes;
        }
        into.truncate(end);
        Ok(Some(record))
    }

    /// Whether the next line belongs to the document that `line` is the newest of.
    fn goes_on(&mut self, document: &mut Option<Document>, line: &[u8]) -> io::Result<bool> {
        let ahead = self.lines.ahead();
        // What nearly every record is: a line that ends in a bracket. Whatever is open then, the document could only go
        // on with one of three bytes, so that without them there is no need to look inside.
        if document.is_none()
            && framing::closes(line)
            && let Ok(next) = &ahead
            && !next.is_some_and(framing::follows_container)
        {
            return Ok(false);
        }
        let document = document.get_or_insert_with(Document::new);
        match (document.line(line), ahead) {
            (LineEnd::GoesOn, next) => Ok(next?.is_some_and(|byte| document.can_go_on_with(byte))),
            (LineEnd::Ends, Ok(_)) => Ok(false),
            (LineEnd::Ends, Err(e)) => {
                self.lines.postpone(e);
                Ok(false)
            }
        }
    }

    /// Appends the line end of `last` and the lines up to the next that is not blank. Of what is there, no more than up
    /// to `end` is kept, besides the newest line: that is looked at first.
    fn lengthen(&mut self, into: &mut Vec<u8>, last: Line, end: usize) -> io::Result<Option<Longer>> {
        let (mut last, mut bytes) = (last, 0);
        loop {
            into.extend_from_slice(if last.end_bytes == 2 { b"\r\n" } else { b"\n" });
            into.truncate(end);
            let start = into.len();
            match self.lines.next(into, self.document_kept_max)? {
                Some(line) => last = line,
                None => return Ok(None),
            }
            bytes += last.bytes;
            if into[start..].iter().any(|byte| !framing::is_white(*byte)) {
                return Ok(Some(Longer { start, line: last, bytes }));
            }
        }
    }
}

/// What a record grew by.
struct Longer {
    /// Where its newest line begins in the buffer.
    start: usize,
    line: Line,
    /// Bytes of all lines that were added.
    bytes: u64,
}

/// The first `bytes_max` bytes of the first record that is not empty; `None` if there is no such record. No more of a
/// long document is read than it takes.
pub(super) fn head(content: Content, framing: Framing, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let lines = Lines::new(content);
    let (line_kept_max, document_kept_max) = (bytes_max, bytes_max);
    let mut records = Records { lines, framing, line_kept_max, document_kept_max, over: Over::Stop };
    let mut text = Vec::new();
    while records.next(&mut text)?.is_some() {
        if !text.is_empty() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
