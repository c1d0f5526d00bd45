//! Linux audit records as text, assembled into events.
//!
//! One event takes many records, which share (node, time, serial). It is over with its end record (`EOE`) or its title
//! (`PROCTITLE`, the last one where no end record is sent), or when later records of its node or its lane show it
//! (`assembly.rs` has the bounds); then it takes the position of the record that completed it. Records that come after
//! their event was closed make an event of their own, with the same correlation uid: nothing is lost. An end record that
//! comes after its event counts as used; one without any event is a gap, since its event never came.
//!
//! The kernel numbers events consecutively, so serials that stay missing are [`CoverageKind::Gap`] facts, and what the
//! kernel or the daemon say of lost records are [`CoverageKind::Lost`] ones.
//!
//! A record may come inside a document, as log shippers and Azure's agent send it: then it is taken out, and the host that
//! the document names is put before it where the record names none, as `node=`.
//!
//! Not here: what documents carry lines (`envelope.rs`).

use std::borrow::Cow;
use std::collections::VecDeque;

use palisade_events::{CoverageKind, Error, EventBuilder, LaneClock, RecordMeta, Result};
use serde::{Deserialize, Serialize};

use crate::decode::{Decoded, Decoder, EventEnd, LaneContext, Limits};
use crate::envelope::{self, Line};
use crate::redact::RedactionCounts;
use crate::zone::Zone;

mod kinds;
mod record;
mod assembly;
mod syscalls;
mod class;
mod address;
mod event;

use assembly::{Assembly, Held, Key, Missing, Place, Serials};
use kinds::Role;
use record::{Record, Unread};

/// Decodes the audit records of one lane.
#[derive(Debug)]
pub struct Auditd {
    context: LaneContext,
    /// Records seen so far: numbers them.
    seen: u64,
    held: Held,
    serials: Serials,
    /// The kernel's count of lost records when it last told.
    lost: i64,
    /// Events completed by the record at hand.
    index: u32,
}

/// Version of the state's form.
const STATE_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    seen: u64,
    lost: i64,
    held: Vec<HeldState>,
    closed: VecDeque<Key>,
    serials: Serials,
}

#[derive(Serialize, Deserialize)]
struct HeldState {
    key: Key,
    texts: Vec<String>,
    count: u64,
    redacted: u32,
    touched: u64,
    last: Place,
    last_index: u32,
}

impl Auditd {
    /// Makes the decoder of one lane.
    pub fn new(context: LaneContext) -> Self {
        Self { context, seen: 0, held: Held::default(), serials: Serials::default(), lost: 0, index: 0 }
    }

    fn zone(&self) -> Zone {
        self.context.settings().zone
    }

    fn read(&mut self, payload: &[u8], meta: &RecordMeta, clock: &mut LaneClock, out: &mut Decoded) {
        self.seen += 1;
        self.index = 0;
        out.counts.records += 1;
        let bytes_max = self.context.settings().limits.record_bytes_max;
        if payload.len() > bytes_max {
            let detail = format!("longer than {bytes_max} bytes");
            return self.reject(out, meta, clock, "too_large", detail, payload);
        }
        let written = String::from_utf8_lossy(payload);
        let carried = self.carried(written.trim_ascii(), meta);
        let (text, meta) = match &carried {
            Some((text, meta)) => (text.trim_end(), meta),
            None => (written.trim_end(), meta),
        };
        // A line is a record, and `raw` holds an event's records line by line.
        let mut text = text.to_owned();
        if text.contains('\n') {
            text = text.replace('\n', " ");
        }
        let mut found = RedactionCounts::default();
        match Record::parse(text, self.zone()) {
            Ok(record) => {
                let record = record.redact(&self.context.settings().redactor, &mut found);
                let count = u32::try_from(found.total()).unwrap_or(u32::MAX);
                out.counts.redacted += found.total();
                out.redactions.add(&found);
                self.take(record, count, meta, clock, out);
            }
            Err((_, text)) if is_kernel_loss(&text) => {
                out.counts.coverage += 1;
                let time = meta.time.or(clock.max()).unwrap_or(0);
                let count = self.newly_lost(&text);
                let kept = &text[..text.floor_char_boundary(512)];
                let detail = self.context.settings().redactor.text(kept, &mut found).into_owned();
                self.context.cover(out, meta, CoverageKind::Lost, (time, time), count, detail);
                self.close_idle(meta, clock, out);
            }
            Err((Unread::NoRecord, _)) => {
                let detail = "no `type=` with an `audit(` stamp".to_owned();
                self.reject(out, meta, clock, "not_an_audit_record", detail, payload);
            }
            Err((Unread::BadStamp, _)) => {
                let detail = "the stamp is not `audit(time:serial)`".to_owned();
                self.reject(out, meta, clock, "bad_stamp", detail, payload);
            }
        }
    }

    /// A record that a document carries, and the record's place, with the cluster that the document names.
    fn carried(&self, document: &str, meta: &RecordMeta) -> Option<(String, RecordMeta)> {
        let document = document.trim_start_matches('\u{feff}');
        if !document.starts_with(['{', '[']) {
            return None;
        }
        let depth_max = self.context.settings().limits.depth_max;
        let Line { text, host, cluster } = envelope::line(document, depth_max, is_record)?;
        let head = text.split("audit(").next().unwrap_or_default();
        let names_node = head.starts_with("node=") || head.contains(" node=");
        let text = match host.filter(|host| !names_node && !host.contains(char::is_whitespace)) {
            Some(host) => format!("node={host} {text}"),
            None => text,
        };
        Some((text, RecordMeta { cluster: meta.cluster.clone().or(cluster), ..meta.clone() }))
    }

    /// Sorts a record to its event, after closing the events that it shows to be over.
    fn take(&mut self, record: Record, redacted: u32, meta: &RecordMeta, clock: &mut LaneClock, out: &mut Decoded) {
        let key = Key { serial: record.serial, time: record.time, node: record.node().into() };
        let role = record.role;
        let daemon_ends = matches!(record.kind.as_ref(), "DAEMON_END" | "DAEMON_ABORT");
        for over in self.held.take_over(&key, role, daemon_ends, self.seen) {
            self.close(over, meta, clock, out);
        }
        // Azure's agent sends on what it was told to: serials that it leaves out are not lost.
        if role != Role::Daemon && !record.kind.starts_with("AUOMS_") {
            for missing in self.serials.note(&key, self.seen) {
                self.cover_missing(&missing, meta, out);
            }
        }
        self.cover_told_loss(&record, meta, out);
        match role {
            Role::Alone | Role::Daemon => {
                let mut alone = Assembly::new(key, self.seen, Place::of(meta));
                alone.push(record, redacted);
                self.close(alone, meta, clock, out);
            }
            Role::End if !self.held.is_held(&key) && self.held.was_closed(&key) => out.counts.used += 1,
            Role::Part | Role::Title | Role::End => {
                for over in self.held.add(key, record, redacted, self.seen, Place::of(meta)) {
                    self.close(over, meta, clock, out);
                }
                self.held.note_index(self.seen, self.index);
            }
        }
    }

    /// Makes the event of an assembly, at the record that completes it.
    fn close(&mut self, over: Assembly, meta: &RecordMeta, clock: &mut LaneClock, out: &mut Decoded) {
        let Some(first) = over.records.first() else {
            out.counts.coverage += over.count;
            let detail = format!("event {} ended without a record", over.key.serial);
            self.context.cover(out, meta, CoverageKind::Gap, (over.key.time, over.key.time), 1, detail);
            return;
        };
        let settings = self.context.settings();
        let found = event::put(&over.records, &mut out.events, settings.limits.field_values_max, &settings.redactor);
        out.counts.redacted += found.total();
        out.redactions.add(&found);
        let raw: Cow<'_, str> = match over.records.as_slice() {
            [only] => only.text().into(),
            many => many.iter().map(Record::text).collect::<Vec<_>>().join("\n").into(),
        };
        let redacted = over.redacted.saturating_add(u32::try_from(found.total()).unwrap_or(u32::MAX));
        let end = EventEnd {
            index: self.index,
            time: over.key.time,
            time_original: first.stamp(),
            raw: &raw,
            records: i32::try_from(over.count).unwrap_or(i32::MAX),
            redacted,
        };
        self.context.end_event(out, clock, meta, end);
        self.index += 1;
        out.counts.used += over.count;
        if !matches!(first.role, Role::Alone | Role::Daemon) {
            self.held.remember(over.key);
        }
    }

    fn reject(
        &mut self,
        out: &mut Decoded,
        meta: &RecordMeta,
        clock: &mut LaneClock,
        reason: &str,
        detail: String,
        payload: &[u8],
    ) {
        out.counts.rejected += 1;
        self.context.reject(out, meta, reason, detail, payload);
        self.close_idle(meta, clock, out);
    }

    fn close_idle(&mut self, meta: &RecordMeta, clock: &mut LaneClock, out: &mut Decoded) {
        for over in self.held.take_idle(self.seen) {
            self.close(over, meta, clock, out);
        }
    }

    fn cover_missing(&self, missing: &Missing, meta: &RecordMeta, out: &mut Decoded) {
        let detail = match missing.count() {
            1 => format!("serial {} is missing", missing.first()),
            _ => format!("serials {} to {} are missing", missing.first(), missing.last()),
        };
        self.context.cover(out, meta, CoverageKind::Gap, missing.window, i64::from(missing.count()), detail);
    }

    /// A record with a stamp that tells of loss: the daemon's own, or a reset of the kernel's count, which gives the old.
    fn cover_told_loss(&mut self, record: &Record, meta: &RecordMeta, out: &mut Decoded) {
        let number = |key: &str| record.get(key).and_then(|text| text.parse::<i64>().ok());
        let count = match (record.role, record.kind.as_ref()) {
            (Role::Daemon, _) => number("lost"),
            (_, "CONFIG_CHANGE") => number("lost").and(number("old")),
            _ => None,
        };
        if let Some(count) = count.filter(|count| *count > 0) {
            let window = (record.time, record.time);
            let detail = format!("{} tells of {count} lost records", record.kind);
            self.context.cover(out, meta, CoverageKind::Lost, window, count, detail);
        }
    }

    /// How many records the kernel lost since it last told: its count runs from the start of the machine.
    fn newly_lost(&mut self, text: &str) -> i64 {
        let digits = text.split_once("audit_lost=").map(|(_, rest)| rest);
        let Some(total) = digits.and_then(|d| d.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i64>().ok())
        else {
            return -1;
        };
        let before = std::mem::replace(&mut self.lost, total);
        if total > before { total - before } else { total }
    }
}

/// Whether a text has the marks of an audit record.
pub(crate) fn is_record(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    line.contains("type=") && line.contains("audit(")
}

/// What the kernel's log says when audit records were lost; such lines have no stamp.
fn is_kernel_loss(text: &str) -> bool {
    text.contains("audit: ")
        && ["audit_lost=", "backlog limit exceeded", "rate limit exceeded"].iter().any(|words| text.contains(words))
}

impl Decoder for Auditd {
    fn record(&mut self, meta: &RecordMeta, payload: &[u8], clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        self.read(payload, meta, clock, out);
        Ok(())
    }

    /// Closes every assembly, each at the position of its own last record.
    fn end(&mut self, clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        let mut last = None;
        for over in self.held.take_all() {
            clock.next_record();
            let meta = over.last.record();
            self.index = over.last_index;
            self.close(over, &meta, clock, out);
            last = Some(meta);
        }
        for missing in self.serials.take_all() {
            let none = RecordMeta { offset: -1, ..RecordMeta::default() };
            let meta = last.clone().unwrap_or(none);
            self.cover_missing(&missing, &meta, out);
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.held.records()
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        if self.seen == 0 {
            return Ok(Vec::new());
        }
        let held = self.held.assemblies().iter().map(|a| HeldState {
            key: a.key.clone(),
            texts: a.records.iter().map(|r| r.text().to_owned()).collect(),
            count: a.count,
            redacted: a.redacted,
            touched: a.touched,
            last: a.last.clone(),
            last_index: a.last_index,
        });
        let state = State {
            version: STATE_VERSION,
            seen: self.seen,
            lost: self.lost,
            held: held.collect(),
            closed: self.held.closed().clone(),
            serials: self.serials.clone(),
        };
        serde_json::to_vec(&state).map_err(|e| state_error(&e))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let state: State = serde_json::from_slice(bytes).map_err(|e| state_error(&e))?;
        if state.version != STATE_VERSION {
            return Err(state_error(&format!("version {} instead of {STATE_VERSION}", state.version)));
        }
        let mut assemblies = VecDeque::with_capacity(state.held.len());
        for held in state.held {
            let mut assembly = Assembly::new(held.key, held.touched, held.last);
            for text in held.texts {
                let record =
                    Record::parse(text, self.zone()).map_err(|_| state_error(&"a held record has no stamp"))?;
                assembly.push(record, 0);
            }
            (assembly.count, assembly.redacted, assembly.last_index) = (held.count, held.redacted, held.last_index);
            assemblies.push_back(assembly);
        }
        self.held = Held::restored(assemblies, state.closed);
        (self.seen, self.lost, self.serials) = (state.seen, state.lost, state.serials);
        Ok(())
    }
}

fn state_error(why: &dyn std::fmt::Display) -> Error {
    Error::State { what: "auditd decoder".into(), why: why.to_string() }
}

/// Puts the raw fields of a stored event into the current row, from its `raw` column: the same values as when it was
/// decoded.
pub fn put_raw_fields(raw: &str, zone: Zone, limits: &Limits, row: &mut EventBuilder) {
    let records: Vec<Record> = raw.lines().filter_map(|line| Record::parse(line.to_owned(), zone).ok()).collect();
    event::put_raw_fields(&records, row, limits.field_values_max);
}

#[cfg(test)]
mod tests;
