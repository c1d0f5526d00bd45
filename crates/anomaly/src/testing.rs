//! Events and runs for this crate's tests.

use std::sync::Arc;

use palisade_events::seam::{Detector, Pane, PaneCoverage, Panes};
use palisade_events::time::{Micros, SECOND};
use palisade_events::{EventBatch, EventBuilder, Finding, col};

/// A small generator, so that tests need no dependency and give the same numbers everywhere (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Marsaglia and Tsang 2000, with the power trick for shapes below one.
    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.unit().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            // A normal approximation would be too light in the tail: split instead.
            return self.poisson(mean / 2.0) + self.poisson(mean / 2.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// Mean `mean`, variance `mean + dispersion · mean²`.
    pub(crate) fn negative_binomial(&mut self, mean: f64, dispersion: f64) -> u64 {
        let rate = self.gamma(1.0 / dispersion) * mean * dispersion;
        self.poisson(rate)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// One event of a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub(crate) uid: u64,
    pub(crate) time: Micros,
    pub(crate) workload: &'static str,
    pub(crate) account: &'static str,
    pub(crate) user: &'static str,
    pub(crate) path: String,
    pub(crate) command: String,
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static str,
}

pub(crate) fn batch(events: &[Event]) -> EventBatch {
    let mut builder = EventBuilder::new(Arc::default());
    for event in events {
        builder.put_text(col::EVENT_UID, &format!("{:032x}", event.uid));
        builder.put_time(col::TIME, event.time);
        builder.put_int(col::CLASS_UID, 1007);
        builder.put_int(col::ACTIVITY_ID, 1);
        for column in [col::SOURCE, col::FORMAT, col::ORIGIN] {
            builder.put_word(column, "test");
        }
        builder.put_int(col::PARTITION, 0);
        builder.put_long(col::OFFSET, event.uid as i64);
        builder.put_flag(col::LATE, false);
        builder.put_word(col::CLUSTER_NAME, "c");
        builder.put_word(col::NAMESPACE_NAME, "prod");
        for (column, value) in [
            (col::WORKLOAD_NAME, event.workload),
            (col::ACTOR_SERVICE_ACCOUNT, event.account),
            (col::ACTOR_USER_NAME, event.user),
            (col::PROCESS_FILE_PATH, event.path.as_str()),
            (col::API_OPERATION, event.verb),
            (col::RESOURCE_TYPE, event.resource),
        ] {
            if !value.is_empty() {
                builder.put_word(column, value);
            }
        }
        if !event.command.is_empty() {
            builder.put_text(col::PROCESS_CMD_LINE, &event.command);
        }
        builder.end_row();
    }
    builder.finish().unwrap()
}

pub(crate) const PANES: i64 = 10 * SECOND;

pub(crate) fn pane(number: i64) -> Pane {
    Pane { start: number * PANES, end: (number + 1) * PANES }
}

/// How a test cuts its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) batch: usize,
    pub(crate) lanes: usize,
    /// Snapshot and restore detector and folds after each closed pane.
    pub(crate) restart: bool,
    /// Deals rows to lanes, and shuffles them within each.
    pub(crate) seed: u64,
}

/// Runs a detector over events, pane by pane.
pub(crate) fn run<D: Detector>(
    fresh: impl Fn() -> D,
    events: &[Event],
    coverage: impl Fn(Pane) -> PaneCoverage,
    cut: Cut,
) -> (Vec<Finding>, D) {
    let panes = Panes::new(PANES);
    let mut dice = Dice(cut.seed);
    let mut detector = fresh();
    let mut folds: Vec<_> = (0..cut.lanes).map(|_| detector.lane()).collect();
    let mut findings = Vec::new();
    let mut by_pane: std::collections::BTreeMap<Pane, Vec<Event>> = Default::default();
    for event in events {
        by_pane.entry(panes.of(event.time)).or_default().push(event.clone());
    }
    for (pane, mut events) in by_pane {
        if cut.seed != 0 {
            dice.shuffle(&mut events);
        }
        let mut lanes = vec![Vec::new(); cut.lanes];
        for event in events {
            lanes[(event.uid as usize) % cut.lanes].push(event);
        }
        for (fold, events) in folds.iter_mut().zip(&lanes) {
            for events in events.chunks(cut.batch) {
                fold.fold(&batch(events), &[(pane, (0..events.len() as u32).collect())]).unwrap();
                if cut.restart {
                    let stored = fold.snapshot().unwrap();
                    *fold = detector.lane();
                    for (pane, partial) in stored {
                        let bytes = palisade_events::ipc::to_bytes(&partial).unwrap();
                        fold.restore(pane, &palisade_events::ipc::from_bytes(&bytes).unwrap()).unwrap();
                    }
                }
            }
        }
        let partials: Vec<_> = folds.iter_mut().filter_map(|fold| fold.take(pane).unwrap()).collect();
        findings.extend(detector.close(pane, coverage(pane), &partials).unwrap());
        if cut.restart {
            let pieces = detector.snapshot().unwrap();
            detector = fresh();
            detector.restore(&pieces).unwrap();
            assert_eq!(detector.snapshot().unwrap(), pieces);
        }
    }
    (findings, detector)
}
