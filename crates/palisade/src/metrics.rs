//! What the pipeline counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::Accounts;

/// Counters and gauges of one pipeline. Cheap to update; read by the HTTP server and by progress displays.
pub struct Metrics {
    registry: Registry,
    /// Records read.
    pub records: Counter<u64>,
    /// Records that made events.
    pub used: Counter<u64>,
    /// Records that made only coverage facts.
    pub coverage_records: Counter<u64>,
    /// Records that made only rejects.
    pub rejected: Counter<u64>,
    /// Records held in assembly.
    pub held: Gauge<i64, AtomicI64>,
    /// Events made.
    pub events: Counter<u64>,
    /// Events behind their lane's watermark.
    pub late: Counter<u64>,
    /// Events that are too far in the future to be believed.
    pub doubtful: Counter<u64>,
    /// Secrets replaced, by kind.
    redacted: Family<Vec<(String, String)>, Counter<u64>>,
    /// Versions of Kubernetes objects that events showed.
    pub objects: Counter<u64>,
    /// Findings made by rules.
    pub rule_findings: Counter<u64>,
    /// Findings made by rules that an exception suppresses: in the lake, and no sink gets them.
    pub suppressed: Counter<u64>,
    /// Changes of the files of rules, by what came of them.
    rule_reloads: Family<Vec<(String, String)>, Counter<u64>>,
    /// Findings made on closed panes.
    pub pane_findings: Counter<u64>,
    /// Panes that a detector could not judge.
    pub detector_failures: Counter<u64>,
    /// Payload bytes read.
    pub bytes: Counter<u64>,
    /// Cuts that landed.
    pub cuts: Counter<u64>,
    /// Milliseconds that the last cut took from request to landing.
    pub cut_millis: Gauge<i64, AtomicI64>,
    /// Rows landed in the events table by this process.
    pub rows_landed: Counter<u64>,
    /// Bytes landed in the events table by this process.
    pub bytes_landed: Counter<u64>,
    /// Findings that no sink has taken yet.
    pub outbox: Gauge<i64, AtomicI64>,
    /// Lanes held by this instance.
    pub lanes: Gauge<i64, AtomicI64>,
    /// Lanes of the sources that other instances hold.
    pub lanes_missing: Gauge<i64, AtomicI64>,
    /// End of the last closed pane, in seconds since the epoch.
    pub frontier_secs: Gauge<f64, AtomicU64>,
    /// 1 while records in = used + coverage + rejected + held.
    pub accounts_balance: Gauge<i64, AtomicI64>,
    accounts: Family<Vec<(String, String)>, Gauge<i64, AtomicI64>>,
    detectors: Family<Vec<(String, String)>, Gauge<i64, AtomicI64>>,
    event_ages: Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>,
    health: Mutex<Health>,
}

/// What `/healthz` and `/readyz` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Lanes are assigned and the lake was reached.
    pub ready: bool,
    /// What is wrong, in words, by what it concerns; empty while all is well.
    pub degraded: BTreeMap<String, String>,
    /// When the run loop last came round.
    pub beat: Option<Instant>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("palisade"),
            records: Counter::default(),
            used: Counter::default(),
            coverage_records: Counter::default(),
            rejected: Counter::default(),
            held: Gauge::default(),
            events: Counter::default(),
            late: Counter::default(),
            doubtful: Counter::default(),
            redacted: Family::default(),
            objects: Counter::default(),
            rule_findings: Counter::default(),
            suppressed: Counter::default(),
            rule_reloads: Family::default(),
            pane_findings: Counter::default(),
            detector_failures: Counter::default(),
            bytes: Counter::default(),
            cuts: Counter::default(),
            cut_millis: Gauge::default(),
            rows_landed: Counter::default(),
            bytes_landed: Counter::default(),
            outbox: Gauge::default(),
            lanes: Gauge::default(),
            lanes_missing: Gauge::default(),
            frontier_secs: Gauge::default(),
            accounts_balance: Gauge::default(),
            accounts: Family::default(),
            detectors: Family::default(),
            event_ages: Family::default(),
            health: Mutex::default(),
        };
        metrics.accounts_balance.set(1);
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("records_in", "Records read", self.records.clone());
        r.register("records_used", "Records that made events", self.used.clone());
        r.register("records_coverage", "Records that made only coverage facts", self.coverage_records.clone());
        r.register("records_rejected", "Records that made only rejects", self.rejected.clone());
        r.register("records_held", "Records held in assembly", self.held.clone());
        r.register(
            "accounts_balance",
            "1 while records in = used + coverage + rejected + held",
            self.accounts_balance.clone(),
        );
        r.register(
            "accounts",
            "Where the records of this instance's lanes are, over all runs, at the last cut: in = used + coverage + \
             rejected + held",
            self.accounts.clone(),
        );
        r.register("detector", "What a detector holds or had to leave out", self.detectors.clone());
        r.register_with_unit(
            "source_last_event_age",
            "Time since a source gave an event, by the clock; since the start if it gave none",
            Unit::Seconds,
            self.event_ages.clone(),
        );
        r.register("events", "Events made", self.events.clone());
        r.register("events_late", "Events behind their lane's watermark", self.late.clone());
        r.register("events_doubtful", "Events too far in the future to be believed", self.doubtful.clone());
        r.register("secrets_redacted", "Secrets replaced, by kind", self.redacted.clone());
        r.register("object_versions", "Versions of Kubernetes objects that events showed", self.objects.clone());
        r.register("findings_rule", "Findings made by rules", self.rule_findings.clone());
        r.register("detector_failures", "Panes that a detector could not judge", self.detector_failures.clone());
        r.register(
            "findings_suppressed",
            "Findings made by rules that an exception suppresses",
            self.suppressed.clone(),
        );
        r.register("rule_reloads", "Changes of rules, by what came of them", self.rule_reloads.clone());
        r.register("findings_pane", "Findings made on closed panes", self.pane_findings.clone());
        r.register_with_unit("read", "Payload read", Unit::Bytes, self.bytes.clone());
        r.register("cuts", "Cuts that landed", self.cuts.clone());
        r.register("cut_milliseconds", "Time from the last cut's request to its landing", self.cut_millis.clone());
        r.register("rows_landed", "Rows landed in the events table", self.rows_landed.clone());
        r.register_with_unit("landed", "Files landed in the events table", Unit::Bytes, self.bytes_landed.clone());
        r.register("outbox", "Findings that no sink has taken yet", self.outbox.clone());
        r.register("lanes", "Lanes held by this instance", self.lanes.clone());
        r.register("lanes_missing", "Lanes of the sources that other instances hold", self.lanes_missing.clone());
        r.register_with_unit("frontier", "End of the last closed pane", Unit::Seconds, self.frontier_secs.clone());
    }

    /// All metrics in the text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            let _ = write!(text, "# EOF");
        }
        text
    }

    /// Where records went, at a cut.
    pub(crate) fn set_accounts(&self, accounts: &Accounts) {
        let buckets = [
            ("in", accounts.records),
            ("used", accounts.used),
            ("coverage", accounts.coverage),
            ("rejected", accounts.rejected),
            ("held", accounts.held),
            ("behind_frontier", accounts.behind_frontier),
        ];
        for (bucket, count) in buckets {
            let labels = vec![("bucket".to_owned(), bucket.to_owned())];
            self.accounts.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// What a detector tells of itself.
    pub(crate) fn set_detector(&self, uid: &str, what: &str, count: u64) {
        let labels = vec![("uid".to_owned(), uid.to_owned()), ("what".to_owned(), what.to_owned())];
        self.detectors.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How long ago a source gave an event.
    pub(crate) fn set_event_age(&self, source: &str, age: Duration) {
        let labels = vec![("source".to_owned(), source.to_owned())];
        self.event_ages.get_or_create(&labels).set(age.as_secs_f64());
    }

    /// Says that something is wrong, until it [recovers](Self::recover).
    pub fn degrade(&self, what: &str, words: String) {
        self.set_health(|health| drop(health.degraded.insert(what.to_owned(), words)));
    }

    /// Counts a change of rules: `taken` or `refused`.
    pub(crate) fn rule_reloads(&self, outcome: &str) {
        self.rule_reloads.get_or_create(&vec![("outcome".to_owned(), outcome.to_owned())]).inc();
    }

    /// Says that something is well again.
    pub fn recover(&self, what: &str) {
        self.set_health(|health| drop(health.degraded.remove(what)));
    }

    /// Changes what health says.
    pub fn set_health(&self, change: impl FnOnce(&mut Health)) {
        if let Ok(mut health) = self.health.lock() {
            change(&mut health);
        }
    }

    /// What health says.
    pub fn health(&self) -> Health {
        self.health.lock().map(|h| h.clone()).unwrap_or_default()
    }

    /// Counts of a chunk.
    pub(crate) fn count(&self, counts: &palisade_ingest::Counts) {
        self.records.inc_by(counts.records);
        self.used.inc_by(counts.used);
        self.coverage_records.inc_by(counts.coverage);
        self.rejected.inc_by(counts.rejected);
        self.events.inc_by(counts.events);
        self.late.inc_by(counts.late);
        self.doubtful.inc_by(counts.doubtful);
    }

    /// Secrets that were replaced in a chunk.
    pub(crate) fn count_redactions(&self, redactions: &palisade_ingest::RedactionCounts) {
        for (kind, count) in redactions.by_kind() {
            let labels = vec![("kind".to_owned(), kind.to_owned())];
            self.redacted.get_or_create(&labels).inc_by(count);
        }
    }
}
