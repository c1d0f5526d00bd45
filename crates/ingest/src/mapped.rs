//! JSON or CSV of any source, read by a mapping from its fields to event columns.
//!
//! Not here: how a mapping is written (see [`Mapping::parse`]).

use std::borrow::Cow;
use std::sync::Arc;

use palisade_events::fields::FieldRef;
use palisade_events::schema::AnyColumn;
use palisade_events::time::Micros;
use palisade_events::{Error, EventBuilder, LaneClock, RecordMeta, Result, col};

pub use self::mapping::{Layout, Mapping, MappingError, TimeFormat};
use crate::decode::{Decoded, Decoder, EventEnd, LaneContext, in_range};
use crate::document::Refusal;
use crate::frame::strip_registry_frame;
use crate::json::{Columns, Parser, Value, Walk};
use crate::redact::RedactionCounts;
use crate::zone::Zone;

mod mapping;
mod table;

/// Decodes records by a [`Mapping`].
#[derive(Debug)]
pub struct Mapped {
    context: LaneContext,
    mapping: Arc<Mapping>,
    parser: Parser,
    /// Names of a CSV lane's columns, once they are known.
    header: Option<Vec<String>>,
}

impl Mapped {
    /// Makes the decoder of one lane.
    pub fn new(context: LaneContext, mapping: Arc<Mapping>) -> Self {
        let header = mapping.header.clone();
        Self { context, mapping, parser: Parser::default(), header }
    }

    fn read(
        &mut self,
        record: &RecordMeta,
        text: &str,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> std::result::Result<(), Refusal> {
        match self.mapping.layout {
            Layout::Json => self.document(record, text, clock, out),
            Layout::Csv { .. } => self.row(record, text, clock, out),
        }
    }

    fn document(
        &mut self,
        record: &RecordMeta,
        text: &str,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> std::result::Result<(), Refusal> {
        let Self { context, mapping, parser, .. } = self;
        let limits = &context.settings().limits;
        let mut found = RedactionCounts::default();
        let redacted = context.settings().redactor.json(text, limits.depth_max, &mut found);
        let raw = redacted.as_deref().unwrap_or(text);
        let read = parser.parse(raw, limits.depth_max, |root| {
            if !root.is_object() {
                return Err(("not_an_object", "the record is JSON, but no object".to_owned()));
            }
            let tree = context.settings().plan.tree();
            let mut walk = Walk::new(tree, limits.field_values_max);
            let zone = context.settings().zone;
            let mut columns = Mapper { mapping, zone, list_items_max: limits.list_items_max, time: None, cut: false };
            walk.value(root, mapping.paths.tree().root(), tree.root(), &mut columns, &mut out.events);
            out.events.fields().put_whole();
            let cut = walk.is_cut() || columns.cut;
            let time = columns.time;
            finish(context, mapping, record, time, raw, cut, &found, clock, out)
        });
        match read {
            Ok(read) => read,
            Err(fault) => Err((fault.reason(), fault.detail())),
        }
    }

    fn row(
        &mut self,
        record: &RecordMeta,
        text: &str,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> std::result::Result<(), Refusal> {
        let Layout::Csv { delimiter } = self.mapping.layout else { return Ok(()) };
        let cells = table::cells(text, delimiter)?;
        let Some(header) = &self.header else {
            let missing = self.mapping.missing_from(&cells);
            if !missing.is_empty() {
                tracing::warn!(lane = %self.context.lane(), ?missing, "the header lacks columns that the mapping names");
            }
            self.header = Some(cells);
            return Ok(());
        };
        if cells.len() != header.len() {
            return Err(("field_count", format!("{} fields where the header has {}", cells.len(), header.len())));
        }
        let Self { context, mapping, .. } = self;
        let limits = &context.settings().limits;
        let mut found = RedactionCounts::default();
        let cells = table::redacted(&context.settings().redactor, header, cells, &mut found);
        let raw = if found.total() == 0 { Cow::Borrowed(text) } else { Cow::Owned(table::line(&cells, delimiter)) };
        let zone = context.settings().zone;
        let mut columns = Mapper { mapping, zone, list_items_max: limits.list_items_max, time: None, cut: false };
        for (name, cell) in header.iter().zip(&cells) {
            let value = Some(FieldRef::Str(cell));
            if let Some(path) = context.settings().plan.number(name) {
                out.events.fields().put(path, FieldRef::Str(cell));
            }
            if let Some(path) = mapping.paths.number(name).filter(|_| !cell.is_empty()) {
                columns.put(path, || value.into_iter(), &mut out.events);
            }
        }
        let (time, cut) = (columns.time, columns.cut);
        finish(context, mapping, record, time, &raw, cut, &found, clock, out)
    }
}

impl Decoder for Mapped {
    fn record(&mut self, record: &RecordMeta, payload: &[u8], clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        let bytes_max = self.context.settings().limits.record_bytes_max;
        // In CSV, white space at the ends may be an empty cell.
        let (payload, ends): (&[u8], &[char]) = match self.mapping.layout {
            Layout::Json => (strip_registry_frame(payload), &[' ', '\t', '\r', '\n']),
            Layout::Csv { .. } => (payload, &['\r', '\n']),
        };
        let rejects = out.rejects.len();
        let Some(text) = self.context.intake_within(out, record, payload, ends, bytes_max) else {
            if out.rejects.len() > rejects
                && let Some(kept) = self.without_named(None, out)
                && let Some(reject) = out.rejects.last_mut()
            {
                reject.raw = kept;
            }
            return Ok(());
        };
        match self.read(record, text, clock, out) {
            Ok(()) => out.counts.used += 1,
            Err((reason, detail)) => {
                let kept = self.without_named(Some(text), out);
                self.context.reject(out, record, reason, detail, kept.as_deref().unwrap_or(text).as_bytes());
                out.counts.rejected += 1;
            }
        }
        Ok(())
    }

    fn again(&mut self, payload: &[u8]) {
        self.prime(payload);
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        match (&self.mapping.header, &self.header) {
            (None, Some(header)) => serde_json::to_vec(header).map_err(|e| self.state(&e)),
            _ => Ok(Vec::new()),
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        if !bytes.is_empty() {
            self.header = Some(serde_json::from_slice(bytes).map_err(|e| self.state(&e))?);
        }
        Ok(())
    }
}

impl Mapped {
    /// Learns the header again from a record that was delivered before.
    fn prime(&mut self, payload: &[u8]) {
        if let (Layout::Csv { delimiter }, None) = (self.mapping.layout, &self.header)
            && let Ok(text) = std::str::from_utf8(payload)
        {
            self.header = table::cells(text.trim_start_matches('\u{feff}').trim_matches(['\r', '\n']), delimiter).ok();
        }
    }

    /// What is kept of a row that could not be read where its header names secrets: all of it if the cells cannot be told
    /// apart. `None` if there is nothing to take out.
    fn without_named(&self, text: Option<&str>, out: &mut Decoded) -> Option<String> {
        let (Layout::Csv { delimiter }, Some(header)) = (self.mapping.layout, &self.header) else { return None };
        let redactor = &self.context.settings().redactor;
        let cells = text.and_then(|text| table::cells(text, delimiter).ok());
        let mut found = RedactionCounts::default();
        let kept = match cells.filter(|cells| cells.len() == header.len()) {
            Some(cells) => Some(table::line(&table::redacted(redactor, header, cells, &mut found), delimiter)),
            None => redactor.unnamed(header, &mut found),
        };
        out.counts.redacted += found.total();
        out.redactions.add(&found);
        kept.filter(|_| found.total() > 0)
    }

    fn state(&self, why: &serde_json::Error) -> Error {
        Error::State { what: format!("the header of {}", self.context.lane()), why: why.to_string() }
    }
}

/// Completes a row, or takes it back if it has no time.
#[allow(clippy::too_many_arguments)] // One call each for JSON and CSV; a struct would only repeat the names.
fn finish(
    context: &LaneContext,
    mapping: &Mapping,
    record: &RecordMeta,
    time: Option<(Micros, String)>,
    raw: &str,
    cut: bool,
    found: &RedactionCounts,
    clock: &mut LaneClock,
    out: &mut Decoded,
) -> std::result::Result<(), Refusal> {
    let Some((time, original)) = time.or_else(|| Some((record.time.and_then(in_range)?, String::new()))) else {
        out.events.abandon_row();
        return Err(("missing_time", "no readable time in the record or its carrier".to_owned()));
    };
    let row = &mut out.events;
    for constant in &mapping.constants {
        constant.put(row);
    }
    row.put_int(col::CLASS_UID, 0);
    row.put_int(col::ACTIVITY_ID, 0);
    if cut {
        row.put_flag(col::TRUNCATED, true);
    }
    out.counts.redacted += found.total();
    out.redactions.add(found);
    let redacted = u32::try_from(found.total()).unwrap_or(u32::MAX);
    let end = EventEnd { index: 0, time, time_original: &original, raw, records: 1, redacted };
    context.end_event(out, clock, record, end);
    Ok(())
}

/// Puts mapped values into columns.
struct Mapper<'m> {
    mapping: &'m Mapping,
    zone: Zone,
    list_items_max: usize,
    time: Option<(Micros, String)>,
    cut: bool,
}

impl<'i> Columns<'i> for Mapper<'_> {
    /// A node of the mapping's own tree of paths.
    type Place = usize;

    fn key(&mut self, node: usize, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<usize> {
        let mapping = self.mapping;
        let step = mapping.paths.tree().step(node, key)?;
        for &path in &step.leaves {
            if value.is_array() {
                self.put(path, || value.items().map(Value::scalar), row);
            } else if !value.is_null() {
                self.put(path, || std::iter::once(value.scalar()), row);
            }
        }
        step.child
    }
}

impl Mapper<'_> {
    fn put<'v, V: Iterator<Item = FieldRef<'v>>>(
        &mut self,
        path: usize,
        values: impl Fn() -> V,
        row: &mut EventBuilder,
    ) {
        let mapping = self.mapping;
        if mapping.time == Some(path)
            && self.time.is_none()
            && let Some(value) = values().next()
            && let Some(time) = mapping.time_format.read(value, self.zone)
        {
            self.time = Some((time, spelled(value).map(Cow::into_owned).unwrap_or_default()));
        }
        for column in mapping.columns.get(path).into_iter().flatten() {
            let words = match column {
                AnyColumn::Words(words) => words,
                // A list that one text stands for, as of arguments, is joined: its members are what rules look for.
                AnyColumn::Text(_) | AnyColumn::Word(_) if values().nth(1).is_some() => {
                    let members: Vec<_> = values().filter_map(spelled).take(self.list_items_max + 1).collect();
                    self.cut |= members.len() > self.list_items_max;
                    self.put_scalar(*column, FieldRef::Str(&members.join(" ")), row);
                    continue;
                }
                _ => {
                    if let Some(value) = values().next() {
                        self.put_scalar(*column, value, row);
                    }
                    continue;
                }
            };
            let spelled: Vec<Cow<'v, str>> = values().filter_map(spelled).take(self.list_items_max + 1).collect();
            let parts: Vec<&str> = match (&mapping.list_separator, spelled.as_slice()) {
                (Some(separator), [one]) => {
                    one.split(separator.as_str()).map(str::trim).filter(|part| !part.is_empty()).collect()
                }
                _ => spelled.iter().map(AsRef::as_ref).collect(),
            };
            self.cut |= parts.len() > self.list_items_max;
            row.put_words(*words, parts.into_iter().take(self.list_items_max));
        }
    }

    /// A value that does not fit its column's type is left out; the original keeps it.
    fn put_scalar(&self, column: AnyColumn, value: FieldRef<'_>, row: &mut EventBuilder) {
        match column {
            AnyColumn::Text(column) => {
                if let Some(text) = spelled(value) {
                    row.put_text(column, &text);
                }
            }
            AnyColumn::Word(column) => {
                if let Some(word) = spelled(value) {
                    row.put_word(column, &word);
                }
            }
            AnyColumn::Long(column) => {
                if let Some(number) = integer(value) {
                    row.put_long(column, number);
                }
            }
            AnyColumn::Int(column) => {
                if let Some(number) = integer(value).and_then(|n| i32::try_from(n).ok()) {
                    row.put_int(column, number);
                }
            }
            AnyColumn::Flag(column) => match value {
                FieldRef::Bool(flag) => row.put_flag(column, flag),
                FieldRef::Str("true") => row.put_flag(column, true),
                FieldRef::Str("false") => row.put_flag(column, false),
                _ => {}
            },
            AnyColumn::Time(column) => {
                if let Some(time) = self.mapping.time_format.read(value, self.zone) {
                    row.put_time(column, time);
                }
            }
            AnyColumn::Words(_) => {}
        }
    }
}

impl TimeFormat {
    /// Reads a time, if it is one that the tables can hold.
    fn read(self, value: FieldRef<'_>, zone: Zone) -> Option<Micros> {
        let time = match self {
            Self::Rfc3339 => match value {
                FieldRef::Str(text) => zone.parse(text)?,
                _ => return None,
            },
            Self::UnixSeconds => decimal(value, 6)?,
            Self::UnixMillis => decimal(value, 3)?,
            Self::UnixMicros => decimal(value, 0)?,
            Self::UnixNanos => integer(value)?.div_euclid(1000),
        };
        in_range(time)
    }
}

/// A number times ten to `places`, exactly where it was written exactly.
fn decimal(value: FieldRef<'_>, places: u32) -> Option<i64> {
    let scale = 10i64.pow(places);
    match value {
        FieldRef::Int(n) => n.checked_mul(scale),
        FieldRef::Float(f) => {
            let scaled = (f * scale as f64).round();
            (scaled.abs() < 9e18).then_some(scaled as i64)
        }
        FieldRef::Str(text) => {
            let text = text.trim();
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            if !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let mut micros = whole.parse::<i64>().ok()?.checked_mul(scale)?;
            let sign = if whole.starts_with('-') { -1 } else { 1 };
            let mut unit = scale;
            for digit in fraction.bytes().take(places as usize) {
                unit /= 10;
                micros = micros.checked_add(sign * i64::from(digit - b'0') * unit)?;
            }
            Some(micros)
        }
        _ => None,
    }
}

fn integer(value: FieldRef<'_>) -> Option<i64> {
    match value {
        FieldRef::Int(n) => Some(n),
        FieldRef::UInt(n) => i64::try_from(n).ok(),
        FieldRef::Str(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn spelled<'v>(value: FieldRef<'v>) -> Option<Cow<'v, str>> {
    match value {
        FieldRef::Str(text) => Some(Cow::Borrowed(text)),
        FieldRef::Int(n) => Some(n.to_string().into()),
        FieldRef::UInt(n) => Some(n.to_string().into()),
        FieldRef::Float(n) => Some(serde_json::Value::from(n).to_string().into()),
        FieldRef::Bool(b) => Some(if b { "true" } else { "false" }.into()),
        FieldRef::Null | FieldRef::Object => None,
    }
}

#[cfg(test)]
mod tests;
