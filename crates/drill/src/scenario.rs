//! A [`Scenario`] is a file that tells who does what in which order; this reads and checks it. `scenarios/README.md`
//! describes the files.
//!
//! Not here: who plays the parts in a given cluster (see `cast`), nor the doing (see `stage`).

mod act;
mod file;
pub(crate) mod shipped;
pub(crate) mod cast;
pub(crate) mod stage;
pub(crate) mod timeline;

use palisade_events::time::Micros;
use serde::{Deserialize, Serialize};

pub(crate) use act::Act;
pub use file::ScenarioError;
pub use shipped::scenarios;

/// Somebody does something they should not, in steps; and somebody else does something alike that is honest.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// As `stolen-ci-token`.
    pub id: String,
    /// One line.
    pub title: String,
    /// What happens, and what for.
    pub story: String,
    /// Version of ATT&CK that the techniques are of.
    pub attack_version: String,
    /// How it can be run.
    pub variants: Vec<Variant>,
    /// The attack, in order of time.
    pub steps: Vec<Step>,
    /// Its benign twins.
    pub twins: Vec<Step>,
    /// How long the slow variant takes, microseconds.
    pub slow_over: Micros,
    /// When it should begin.
    pub begins: Begins,
    pub(crate) actors: Vec<Part>,
    pub(crate) pods: Vec<PodPart>,
    pub(crate) blind: Vec<(String, String)>,
}

/// When a scenario should begin, where the drill's length leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// At any time.
    Any,
    /// In the small hours, UTC.
    Night,
}

/// What is done at one moment, perhaps several times.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// As `list-secrets`.
    pub id: String,
    /// As `T1552.007`; of a twin, the one it could be taken for.
    pub technique: String,
    /// Microseconds after the scenario begins.
    pub at: Micros,
    /// How often, at least once.
    pub repeat: u32,
    /// How often in the quiet and slow variants; 0 leaves it out.
    pub quiet_repeat: u32,
    /// Microseconds between repetitions.
    pub every: Micros,
    /// Whether a repetition does all acts or the next one.
    pub(crate) order: Order,
    pub(crate) acts: Vec<Timed>,
}

/// Which acts a repetition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    All,
    InTurn,
}

/// An act, and how long after its repetition's beginning it is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timed {
    pub(crate) after: Micros,
    pub(crate) act: Act,
}

/// How a scenario is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// As it is written: hurried, with all repetitions.
    Loud,
    /// With few repetitions and long pauses.
    Quiet,
    /// As quiet, spread over days.
    Slow,
    /// As loud, with the names of tools, user agents and known strings replaced.
    Blinded,
}

impl Variant {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Loud, Self::Quiet, Self::Slow, Self::Blinded];

    /// As `quiet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loud => "loud",
            Self::Quiet => "quiet",
            Self::Slow => "slow",
            Self::Blinded => "blinded",
        }
    }

    /// The variant of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }
}

/// Who acts: a credential, and from where it is used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) credential: String,
    pub(crate) from: String,
    pub(crate) agent: Option<String>,
}

/// A pod that has a part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodPart {
    pub(crate) name: String,
    pub(crate) kind: PodKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PodKind {
    /// One of the cluster's, of a workload, in a namespace or any.
    Existing { workload: String, namespace: Option<String> },
    /// One that the scenario makes.
    New {
        namespace: String,
        name: String,
        container: String,
        image: String,
        account: String,
        power: crate::body::PodPower,
        /// The part of a pod on whose node it runs; any node, if absent.
        node: Option<String>,
    },
}
