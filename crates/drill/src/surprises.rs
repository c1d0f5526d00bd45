//! What makes benign traffic hard: honest work and honest trouble that is not there every day.
//!
//! A surprise is told in scenes, seconds to minutes apart: the kernel's audit log of a node stamps nothing before what
//! it has already written, so that nothing which starts a program may be written long before its time. Who and what
//! takes part is drawn again in each scene from the surprise's own seed, and is therefore the same in all of them.
//!
//! Not here: what steady days are like (see `benign`, `traffic` and `builds`). The cluster itself does not change:
//! whoever is drained, scaled or rolled out is back once the surprise is over.

use palisade_events::time::{DAY, Micros, SECOND};

use crate::cluster::Cluster;
use crate::random::Random;
use crate::settings::Settings;
use crate::wire::Wire;

use scene::Scene;

mod scene;
mod load;
mod change;
mod people;
mod upkeep;

const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// Bounds what a plan takes: about half a year of surprises, a few ten megabytes of scenes. Longer drills are calm
/// after that.
const SURPRISES_MAX: usize = 1_000;

/// Mean hours between surprises at office hours. At other hours, three in ten of those that come are let in: six or so
/// on a working day, three on a Sunday.
const GAP_HOURS: f64 = 2.5;

/// One scene of a surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surprise {
    kind: Kind,
    /// Seeds who and what takes part.
    seed: u64,
    began: Micros,
    scene: u32,
    /// Acts of ordinary life in 1,000 seconds, at the busiest hour: what is to be felt must be large beside them.
    pace: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Much more of the usual traffic, and the autoscaler that follows it.
    LoadTest,
    /// A batch job that starts a great many programs.
    NoisyNeighbour,
    /// A node is drained, deleted and joins anew.
    NodeChurn,
    /// An administrator upgrades packages and edits files on nodes.
    Maintenance,
    /// A developer looks into a running pod.
    Debugging,
    /// A namespace with all that a new application needs.
    NewService,
    /// A new version that talks more than the one before, until it is rolled back.
    RollOut,
    /// A job that comes at odd minutes, and later each time.
    DriftingSchedule,
    /// What administrators do a few times a year: a new cluster role, a secret rotated.
    Administration,
    /// An operator reads every secret and every config map.
    Backup,
}

impl Kind {
    /// Those that people begin, and those that come at any hour.
    const OFFICE: [Self; 10] = [
        Self::LoadTest,
        Self::NoisyNeighbour,
        Self::NodeChurn,
        Self::Maintenance,
        Self::Debugging,
        Self::NewService,
        Self::RollOut,
        Self::DriftingSchedule,
        Self::Administration,
        Self::Backup,
    ];
    const ANY_HOUR: [Self; 6] = [
        Self::NoisyNeighbour,
        Self::NodeChurn,
        Self::Maintenance,
        Self::DriftingSchedule,
        Self::Backup,
        Self::Debugging,
    ];

    /// When the scenes of a surprise with this seed are, from its beginning.
    fn scenes(self, seed: u64) -> Vec<Micros> {
        // Other numbers than those that give the parts out.
        let random = &mut Random::new(!seed);
        match self {
            Self::LoadTest => gaps(load::LOAD_TEST_SCENES, load::LOAD_TEST_STEP, load::LOAD_TEST_STEP + 1, random),
            Self::NoisyNeighbour => gaps(load::NOISY_SCENES, load::NOISY_STEP, load::NOISY_STEP + 1, random),
            Self::NodeChurn => gaps(change::CHURN_SCENES, 5 * SECOND, 70 * SECOND, random),
            Self::Maintenance => gaps(upkeep::MAINTENANCE_SCENES, 20 * SECOND, 80 * SECOND, random),
            Self::Debugging => gaps(people::DEBUGGING_SCENES, 20 * SECOND, 150 * SECOND, random),
            Self::NewService => gaps(people::NEW_SERVICE_SCENES, 15 * SECOND, 120 * SECOND, random),
            Self::RollOut => {
                let mut at = gaps(change::ROLL_OUT_SCENES, 8 * SECOND, 25 * SECOND, random);
                let begin = at.last().copied().unwrap_or_default() + MINUTE;
                at.extend(gaps(change::SHIFT_SCENES + 1, MINUTE, MINUTE + 1, random).iter().map(|after| begin + after));
                at
            }
            Self::DriftingSchedule => {
                let mut at = Vec::new();
                let mut due = 0;
                for nth in 0..load::DRIFTING_RUNS {
                    let lasts = random.between(40 * SECOND, 200 * SECOND);
                    at.extend([due, due + lasts]);
                    due += 25 * MINUTE + random.between(1, 4 + 2 * i64::from(nth)) * MINUTE + random.between(0, MINUTE);
                }
                at
            }
            Self::Administration => gaps(people::ADMINISTRATION_SCENES, 20 * SECOND, 240 * SECOND, random),
            Self::Backup => gaps(upkeep::BACKUP_SCENES, 5 * SECOND, 40 * SECOND, random),
        }
    }
}

/// So many times, the first at once, each so long after the one before.
fn gaps(count: u32, low: Micros, high: Micros, random: &mut Random) -> Vec<Micros> {
    let mut at = 0;
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(at);
        at += random.between(low, high);
    }
    times
}

/// The scenes of all surprises of a drill, by time.
pub(crate) fn plan(settings: &Settings, random: &mut Random) -> Vec<(Micros, Surprise)> {
    const LENGTH_MAX: u64 = 100 * 366 * 86_400;
    let length = settings.duration_secs.min(LENGTH_MAX) as i64 * SECOND;
    let (start, end) = (settings.start, settings.start.saturating_add(length));
    let per_sec = if settings.events_per_sec.is_nan() { 0.0 } else { settings.events_per_sec.clamp(0.0, 1e6) };
    let pace = (per_sec * 1_000.0) as u64;
    let mut scenes = Vec::new();
    let mut had = [0_u32; Kind::OFFICE.len()];
    let mut began = start;
    for _ in 0..SURPRISES_MAX {
        let kind = loop {
            began = began.saturating_add((random.exponential() * GAP_HOURS * HOUR as f64) as Micros);
            if began >= end {
                scenes.sort_by_key(|(at, _)| *at);
                return scenes;
            }
            if is_office_hour(began) {
                break rarest(&Kind::OFFICE, &had, random);
            }
            if random.chance(3, 10) {
                break rarest(&Kind::ANY_HOUR, &had, random);
            }
        };
        had[kind as usize] += 1;
        let seed = random.next();
        let times = kind.scenes(seed);
        let dated = (0..)
            .zip(times)
            .map(|(scene, after)| (began.saturating_add(after), Surprise { kind, seed, began, scene, pace }));
        scenes.extend(dated.filter(|(at, _)| *at < end));
    }
    scenes.sort_by_key(|(at, _)| *at);
    scenes
}

/// One of those that came least often so far, so that a few days show all of them.
fn rarest(kinds: &[Kind], had: &[u32; Kind::OFFICE.len()], random: &mut Random) -> Kind {
    let least = kinds.iter().map(|kind| had[*kind as usize]).min().unwrap_or_default();
    let rare: Vec<Kind> = kinds.iter().copied().filter(|kind| had[*kind as usize] == least).collect();
    *random.pick(&rare)
}

/// From eight to six on a working day; 1970-01-01 was a Thursday.
fn is_office_hour(at: Micros) -> bool {
    let weekend = matches!(at.div_euclid(DAY).rem_euclid(7), 2 | 3);
    !weekend && (8 * HOUR..18 * HOUR).contains(&at.rem_euclid(DAY))
}

/// Plays a scene. What it writes begins at `now` and ends within half an hour, except for the end of a session.
pub(crate) fn begin(surprise: &Surprise, cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Surprise { kind, seed, began, scene, pace } = *surprise;
    let mut scene =
        Scene { cluster, wire, cast: Random::new(seed), now, began, number: scene, pace, script: (kind, seed) };
    match kind {
        Kind::LoadTest => load::load_test(&mut scene),
        Kind::NoisyNeighbour => load::noisy_neighbour(&mut scene),
        Kind::DriftingSchedule => load::drifting_schedule(&mut scene),
        Kind::NodeChurn => change::node_churn(&mut scene),
        Kind::RollOut => change::roll_out(&mut scene),
        Kind::Debugging => people::debugging(&mut scene),
        Kind::NewService => people::new_service(&mut scene),
        Kind::Administration => people::administration(&mut scene),
        Kind::Maintenance => upkeep::maintenance(&mut scene),
        Kind::Backup => upkeep::backup(&mut scene),
    }
}

#[cfg(test)]
mod tests;
