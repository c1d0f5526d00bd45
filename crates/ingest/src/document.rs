//! Formats whose records are JSON documents: one driver takes each record in, replaces its secrets, opens what it is
//! wrapped in, and finishes what the format read.
//!
//! Not here: what a document means (each [`JsonFormat`] knows its own), and which wrappings there are ([`envelope`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use palisade_events::time::Micros;
use palisade_events::{CoverageKind, EventBuilder, LaneClock, ObjectVersion, RecordMeta, Result};

use crate::decode::{Decoded, Decoder, EventEnd, LaneContext, Settings};
use crate::envelope::{self, Inner, Opened, WRAPPINGS_MAX};
use crate::json::{Columns, Fault, Parser, Value, Walk};
use crate::redact::RedactionCounts;

/// Rejects that the documents of one record leave; one more stands for the rest.
const REJECTS_MAX: usize = 100;

/// Why a document makes no event: a short, stable reason, and what exactly was wrong, without quoting the input.
pub(crate) type Refusal = (&'static str, String);

/// A format whose records are JSON documents. One value reads all documents of a lane.
pub(crate) trait JsonFormat: fmt::Debug + Default + Send {
    /// Reads one document: fills the current row with the format's own columns, among them `class_uid` and
    /// `activity_id`, and leaves the rest to the driver.
    ///
    /// A document that is not of this format is refused before anything else is looked at: the driver then looks for one
    /// inside of it. What a refused document put into the row is taken back.
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal>;
}

/// What a document was.
#[derive(Debug)]
pub(crate) enum Made<'i> {
    /// One event, whose columns are in the row.
    Event {
        /// Event time.
        time: Micros,
        /// The same exactly as the document wrote it; empty if it wrote none.
        original: Cow<'i, str>,
    },
    /// No event: what it tells of completeness is in [`Reading::facts`].
    Facts,
    /// Something that stands for itself alone, such as a bookmark in a stream.
    Structure,
}

/// What a document tells of its source's completeness.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) kind: CoverageKind,
    /// First and last moment concerned.
    pub(crate) window: (Micros, Micros),
    /// Events lost or concerned; -1 if unknown.
    pub(crate) count: i64,
    /// In words.
    pub(crate) detail: String,
}

/// What a format is given beside the document, and what it fills.
pub(crate) struct Reading<'r> {
    /// The current row.
    pub(crate) row: &'r mut EventBuilder,
    /// The record that the document came in.
    pub(crate) record: &'r RecordMeta,
    /// The source's settings.
    pub(crate) settings: &'r Settings,
    /// Largest time of the lane so far, as far as it is believed: dates what has no time of its own.
    pub(crate) lane_max: Option<Micros>,
    /// What the document tells of completeness, beside its event or instead of one.
    pub(crate) facts: Vec<Fact>,
    /// Versions of Kubernetes objects that the document shows; the driver places them.
    pub(crate) objects: Vec<ObjectVersion>,
    /// Whether something of the event was cut off: it is marked as truncated.
    pub(crate) cut: bool,
    values_left: usize,
}

impl Reading<'_> {
    /// Walks `value` once: `columns` takes what its keys mean, beginning at `place`, and the raw fields that rules ask
    /// for are taken along, under the names they have within `value`.
    pub(crate) fn walk<'i, C: Columns<'i>>(&mut self, value: Value<'_, 'i>, place: C::Place, columns: &mut C) {
        self.walk_some(value, Some(place), columns);
    }

    /// Takes the raw fields that rules ask for under the names they have within `value`, for rules that name fields
    /// without the object that holds them.
    pub(crate) fn walk_fields<'i, C: Columns<'i>>(&mut self, value: Value<'_, 'i>, columns: &mut C) {
        self.walk_some(value, None, columns);
    }

    fn walk_some<'i, C: Columns<'i>>(&mut self, value: Value<'_, 'i>, place: Option<C::Place>, columns: &mut C) {
        let tree = self.settings.plan.tree();
        let mut walk = Walk::new(tree, self.values_left);
        let is_document = place.is_some();
        walk.value(value, place, tree.root(), columns, self.row);
        if is_document {
            self.row.fields().put_whole();
        }
        self.values_left = walk.left();
        self.cut |= walk.is_cut();
    }

    /// The bound on items of a list column.
    pub(crate) fn list_items_max(&self) -> usize {
        self.settings.limits.list_items_max
    }
}

/// Decodes the records of one lane by a [`JsonFormat`].
#[derive(Debug)]
pub(crate) struct JsonDecoder<F> {
    context: LaneContext,
    parser: Parser,
    format: F,
    /// Documents of the record at hand so far: numbers its events.
    documents: u32,
    /// Documents of it that were rejected.
    rejected: usize,
    /// Bytes that what is compressed inside of it may still have.
    bytes_left: usize,
}

/// Into which bucket a record falls: the best of its documents decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Rejected,
    Coverage,
    Used,
}

/// What came of looking at one document.
enum Look {
    Done(Outcome),
    /// What it wraps, and why itself it is no document of the format.
    Inside(Opened, Refusal),
}

impl<F: JsonFormat> JsonDecoder<F> {
    pub(crate) fn new(context: LaneContext) -> Self {
        let (parser, format) = (Parser::default(), F::default());
        Self { context, parser, format, documents: 0, rejected: 0, bytes_left: 0 }
    }

    /// Reads a document and whatever it wraps. A list leaves a reject for each member that cannot be read; of one
    /// document inside another, the caller learns why it could not be read.
    fn document(
        &mut self,
        record: &RecordMeta,
        text: &str,
        depth: usize,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> Result<Outcome, Refusal> {
        match self.look(record, text, clock, out)? {
            Look::Done(outcome) => {
                self.documents += 1;
                Ok(outcome)
            }
            Look::Inside(..) if depth >= WRAPPINGS_MAX => {
                Err(("too_deep", format!("wrapped more than {WRAPPINGS_MAX} times")))
            }
            // Nothing happened, and that is what it says.
            Look::Inside(Opened::List(list), _) if list.is_empty() => Ok(Outcome::Used),
            Look::Inside(Opened::List(list), _) => {
                let mut outcome = Outcome::Rejected;
                for inner in list.members(text) {
                    let item = inner.text(text);
                    match self.inner(record, &inner, item, depth, clock, out) {
                        Ok(one) => outcome = outcome.max(one),
                        Err((reason, detail)) => {
                            self.reject_member(out, record, reason, &detail, item);
                            self.documents += 1;
                        }
                    }
                }
                Ok(outcome)
            }
            Look::Inside(Opened::One(inner), refusal) => {
                let inside = self.inner(record, &inner, inner.text(text), depth, clock, out);
                // What is inside was perhaps no document of this format either: then the whole is to be judged.
                inside.map_err(|inside| if inside.0.starts_with("not_") { refusal } else { inside })
            }
        }
    }

    /// Keeps a member of a list that cannot be read, unless the record left as many already.
    fn reject_member(&mut self, out: &mut Decoded, record: &RecordMeta, reason: &str, detail: &str, item: &str) {
        self.rejected += 1;
        if self.rejected <= REJECTS_MAX + 1 {
            let detail = format!("document {}: {detail}", self.documents);
            self.context.reject(out, record, reason, detail, item.as_bytes());
        }
    }

    /// Makes the last of a record's rejects stand for those that were not kept.
    fn fold_rejects(&self, out: &mut Decoded) {
        let folded = self.rejected.saturating_sub(REJECTS_MAX + 1);
        if folded > 0
            && let Some(last) = out.rejects.last_mut()
        {
            last.detail.push_str(&format!("; it stands for {folded} more documents that could not be read"));
        }
    }

    fn inner(
        &mut self,
        record: &RecordMeta,
        inner: &Inner,
        text: &str,
        depth: usize,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> Result<Outcome, Refusal> {
        match &inner.cluster {
            Some(cluster) if record.cluster.is_none() => {
                let record = RecordMeta { cluster: Some(Arc::clone(cluster)), ..record.clone() };
                self.document(&record, text, depth + 1, clock, out)
            }
            _ => self.document(record, text, depth + 1, clock, out),
        }
    }

    /// Reads a document, or finds what it wraps.
    fn look(
        &mut self,
        record: &RecordMeta,
        text: &str,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> Result<Look, Refusal> {
        let limits = self.context.settings().limits;
        let mut found = RedactionCounts::default();
        let redacted = self.context.settings().redactor.json(text, limits.depth_max, &mut found);
        let Some(redacted) = redacted else {
            return self.parse(record, text, text, &found, clock, out);
        };
        // What is read is redacted even if it is then refused: a builder keeps the values of a row that was abandoned.
        let refusal = match self.parse(record, text, &redacted, &found, clock, out) {
            Ok(Look::Inside(_, refusal)) => refusal,
            Err(refusal) if refusal.0.starts_with("not_") => refusal,
            look => return look,
        };
        // A wrapping is opened as it is, so that each document inside has its own secrets replaced and counted.
        let Self { parser, bytes_left, .. } = self;
        let inner = parser.parse(text, limits.depth_max, |root| envelope::open(root, text, bytes_left));
        let inner = inner.map_err(refused)?;
        match inner {
            Some(inner) => Ok(Look::Inside(inner, refusal)),
            None => Err(refusal),
        }
    }

    fn parse(
        &mut self,
        record: &RecordMeta,
        text: &str,
        raw: &str,
        found: &RedactionCounts,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> Result<Look, Refusal> {
        let Self { context, parser, format, documents, bytes_left, .. } = self;
        let limits = context.settings().limits;
        let look = parser.parse(raw, limits.depth_max, |root| {
            let mut reading = reading(context, record, clock.max(), &mut out.events);
            let made = if text.len() > limits.record_bytes_max {
                Err(("too_large", format!("{} bytes", text.len())))
            } else {
                format.read(root, &mut reading)
            };
            let Reading { facts, objects, cut, .. } = reading;
            let made = match made {
                Ok(made) => made,
                Err(refusal) => {
                    out.events.abandon_row();
                    return match envelope::open(root, raw, bytes_left) {
                        Some(inner) => Ok(Look::Inside(inner, refusal)),
                        None => Err(refusal),
                    };
                }
            };
            out.counts.redacted += found.total();
            out.redactions.add(found);
            let outcome = match made {
                Made::Event { time, original } => {
                    if cut {
                        out.events.put_flag(palisade_events::col::TRUNCATED, true);
                    }
                    let end = EventEnd {
                        index: *documents,
                        time,
                        time_original: &original,
                        raw,
                        records: 1,
                        redacted: u32::try_from(found.total()).unwrap_or(u32::MAX),
                    };
                    context.end_event(out, clock, record, end);
                    context.place(out, record, *documents, objects);
                    Outcome::Used
                }
                Made::Facts => {
                    out.events.abandon_row();
                    Outcome::Coverage
                }
                Made::Structure => {
                    out.events.abandon_row();
                    Outcome::Used
                }
            };
            for Fact { kind, window, count, detail } in facts {
                context.cover(out, record, kind, window, count, detail);
            }
            Ok(Look::Done(outcome))
        });
        match look {
            Ok(look) => look,
            Err(fault) => Err(refused(fault)),
        }
    }
}

fn reading<'r>(
    context: &'r LaneContext,
    record: &'r RecordMeta,
    lane_max: Option<Micros>,
    row: &'r mut EventBuilder,
) -> Reading<'r> {
    let settings = context.settings();
    Reading {
        row,
        record,
        settings,
        lane_max,
        facts: Vec::new(),
        objects: Vec::new(),
        cut: false,
        values_left: settings.limits.field_values_max,
    }
}

fn refused(fault: Fault) -> Refusal {
    (fault.reason(), fault.detail())
}

impl<F: JsonFormat> Decoder for JsonDecoder<F> {
    fn record(
        &mut self,
        record: &RecordMeta,
        payload: &[u8],
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> palisade_events::Result<()> {
        let Some(text) = self.context.intake_document(out, record, payload) else { return Ok(()) };
        (self.documents, self.rejected) = (0, 0);
        self.bytes_left = self.context.settings().limits.document_bytes_max;
        match self.document(record, envelope::unprefixed(text), 0, clock, out) {
            Ok(Outcome::Used) => out.counts.used += 1,
            Ok(Outcome::Coverage) => out.counts.coverage += 1,
            Ok(Outcome::Rejected) => out.counts.rejected += 1,
            Err((reason, detail)) => {
                self.context.reject(out, record, reason, detail, text.as_bytes());
                out.counts.rejected += 1;
            }
        }
        self.fold_rejects(out);
        Ok(())
    }
}
