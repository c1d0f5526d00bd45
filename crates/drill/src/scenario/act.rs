//! The acts of a scenario, as its file has them: their texts may hold `${…}`.
//!
//! Not here: what they leave in the logs (see `stage`).

use palisade_events::time::Micros;

use crate::act::{Access, Outcome, Terminal, Transport, Verdict};
use crate::audit::{Answer, Resource};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    Call(Call),
    Path {
        by: String,
        verb: String,
        path: String,
        answer: Answer,
    },
    Run(Run),
    Touch {
        place: String,
        path: String,
        access: Access,
        outcome: Outcome,
        by: Option<String>,
    },
    Connect(Connection),
    Lookup {
        from: String,
        kind: String,
        name: String,
        answers: Vec<String>,
        outcome: Outcome,
    },
    Docker {
        node: String,
        kind: String,
        action: String,
        image: String,
        name: String,
        attributes: Vec<(String, String)>,
    },
    Registry {
        action: String,
        by: String,
        repository: String,
        tag: String,
        digest: Option<String>,
    },
    Host {
        node: String,
        kind: String,
        message: String,
        login: Option<String>,
    },
    Alert {
        place: String,
        rule: String,
        priority: String,
        sentence: String,
        tags: Vec<String>,
    },
    Mute {
        stream: crate::record::Stream,
        node: Option<String>,
        lasts: Micros,
    },
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) by: String,
    pub(crate) verb: String,
    pub(crate) resource: Resource,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The pod it is about, by its part.
    pub(crate) pod: Option<String>,
    pub(crate) query: String,
    pub(crate) answer: Answer,
    pub(crate) body: String,
    pub(crate) response: String,
    pub(crate) lasts: Option<Micros>,
    pub(crate) impersonate: Option<String>,
}

/// A program that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) place: String,
    pub(crate) argv: Vec<String>,
    pub(crate) exe: Option<String>,
    pub(crate) cwd: String,
    pub(crate) uid: u64,
    pub(crate) terminal: Terminal,
    pub(crate) parent: Origin,
    pub(crate) login: Option<String>,
    pub(crate) lasts: Micros,
}

/// What started a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    /// The container's shim, or the node's first process.
    Init,
    /// The program before it in the same repetition.
    Previous,
    /// A program of this path.
    Program(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Connection {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) transport: Transport,
    pub(crate) port: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) count: u64,
    pub(crate) verdict: Verdict,
    pub(crate) lasts: Micros,
    /// Whether the program before it in the same repetition connects.
    pub(crate) by_previous: Origin,
}
