//! The drill itself: time passes, things happen, records come out in the order in which shippers would deliver them.
//!
//! Not here: what happens (see `benign`, `surprises` and `scenario`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use palisade_events::time::{DAY, Micros, SECOND};

use crate::benign::{self, Mix};
use crate::cluster::Cluster;
use crate::random::Random;
use crate::record::{Label, Record, Role, Stream, Truth};
use crate::scenario::cast::Cast;
use crate::scenario::timeline::{Due, timeline};
use crate::scenario::{self, Scenario, ScenarioError, stage};
use crate::settings::{Life, MONDAY_MORNING, Settings};
use crate::surprises::{self, Surprise};
use crate::wire::{Loss, Stated, Wire};

/// Seconds between two rounds of scheduled work.
const SCHEDULE_SECS: i64 = 300;

/// A cluster's telemetry, as an iterator over its records.
///
/// A record's time may lie before that of a record delivered earlier, by up to [`Settings::skew_max`]: API servers' and
/// nodes' shippers have different lags. Without late records, times do not run backwards within one user's audit events
/// or one sensor of one node.
///
/// ```
/// use palisade_drill::{Drill, Settings, Stream};
///
/// # fn main() -> Result<(), palisade_drill::ScenarioError> {
/// let drill = Drill::new(Settings { duration_secs: 60, ..Settings::default() })?;
/// let alerts = drill.filter(|record| record.stream == Stream::Falco);
/// assert!(alerts.count() < 100);
/// # Ok(())
/// # }
/// ```
pub struct Drill {
    cluster: Cluster,
    wire: Wire,
    mix: Mix,
    casts: Vec<Cast>,
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

#[derive(Clone)]
enum Task {
    LegitimateExec,
    ViewBinding,
    Surprise(Surprise),
    Lose(Stream, Option<usize>, Micros),
    /// A sensor tells of what it lost: the loss with this number.
    Tell(usize),
    Attack(u16, Due),
}

impl Drill {
    /// Sets the cluster up, with attacks that ship. Nothing happens before the first record is asked for.
    ///
    /// # Errors
    /// The settings name a scenario that does not ship.
    pub fn new(settings: Settings) -> Result<Self, ScenarioError> {
        Self::with_scenarios(settings, &[])
    }

    /// Sets the cluster up, with attacks that are given or ship.
    ///
    /// # Errors
    /// The settings name a scenario that is in neither, or one whose actors have no place in the cluster.
    pub fn with_scenarios(settings: Settings, given: &[Scenario]) -> Result<Self, ScenarioError> {
        let mut random = Random::new(settings.seed);
        let cluster = Cluster::new(&settings, &mut random);
        let length = i64::try_from(settings.duration_secs).unwrap_or(i64::MAX).min(MAX_SECS) * SECOND;
        let per_sec = if settings.events_per_sec.is_nan() { 0.0 } else { settings.events_per_sec };
        let (start, end) = (settings.start, settings.start + length);
        let mut agenda =
            vec![(start + length / 10 * 3, Task::LegitimateExec), (start + length / 100 * 55, Task::ViewBinding)];
        if settings.life == Life::Hard {
            let surprises = surprises::plan(&settings, &mut random).into_iter();
            agenda.extend(surprises.map(|(at, surprise)| (at, Task::Surprise(surprise))));
            agenda.extend(losses(&settings, &cluster, start, end, &mut random));
        }
        // Only what is run is read, and once, however many attacks are of it.
        let mut known: BTreeMap<&str, Scenario> =
            given.iter().rev().map(|scenario| (scenario.id.as_str(), scenario.clone())).collect();
        let mut casts = Vec::new();
        for (n, attack) in (0u16..).zip(&settings.attacks) {
            let scenario = match known.entry(&attack.scenario) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unread) => {
                    let shipped = scenario::shipped::scenario(&attack.scenario);
                    unread.insert(shipped.ok_or_else(|| ScenarioError::Unknown(attack.scenario.clone()))??)
                }
            };
            let begin = start + i64::try_from(attack.at_secs).unwrap_or(MAX_SECS).min(MAX_SECS) * SECOND;
            let steps = timeline(scenario, attack.variant, (end - begin).max(SECOND) - SECOND / 10);
            // No one acts on the millisecond, as a file has it: each repetition is off by something.
            let mut off: BTreeMap<(u16, u32), Micros> = BTreeMap::new();
            for due in steps {
                let off = *off.entry((due.step, due.repetition)).or_insert_with(|| random.between(1, 40_000));
                agenda.push((begin + due.at + off, Task::Attack(n, due)));
            }
            casts.push(Cast::new(scenario, attack.variant, &cluster, &mut random)?);
        }
        // Stable, so that steps of the same moment keep their order once reversed back by popping.
        agenda.reverse();
        agenda.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let nodes = cluster.nodes.len();
        Ok(Self {
            mix: Mix::new(&settings),
            cluster,
            wire: Wire::new(&settings, random, nodes),
            casts,
            clock: 0.0,
            gap_micros: 1e6 / per_sec.clamp(1e-6, 1e6),
            start,
            now: start,
            end,
            agenda,
            next_schedule: first_schedule(start),
        })
    }

    /// The truth about a label of one of this drill's records.
    pub fn truth(&self, label: Label) -> Option<Truth<'_>> {
        let Cast { scenario, variant, .. } = self.casts.get(usize::from(label.attack))?;
        let step = usize::from(label.step);
        let (role, step) = match step.checked_sub(scenario.steps.len()) {
            None => (Role::Attack, scenario.steps.get(step)?),
            Some(twin) => (Role::Twin, scenario.twins.get(twin)?),
        };
        let (step, technique) = (&step.id, &step.technique);
        Some(Truth { attack: label.attack, scenario: &scenario.id, variant: variant.name(), role, step, technique })
    }

    /// The windows in which a sensor lost what it saw, as far as they have begun.
    pub fn losses(&self) -> &[Loss] {
        self.wire.losses()
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
                self.carry_out(task, now);
            }
        } else if now == self.next_schedule {
            benign::scheduled_work(&self.cluster, &mut self.wire, now);
            self.next_schedule += SCHEDULE_SECS * SECOND;
        } else {
            self.mix.act(&self.cluster, &mut self.wire, now);
            self.clock += self.wire.random.exponential() * self.gap_micros / benign::busyness(now);
        }
        now
    }

    fn carry_out(&mut self, task: Task, now: Micros) {
        let Self { cluster, wire, casts, agenda, .. } = self;
        match task {
            Task::LegitimateExec => benign::legitimate_exec(cluster, wire, now),
            Task::ViewBinding => benign::view_binding(cluster, wire, now),
            Task::Surprise(surprise) => surprises::begin(&surprise, cluster, wire, now),
            Task::Attack(attack, due) => {
                if let Some(cast) = casts.get_mut(usize::from(attack)) {
                    stage::perform(cast, due, Label { attack, step: due.step }, cluster, wire, now);
                }
            }
            Task::Lose(stream, index, until) => {
                let node = index.map(|index| cluster.nodes[index].name.clone());
                let stated = if stream == Stream::K8sAudit { Stated::No } else { Stated::Yes };
                let number = wire.lose(Loss { stream, node, from: now, until, records: 0, stated, index });
                let at = agenda.partition_point(|(at, _)| *at > until);
                agenda.insert(at, (until, Task::Tell(number)));
            }
            Task::Tell(number) => {
                let Some(Loss { stream, index: Some(node), records, .. }) = wire.losses().get(number).cloned() else {
                    return;
                };
                match stream {
                    Stream::Falco => wire.falco_lost(cluster, now, node, records),
                    Stream::Tetragon => wire.tetragon_lost(cluster, now, node, records),
                    Stream::Hubble => wire.hubble_lost(cluster, now, node, records),
                    // The serials of what was lost are missing; nothing else tells of it.
                    _ => {}
                }
            }
        }
    }
}

/// About two a day, on one node each; of the API server's log, everywhere.
fn losses(
    settings: &Settings,
    cluster: &Cluster,
    start: Micros,
    end: Micros,
    random: &mut Random,
) -> Vec<(Micros, Task)> {
    const LOSSY: [Stream; 5] = [Stream::Falco, Stream::Tetragon, Stream::Hubble, Stream::Auditd, Stream::K8sAudit];
    let streams: Vec<Stream> = LOSSY.into_iter().filter(|stream| settings.streams.contains(stream)).collect();
    let mut planned = Vec::new();
    let mut at = start;
    while !streams.is_empty() {
        at += ((random.exponential() * 0.5 + 0.05) * DAY as f64) as Micros;
        if at >= end {
            break;
        }
        let stream = *random.pick(&streams);
        let node = (stream != Stream::K8sAudit).then(|| random.below(cluster.nodes.len() as u64) as usize);
        planned.push((at, Task::Lose(stream, node, at + random.between(20, 600) * SECOND)));
    }
    planned
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
        streams: vec![Stream::K8sAudit],
        attacks: Vec::new(),
        ..Settings::default()
    };
    // Without attacks there is nothing to fail.
    let audit = Drill::new(settings).into_iter().flatten();
    audit.take(count).map(|record| record.payload).collect()
}

fn first_schedule(start: Micros) -> Micros {
    let step = SCHEDULE_SECS * SECOND;
    (start.div_euclid(step) + 1) * step
}
