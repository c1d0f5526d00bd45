//! Telling a record's format by what only that format has, and decoding records of formats that nobody declared.
//!
//! A document is told by the keys of its root; one that wraps others, by what is inside. Nothing is told by values that
//! somebody else could have written, such as a user agent: keys cannot be forged from inside a value.
//!
//! Not here: reading files (see [`crate::file`]), and opening wrappings (`envelope.rs`).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::{Error, LaneClock, RecordMeta, Result};
use walkdir::WalkDir;

use crate::auditd;
use crate::decode::{Decoded, Decoder, Format, LaneContext, decoder};
use crate::envelope::{self, INFLATED_BYTES_MAX, Inner, Opened, WRAPPINGS_MAX};
use crate::file::open_content;
use crate::json::{Parser, Value};

mod keys;

/// Bytes of a file looked at: enough for a first record of usual size.
const LOOK_BYTES: u64 = 1 << 20;

/// Lines of a file looked at before it is given up.
const LOOK_LINES: usize = 16;

/// Nesting of documents that are looked into.
const DEPTH_MAX: usize = 64;

/// The format of a record, by what only that format has. `None` if it is none that is known.
pub fn format_of(record: &[u8]) -> Option<&'static str> {
    let record = crate::frame::strip_registry_frame(record);
    let text = std::str::from_utf8(record).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim_matches(|c: char| c.is_whitespace() || c == '\u{1e}');
    if is_audit_record(text) {
        return Some("auditd");
    }
    of_document(envelope::unprefixed(text), 0)
}

fn is_audit_record(text: &str) -> bool {
    !text.starts_with('{') && auditd::is_record(text)
}

/// Whether a line that another document carries is an audit record from its first word on: anything else could be some
/// program's text about one.
fn is_carried_audit_record(line: &str) -> bool {
    (line.starts_with("type=") || line.starts_with("node=")) && auditd::is_record(line)
}

fn of_document(text: &str, depth: usize) -> Option<&'static str> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    match keys::format_of(text) {
        // A shipper's document is of the format that it carries, if that is known.
        None if depth < WRAPPINGS_MAX => inside(text, depth, false),
        Some("ecs") if depth < WRAPPINGS_MAX => inside(text, depth, true).or(Some("ecs")),
        found => found,
    }
}

/// The format of the first document inside a wrapping. Inside of one that is readable by itself, only a whole document
/// counts: a line that merely holds the beginning of one, such as a request that some server logs, must not lose it.
fn inside(text: &str, depth: usize, only_whole: bool) -> Option<&'static str> {
    let parsed = Parser::default().parse(text, DEPTH_MAX, |root: Value<'_, '_>| {
        let carries_record = envelope::line_of(root, is_carried_audit_record).is_some();
        (carries_record, envelope::open(root, text, &mut { INFLATED_BYTES_MAX }))
    });
    let Ok((carries_record, opened)) = parsed else {
        // The beginning of a long list: its first member tells.
        return text.split_once('[').and_then(|(_, members)| keys::format_of(members.trim_start()));
    };
    if carries_record {
        return Some("auditd");
    }
    let list = match opened? {
        Opened::One(inner) if only_whole && !(inner.is_bare() && is_object(inner.text(text))) => return None,
        Opened::One(inner) => return of_document(inner.text(text), depth + 1),
        Opened::List(list) => list,
    };
    list.members(text).take(LOOK_LINES).find_map(|inner| of_document(inner.text(text), depth + 1))
}

fn is_object(text: &str) -> bool {
    Parser::default().parse(text, DEPTH_MAX, |root| root.is_object()).unwrap_or(false)
}

/// Whether a document is a list without members, or wraps nothing but such.
fn holds_nothing(text: &str, depth: usize) -> bool {
    let open = |root: Value<'_, '_>| envelope::open(root, text, &mut { INFLATED_BYTES_MAX });
    let opened = Parser::default().parse(text, DEPTH_MAX, open).ok().flatten();
    let is_nothing = |inner: &Inner| depth < WRAPPINGS_MAX && holds_nothing(inner.text(text), depth + 1);
    match opened {
        Some(Opened::List(list)) => list.len() <= LOOK_LINES && list.members(text).all(|inner| is_nothing(&inner)),
        Some(Opened::One(inner)) => is_nothing(&inner),
        None => false,
    }
}

/// Decodes each record by the format that it shows itself to be.
///
/// Records of formats that assemble, such as auditd, are held by a decoder of their own for as long as the lane lives, so
/// that interleaved formats do not disturb each other.
#[derive(Debug)]
pub struct Sniffed {
    context: LaneContext,
    decoders: BTreeMap<&'static str, Box<dyn Decoder>>,
}

impl Sniffed {
    /// Makes the decoder of one lane.
    pub fn new(context: LaneContext) -> Self {
        Self { context, decoders: BTreeMap::new() }
    }

    fn decoder(&mut self, name: &'static str) -> Option<&mut Box<dyn Decoder>> {
        let format = Format::named(name)?;
        let context = &self.context;
        Some(
            self.decoders
                .entry(name)
                .or_insert_with(|| decoder(&format, Arc::clone(context.lane()), context.shared_settings())),
        )
    }

    fn state(&self, why: &dyn std::fmt::Display) -> Error {
        Error::State { what: format!("the formats of {}", self.context.lane()), why: why.to_string() }
    }
}

impl Decoder for Sniffed {
    fn record(&mut self, record: &RecordMeta, payload: &[u8], clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        let format = if record.tombstone { None } else { format_of(payload) };
        if let Some(decoder) = format.and_then(|name| self.decoder(name)) {
            return decoder.record(record, payload, clock, out);
        }
        // What is wrong with any record is found as for all formats; the rest is of none.
        if let Some(text) = self.context.intake_document(out, record, payload) {
            if holds_nothing(envelope::unprefixed(text), 0) {
                out.counts.used += 1;
                return Ok(());
            }
            let detail = "it has the marks of no format that is known".to_owned();
            self.context.reject(out, record, "unknown_format", detail, text.as_bytes());
            out.counts.rejected += 1;
        }
        Ok(())
    }

    fn end(&mut self, clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        self.decoders.values_mut().try_for_each(|decoder| decoder.end(clock, out))
    }

    fn held(&self) -> u64 {
        self.decoders.values().map(|decoder| decoder.held()).sum()
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        let mut states = BTreeMap::new();
        for (name, decoder) in &self.decoders {
            let state = decoder.snapshot()?;
            if !state.is_empty() {
                states.insert(*name, String::from_utf8(state).map_err(|e| self.state(&e))?);
            }
        }
        if states.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::to_vec(&states).map_err(|e| self.state(&e))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let states: BTreeMap<String, String> = serde_json::from_slice(bytes).map_err(|e| self.state(&e))?;
        for (name, state) in states {
            let known = Format::named(&name).map(|format| format.name());
            match known.and_then(|name| self.decoder(name)) {
                Some(decoder) => decoder.restore(state.as_bytes())?,
                None => return Err(self.state(&format!("there is no format `{name}`"))),
            }
        }
        Ok(())
    }
}

/// The format of a file, by its first records; one that mixes formats is of that of the first. `None` if it cannot be
/// read or told.
pub fn format_of_file(path: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    open_content(path).ok()?.take(LOOK_BYTES).read_to_end(&mut head).ok()?;
    let text = String::from_utf8_lossy(&head);
    // A document over many lines is told by its beginning, other files by their first lines.
    let document = || of_document(text.trim_start_matches('\u{feff}').trim_start(), 0);
    let mut lines = head.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(LOOK_LINES);
    lines.find_map(format_of).or_else(document)
}

/// All files that paths name, folders included, in path order; hidden files are left out.
pub fn files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let visible = |e: &walkdir::DirEntry| e.depth() == 0 || e.file_name().as_encoded_bytes().first() != Some(&b'.');
        let found = WalkDir::new(path).follow_links(true).into_iter().filter_entry(visible).filter_map(Result::ok);
        files.extend(found.filter(|e| e.file_type().is_file()).map(|e| e.into_path()));
    }
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests;
