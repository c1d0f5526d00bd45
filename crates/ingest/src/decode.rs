//! The decoder seam: what a decoder is given, what it gives back, and how every format finishes a row.
//!
//! Not here: what any format looks like.

use std::sync::Arc;

use palisade_events::id::LaneHash;
use palisade_events::time::Micros;
use palisade_events::{
    Chunk, Coverage, CoverageKind, EventBuilder, FieldPlan, Lane, LaneClock, ObjectVersion, RecordMeta, Reject, Result,
    col,
};

use crate::document::JsonDecoder;
use crate::mapped::Mapping;
use crate::redact::{RedactionCounts, Redactor};
use crate::zone::Zone;

/// Bytes kept of what a coverage fact says in words.
const DETAIL_BYTES_MAX: usize = 1024;

/// Reads the records of one lane. A decoder belongs to one lane for its whole life.
///
/// Legal order: [`restore`](Self::restore) at most once and first, then [`decode`](Self::decode) with the lane's chunks
/// in offset order. The same records give the same rows, however they were cut into chunks.
pub trait Decoder: std::fmt::Debug + Send {
    /// Decodes one record into `out`, and counts it there. The lane's clock was told of it.
    ///
    /// # Errors
    /// Only when the decoder cannot go on; bad input becomes a reject.
    fn record(&mut self, record: &RecordMeta, payload: &[u8], clock: &mut LaneClock, out: &mut Decoded) -> Result<()>;

    /// Sees a record that was delivered before and is here only as context.
    fn again(&mut self, payload: &[u8]) {
        let _ = payload;
    }

    /// Decodes a chunk's records, in lane order, into `out`, and advances the lane's clock.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    fn decode(&mut self, chunk: &Chunk, clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        for record in &chunk.records {
            let payload = chunk.payload(record);
            if record.again {
                self.again(payload);
                continue;
            }
            clock.next_record();
            self.record(record, payload, clock, out)?;
        }
        Ok(())
    }

    /// Closes what is held, because the lane's input has ended for good, as in a one-shot scan. A lane that may go on, or
    /// a graceful stop, never calls this: what is held then is part of the state. The events take the position of
    /// their own last record.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn end(&mut self, clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        let _ = (clock, out);
        Ok(())
    }

    /// Records held in assembly: they are in no bucket of [`Counts`] yet.
    fn held(&self) -> u64 {
        0
    }

    /// What the decoder remembers between chunks, as bytes; empty if nothing.
    ///
    /// # Errors
    /// When state cannot be written.
    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Puts back what [`snapshot`](Self::snapshot) gave.
    ///
    /// # Errors
    /// When the bytes are damaged or of another version.
    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Ok(())
    }
}

/// What came of some records.
#[derive(Debug)]
pub struct Decoded {
    /// Rows, in lane order.
    pub events: EventBuilder,
    /// Inputs that could not be read. A message of many events can leave several, so this may hold more entries than
    /// [`Counts::rejected`] counts records.
    pub rejects: Vec<Reject>,
    /// What the records said about their source's completeness.
    pub coverage: Vec<Coverage>,
    /// Versions of Kubernetes objects that the records showed.
    pub objects: Vec<ObjectVersion>,
    /// How many records ended where.
    pub counts: Counts,
    /// Secrets replaced, by kind.
    pub redactions: RedactionCounts,
}

impl Decoded {
    /// Starts empty, with the raw fields of `plan`, which must be the plan of the decoder's [`Settings`].
    pub fn new(plan: Arc<FieldPlan>) -> Self {
        Self {
            events: EventBuilder::new(plan),
            rejects: Vec::new(),
            coverage: Vec::new(),
            objects: Vec::new(),
            counts: Counts::default(),
            redactions: RedactionCounts::default(),
        }
    }
}

/// Where records ended. `records == used + coverage + rejected +` what is newly held in assembly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Records read, those delivered `again` left out.
    pub records: u64,
    /// Records that made events, or structure such as a CSV header or a tombstone. One that makes events and facts counts
    /// here.
    pub used: u64,
    /// Those of the used records that were tombstones: a key without a value.
    #[serde(default)]
    pub tombstones: u64,
    /// Records that made only coverage facts.
    pub coverage: u64,
    /// Records that made nothing but rejects.
    pub rejected: u64,
    /// Events made.
    pub events: u64,
    /// Secrets replaced.
    pub redacted: u64,
    /// Events behind their lane's watermark.
    pub late: u64,
    /// Events too far in the future to be believed.
    pub doubtful: u64,
}

impl Counts {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.used += other.used;
        self.tombstones += other.tombstones;
        self.coverage += other.coverage;
        self.rejected += other.rejected;
        self.events += other.events;
        self.redacted += other.redacted;
        self.late += other.late;
        self.doubtful += other.doubtful;
    }
}

/// Bounds on what one record may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longer events are rejected as `too_large`, and so are longer records of formats with one event a record. An audit event holds up to two bodies, what was asked and what was
    /// answered, each at most 3 MiB as JSON: the API server reads no more, since the object store takes 1.5 MiB of its
    /// own encoding. The rest is for managed fields and what surrounds the bodies.
    pub record_bytes_max: usize,
    /// Longer documents are rejected as `too_large`, whatever they hold: a file of CloudTrail or the answer of `kubectl get`
    /// is one document of many events.
    pub document_bytes_max: usize,
    /// JSON nested deeper is rejected as `too_deep`: real payloads stay below 30.
    pub depth_max: usize,
    /// Raw field values kept per row; a row that has more is marked truncated.
    pub field_values_max: usize,
    /// Items kept per list column; a row that has more is marked truncated.
    pub list_items_max: usize,
    /// Bytes of the input kept in a reject.
    pub reject_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 8 << 20,
            document_bytes_max: 64 << 20,
            depth_max: 64,
            field_values_max: 65_536,
            list_items_max: 1024,
            reject_bytes_max: 4096,
        }
    }
}

/// What all decoders of one source share.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The source's name in the configuration.
    pub source: String,
    /// The cluster that the source belongs to; empty if none is stated.
    pub cluster: String,
    /// Zone of times that name none.
    pub zone: Zone,
    /// Bounds.
    pub limits: Limits,
    /// The raw fields that loaded rules ask for.
    pub plan: Arc<FieldPlan>,
    /// What takes secrets out.
    pub redactor: Arc<Redactor>,
}

/// The formats that can be decoded.
#[derive(Clone, Debug)]
pub enum Format {
    /// Kubernetes audit events: `audit.k8s.io` `Event` and `EventList`, and GKE's log entries.
    K8sAudit,
    /// Kubernetes objects: `kubectl get -o json`, watch events.
    K8sObjects,
    /// Falco alerts.
    Falco,
    /// Tetragon's exported events.
    Tetragon,
    /// Tracee's events, in its three shapes.
    Tracee,
    /// Hubble flows.
    Hubble,
    /// Calico flow logs, of Enterprise and of Goldmane.
    Calico,
    /// Events of the Docker daemon.
    Docker,
    /// KubeArmor alerts and logs.
    KubeArmor,
    /// Notifications of an image registry.
    Registry,
    /// AWS CloudTrail records.
    CloudTrail,
    /// OCSF events as JSON.
    Ocsf,
    /// Elastic Common Schema documents.
    Ecs,
    /// Linux audit records as text.
    Auditd,
    /// JSON or CSV by a mapping.
    Mapped(Arc<Mapping>),
    /// Whatever each record shows itself to be.
    Auto,
}

impl Format {
    /// The formats that need nothing but their name, and their names.
    pub const NAMED: [(&'static str, Self); 15] = [
        ("k8s_audit", Self::K8sAudit),
        ("k8s_objects", Self::K8sObjects),
        ("falco", Self::Falco),
        ("tetragon", Self::Tetragon),
        ("tracee", Self::Tracee),
        ("hubble", Self::Hubble),
        ("calico", Self::Calico),
        ("docker", Self::Docker),
        ("kubearmor", Self::KubeArmor),
        ("registry", Self::Registry),
        ("cloudtrail", Self::CloudTrail),
        ("ocsf", Self::Ocsf),
        ("ecs", Self::Ecs),
        ("auditd", Self::Auditd),
        ("auto", Self::Auto),
    ];

    /// Finds a format by name; a mapped one needs its [`Mapping`] and has no name of its own here.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format)
    }

    /// The format's name, as stored with each event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::K8sAudit => "k8s_audit",
            Self::K8sObjects => "k8s_objects",
            Self::Falco => "falco",
            Self::Tetragon => "tetragon",
            Self::Tracee => "tracee",
            Self::Hubble => "hubble",
            Self::Calico => "calico",
            Self::Docker => "docker",
            Self::KubeArmor => "kubearmor",
            Self::Registry => "registry",
            Self::CloudTrail => "cloudtrail",
            Self::Ocsf => "ocsf",
            Self::Ecs => "ecs",
            Self::Auditd => "auditd",
            Self::Mapped(_) => "mapped",
            Self::Auto => "auto",
        }
    }
}

/// Makes the decoder of a format for one lane.
pub fn decoder(format: &Format, lane: Arc<Lane>, settings: Arc<Settings>) -> Box<dyn Decoder> {
    let context = LaneContext::new(Arc::clone(&lane), Arc::clone(&settings), format.name());
    match format {
        Format::K8sAudit => Box::new(JsonDecoder::<crate::k8s_audit::K8sAudit>::new(context)),
        Format::K8sObjects => Box::new(JsonDecoder::<crate::k8s_objects::K8sObjects>::new(context)),
        Format::Falco => Box::new(JsonDecoder::<crate::falco::Falco>::new(context)),
        Format::Tetragon => Box::new(JsonDecoder::<crate::tetragon::Tetragon>::new(context)),
        Format::Tracee => Box::new(JsonDecoder::<crate::tracee::Tracee>::new(context)),
        Format::Hubble => Box::new(JsonDecoder::<crate::hubble::Hubble>::new(context)),
        Format::Calico => Box::new(JsonDecoder::<crate::calico::Calico>::new(context)),
        Format::Docker => Box::new(JsonDecoder::<crate::docker::Docker>::new(context)),
        Format::KubeArmor => Box::new(JsonDecoder::<crate::kubearmor::KubeArmor>::new(context)),
        Format::Registry => Box::new(JsonDecoder::<crate::registry::Registry>::new(context)),
        Format::CloudTrail => Box::new(JsonDecoder::<crate::cloudtrail::CloudTrail>::new(context)),
        Format::Ocsf => Box::new(JsonDecoder::<crate::ocsf::Ocsf>::new(context)),
        Format::Ecs => Box::new(JsonDecoder::<crate::ecs::Ecs>::new(context)),
        Format::Auditd => Box::new(crate::auditd::Auditd::new(context)),
        Format::Mapped(mapping) => Box::new(crate::mapped::Mapped::new(context, Arc::clone(mapping))),
        Format::Auto => Box::new(crate::sniff::Sniffed::new(context)),
    }
}

/// What a decoder knows of its lane, and how it finishes rows, rejects and facts in the one way that all formats share.
#[derive(Clone, Debug)]
pub struct LaneContext {
    lane: Arc<Lane>,
    settings: Arc<Settings>,
    format: &'static str,
    hash: LaneHash,
}

/// What a format states of an event when its row is complete.
#[derive(Clone, Copy, Debug)]
pub struct EventEnd<'e> {
    /// Index of the event within its message; 0 for a message of one event.
    pub index: u32,
    /// Event time.
    pub time: Micros,
    /// Event time exactly as the source wrote it; empty if it wrote none.
    pub time_original: &'e str,
    /// The original payload, secrets already replaced.
    pub raw: &'e str,
    /// Records that made this event.
    pub records: i32,
    /// Secrets replaced in it.
    pub redacted: u32,
}

impl LaneContext {
    /// Prepares the context of a lane.
    pub fn new(lane: Arc<Lane>, settings: Arc<Settings>, format: &'static str) -> Self {
        let hash = LaneHash::new(&lane);
        Self { lane, settings, format, hash }
    }

    /// The lane.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The source's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The source's settings, to be shared with another decoder of the lane.
    pub(crate) fn shared_settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    /// The cluster of a record: what its carrier says, else what the configuration says.
    pub fn cluster<'c>(&'c self, record: &'c RecordMeta) -> &'c str {
        record.cluster.as_deref().unwrap_or(&self.settings.cluster)
    }

    /// Counts a record and hands over its text, a document, without what frames it: white space, a byte order mark, the
    /// number of a schema. A record that is empty, too large or not UTF-8 is rejected and counted, and `None` comes back; a
    /// tombstone is counted.
    pub(crate) fn intake_document<'c>(
        &self,
        out: &mut Decoded,
        record: &RecordMeta,
        payload: &'c [u8],
    ) -> Option<&'c str> {
        let payload = crate::frame::strip_registry_frame(payload);
        // JSON text sequences begin each document with a record separator.
        let ends = [' ', '\t', '\r', '\n', '\x0b', '\x0c', '\x1e'];
        self.intake_within(out, record, payload, &ends, self.settings.limits.document_bytes_max)
    }

    /// As [`intake_document`](Self::intake_document), taking off only the given characters around the text, with a bound
    /// of its own.
    pub(crate) fn intake_within<'c>(
        &self,
        out: &mut Decoded,
        record: &RecordMeta,
        payload: &'c [u8],
        ends: &[char],
        bytes_max: usize,
    ) -> Option<&'c str> {
        out.counts.records += 1;
        if record.tombstone {
            out.counts.used += 1;
            out.counts.tombstones += 1;
            return None;
        }
        let (reason, detail) = if payload.len() > bytes_max {
            ("too_large", format!("{} bytes", payload.len()))
        } else {
            match simdutf8::compat::from_utf8(payload)
                .map(|text| text.trim_start_matches('\u{feff}').trim_matches(ends))
            {
                Ok(text) if text.trim().is_empty() => ("empty", "no payload".to_owned()),
                Ok(text) => return Some(text),
                Err(e) => ("not_utf8", format!("byte {} is not UTF-8", e.valid_up_to())),
            }
        };
        self.reject(out, record, reason, detail, payload);
        out.counts.rejected += 1;
        None
    }

    /// Finishes the current row: fills everything that does not depend on the format and ends it. The format's own
    /// columns, among them `class_uid` and `activity_id`, must be in place; what the event already states, such as
    /// its cluster, stays.
    ///
    /// `record` is the record that completes the event, and `clock.next_record()` was called for it.
    pub fn end_event(&self, out: &mut Decoded, clock: &mut LaneClock, record: &RecordMeta, end: EventEnd<'_>) {
        let moment = clock.observe(end.time, record.time.filter(|_| record.time_is_brokers));
        // A time that is not believed dates the row by its carrier, so that it lands where it can be found.
        let time = if moment.doubtful { record.time.or(clock.max()).unwrap_or(end.time) } else { end.time };
        let row = &mut out.events;
        let uid = self.hash.event_uid(record.offset, end.index);
        // The id is hex digits, so it is always UTF-8.
        row.put_text(col::EVENT_UID, std::str::from_utf8(&uid).unwrap_or_default());
        row.put_time(col::TIME, time);
        if !end.time_original.is_empty() {
            row.put_text(col::TIME_ORIGINAL, end.time_original);
        }
        row.put_word(col::SOURCE, &self.settings.source);
        row.put_word(col::FORMAT, self.format);
        row.put_word(col::ORIGIN, &self.lane.origin);
        if let Some(partition) = self.lane.partition {
            row.put_int(col::PARTITION, partition);
        }
        row.put_long(col::OFFSET, record.offset);
        if let Some(line) = record.line {
            row.put_long(col::LINE, line);
        }
        row.put_int(col::MESSAGE_INDEX, i32::try_from(end.index).unwrap_or(i32::MAX));
        if let Some(time) = record.time {
            row.put_time(col::BROKER_TIME, time);
        }
        if let Some(key) = &record.key {
            let mut found = RedactionCounts::default();
            row.put_text(col::RECORD_KEY, &self.settings.redactor.text(key, &mut found));
            out.counts.redacted += found.total();
            out.redactions.add(&found);
        }
        if let Some((trace, span)) = record.trace.as_deref().and_then(trace_and_span) {
            row.put_text(col::TRACE_UID, trace);
            row.put_text(col::TRACE_SPAN_UID, span);
        }
        let cluster = self.cluster(record);
        if !cluster.is_empty() {
            row.put_word(col::CLUSTER_NAME, cluster);
        }
        if let Some(max) = moment.max_before {
            row.put_time(col::LANE_MAX_BEFORE, max);
        }
        row.put_flag(col::LATE, moment.late);
        row.put_flag(col::TIME_DOUBTFUL, moment.doubtful);
        row.put_int(col::RECORDS, end.records);
        row.put_int(col::REDACTED, i32::try_from(end.redacted).unwrap_or(i32::MAX));
        row.put_text(col::RAW, end.raw);
        row.end_row();
        out.counts.events += 1;
        out.counts.late += u64::from(moment.late);
        if moment.doubtful {
            out.counts.doubtful += 1;
            let detail =
                format!("event time {} lies too far in the future", palisade_events::time::format_rfc3339(end.time));
            self.cover(out, record, CoverageKind::Future, (time, time), 1, detail);
        }
    }

    /// Places versions of objects that an event shows, whose row was just ended.
    pub(crate) fn place(&self, out: &mut Decoded, record: &RecordMeta, index: u32, objects: Vec<ObjectVersion>) {
        if objects.is_empty() {
            return;
        }
        let uid = self.hash.event_uid(record.offset, index);
        for object in objects {
            out.objects.push(ObjectVersion {
                lane: Arc::clone(&self.lane),
                offset: record.offset,
                index,
                event_uid: String::from_utf8_lossy(&uid).into_owned(),
                cluster: if object.cluster.is_empty() { self.cluster(record).to_owned() } else { object.cluster },
                ..object
            });
        }
    }

    /// Keeps an input that cannot be read, with a stable `reason` and what exactly was wrong, which must not quote the
    /// input. Counts nothing: the caller knows in which bucket the record ends.
    pub fn reject(&self, out: &mut Decoded, record: &RecordMeta, reason: &str, detail: impl Into<String>, raw: &[u8]) {
        let mut found = RedactionCounts::default();
        let limits = &self.settings.limits;
        let kept = self.settings.redactor.remains(raw, limits.reject_bytes_max, limits.depth_max, &mut found);
        out.counts.redacted += found.total();
        out.redactions.add(&found);
        out.rejects.push(Reject {
            lane: Arc::clone(&self.lane),
            offset: record.offset,
            line: record.line,
            time: record.time,
            reason: reason.to_owned(),
            detail: detail.into(),
            raw: kept,
        });
    }

    /// Records a coverage fact that a record tells of. Counts nothing.
    pub fn cover(
        &self,
        out: &mut Decoded,
        record: &RecordMeta,
        kind: CoverageKind,
        window: (Micros, Micros),
        count: i64,
        mut detail: String,
    ) {
        // Sources write in it what they like.
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        out.coverage.push(Coverage {
            lane: Arc::clone(&self.lane),
            offset: record.offset,
            cluster: self.cluster(record).to_owned(),
            kind,
            window_start: window.0,
            window_end: window.1,
            count,
            detail,
        });
    }
}

/// Trace and span of a W3C `traceparent`, `00-<trace>-<span>-<flags>`.
fn trace_and_span(traceparent: &str) -> Option<(&str, &str)> {
    let mut parts = traceparent.split('-').skip(1);
    Some((parts.next()?, parts.next()?))
}

/// A time that the tables can hold and panes can be made of: years 0 to 9999. Others are no times.
pub(crate) fn in_range(time: Micros) -> Option<Micros> {
    const YEAR_0: Micros = -62_167_219_200_000_000;
    const YEAR_10000: Micros = 253_402_300_800_000_000;
    (YEAR_0..YEAR_10000).contains(&time).then_some(time)
}

#[cfg(test)]
mod tests;
