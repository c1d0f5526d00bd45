//! The drill itself: time passes, things happen, records come out in the order in which shippers would deliver them.
//!
//! Not here: what happens (see `benign` and `attack`).

use palisade_events::time::{Micros, SECOND};

use crate::attack::{self, Step};
use crate::benign;
use crate::cluster::Cluster;
use crate::random::Random;
use crate::record::{Record, Stream};
use crate::settings::{Attack, MONDAY_MORNING, Settings};
use crate::wire::{LAG_MAX, Wire};

/// A record's time may lie before that of a record delivered earlier, but never by more than this: API servers' and
/// nodes' shippers have different lags. Within one user's audit events, one node's alerts or one node's audit lines,
/// times do not run backwards.
pub const SKEW_MAX: Micros = LAG_MAX;

/// Seconds between two rounds of scheduled work.
const SCHEDULE_SECS: i64 = 300;

/// A cluster's telemetry, as an iterator over its records.
///
/// ```
/// use palisade_drill::{Drill, Settings, Stream};
///
/// let drill = Drill::new(Settings { duration_secs: 60, ..Settings::default() });
/// let alerts = drill.filter(|record| record.stream == Stream::Falco);
/// assert!(alerts.count() < 100);
/// ```
pub struct Drill {
    cluster: Cluster,
    wire: Wire,
    /// Microseconds from the start; kept as a float, so that rates above a million a second still add up.
    clock: f64,
    gap_micros: f64,
    start: Micros,
    /// What was delivered by now may be handed out.
    now: Micros,
    end: Micros,
    /// What is due at a fixed time, the next last.
    agenda: Vec<(Micros, Task)>,
    next_schedule: Micros,
}

#[derive(Clone, Copy)]
enum Task {
    LegitimateExec,
    ViewBinding,
    Attack(Step),
}

impl Drill {
    /// Sets the cluster up. Nothing happens before the first record is asked for.
    pub fn new(settings: Settings) -> Self {
        let mut random = Random::new(settings.seed);
        let cluster = Cluster::new(&settings, &mut random);
        let length = i64::try_from(settings.duration_secs).unwrap_or(i64::MAX).min(MAX_SECS) * SECOND;
        let per_sec = if settings.events_per_sec.is_nan() { 0.0 } else { settings.events_per_sec };
        let mut agenda = vec![
            (settings.start + length / 10 * 3, Task::LegitimateExec),
            (settings.start + length / 100 * 55, Task::ViewBinding),
        ];
        if settings.attack == Attack::Chain {
            let steps = attack::timeline(&settings, &cluster);
            agenda.extend(steps.into_iter().map(|(at, step)| (at, Task::Attack(step))));
        }
        // Stable, so that steps of the same moment keep their order once reversed back by popping.
        agenda.reverse();
        agenda.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let nodes = cluster.nodes.len();
        Self {
            cluster,
            wire: Wire::new(random, nodes),
            clock: 0.0,
            gap_micros: 1e6 / per_sec.clamp(1e-6, 1e6),
            start: settings.start,
            now: settings.start,
            end: settings.start + length,
            agenda,
            next_schedule: first_schedule(settings.start),
        }
    }

    /// Lets the next thing happen and gives its time; at the end, gives the end.
    fn advance(&mut self) -> Micros {
        let due = self.agenda.last().map_or(Micros::MAX, |(at, _)| *at);
        let arrival = self.start + self.clock as Micros;
        let now = due.min(arrival).min(self.next_schedule);
        if now >= self.end {
            return self.end;
        }
        if now == due {
            if let Some((_, task)) = self.agenda.pop() {
                match task {
                    Task::LegitimateExec => benign::legitimate_exec(&self.cluster, &mut self.wire, now),
                    Task::ViewBinding => benign::view_binding(&self.cluster, &mut self.wire, now),
                    Task::Attack(step) => attack::perform(step, &self.cluster, &mut self.wire, now),
                }
            }
        } else if now == self.next_schedule {
            benign::scheduled_work(&self.cluster, &mut self.wire, now);
            self.next_schedule += SCHEDULE_SECS * SECOND;
        } else {
            benign::act(&self.cluster, &mut self.wire, now);
            self.clock += self.wire.random.exponential() * self.gap_micros / benign::busyness(now);
        }
        now
    }
}

/// A century: keeps every time within what the formats can write.
const MAX_SECS: i64 = 100 * 365 * 86_400;

impl Iterator for Drill {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let horizon = if self.now >= self.end { Micros::MAX } else { self.now };
            match self.wire.delivered(horizon) {
                // What a session or a roll-out would still have logged after the end is not part of the drill.
                Some(record) if record.time < self.end => return Some(record),
                Some(_) => {}
                None if self.now >= self.end => return None,
                None => self.now = self.advance(),
            }
        }
    }
}

/// Gives `count` audit events of an ordinary Monday morning, for benchmarks of decoders and of rules.
pub fn audit_corpus(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let settings = Settings {
        seed,
        start: MONDAY_MORNING,
        duration_secs: u64::MAX,
        events_per_sec: 2_000.0,
        attack: Attack::None,
        ..Settings::default()
    };
    let audit = Drill::new(settings).filter(|record| record.stream == Stream::K8sAudit);
    audit.take(count).map(|record| record.payload).collect()
}

fn first_schedule(start: Micros) -> Micros {
    let step = SCHEDULE_SECS * SECOND;
    (start.div_euclid(step) + 1) * step
}
