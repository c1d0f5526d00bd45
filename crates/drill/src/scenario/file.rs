//! Scenario files: TOML in, a checked [`Scenario`] out.
//!
//! Not here: anything about a given cluster.

use std::collections::BTreeMap;

use palisade_events::time::{DAY, Micros, SECOND};
use serde::Deserialize;

use super::act::{Act, Call, Connection, Origin, Run};
use super::{Begins, Order, Part, PodKind, PodPart, Scenario, Step, Timed, Variant};
use crate::act::{Access, Outcome, Terminal, Transport, Verdict};
use crate::audit::{Answer, Resource};
use crate::body::PodPower;
use crate::record::Stream;

impl File {
    /// Whether a text may hold `${name}`.
    fn knows(&self, name: &str) -> bool {
        const PLAIN: [&str; 9] = ["outside", "outside2", "domain", "r5", "r9", "i", "n", "x32", "now"];
        const OF_PODS: [&str; 11] = [
            "name",
            "namespace",
            "ip",
            "container",
            "container_id",
            "image",
            "account",
            "digest",
            "uid",
            "node",
            "node_ip",
        ];
        match name.split_once('.') {
            None => PLAIN.contains(&name),
            Some((part, "user")) => self.actors.contains_key(part),
            Some((part, field)) => self.pods.contains_key(part) && OF_PODS.contains(&field),
        }
    }
}

/// Says what is wrong with a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is no TOML, or has a key that is not known.
    #[error("scenario does not parse: {0}")]
    Parse(#[from] toml::de::Error),
    /// Something in it makes no sense.
    #[error("scenario {id}, {place}: {problem}")]
    Meaning {
        /// The scenario.
        id: String,
        /// Where in it.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no such scenario.
    #[error("there is no scenario {0}")]
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    story: String,
    attack_version: String,
    variants: Vec<String>,
    slow_over: Option<String>,
    begins: Option<String>,
    #[serde(default)]
    actors: BTreeMap<String, ActorTable>,
    #[serde(default)]
    pods: BTreeMap<String, PodTable>,
    #[serde(default)]
    step: Vec<StepTable>,
    #[serde(default)]
    twin: Vec<StepTable>,
    #[serde(default)]
    blind: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorTable {
    credential: String,
    #[serde(default = "home")]
    from: String,
    agent: Option<String>,
}

fn home() -> String {
    "home".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodTable {
    #[serde(default)]
    new: bool,
    workload: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    container: Option<String>,
    image: Option<String>,
    account: Option<String>,
    power: Option<String>,
    node: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    id: String,
    technique: String,
    at: String,
    repeat: Option<u32>,
    every: Option<String>,
    quiet_repeat: Option<u32>,
    #[serde(default)]
    cycle: bool,
    acts: Vec<ActTable>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnswerText {
    Code(u64),
    Name(String),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ActTable {
    call: Option<String>,
    url: Option<String>,
    run: Option<String>,
    touch: Option<String>,
    connect: Option<String>,
    lookup: Option<String>,
    docker: Option<String>,
    registry: Option<String>,
    host: Option<String>,
    alert: Option<String>,
    mute: Option<String>,
    after: Option<String>,
    r#as: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    pod: Option<String>,
    query: Option<String>,
    answer: Option<AnswerText>,
    body: Option<String>,
    response: Option<String>,
    lasts: Option<String>,
    impersonate: Option<String>,
    r#in: Option<String>,
    exe: Option<String>,
    cwd: Option<String>,
    uid: Option<u64>,
    terminal: bool,
    parent: Option<String>,
    login: Option<String>,
    by: Option<String>,
    failed: bool,
    from: Option<String>,
    to: Option<String>,
    sent: Option<u64>,
    received: Option<u64>,
    count: Option<u64>,
    dropped: bool,
    answers: Vec<String>,
    node: Option<String>,
    kind: Option<String>,
    image: Option<String>,
    attributes: BTreeMap<String, toml::Value>,
    repository: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
    message: Option<String>,
    priority: Option<String>,
    sentence: Option<String>,
    tags: Vec<String>,
}

impl Scenario {
    /// Reads a scenario's file.
    ///
    /// # Errors
    /// What the file says is no TOML, names a key that there is not, or makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text)?;
        let id = file.id.clone();
        for name in text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap_or(rest)) {
            if !file.knows(name) {
                let problem = format!("there is no ${{{name}}}");
                return Err(ScenarioError::Meaning { id, place: "texts".into(), problem });
            }
        }
        let wrong =
            |place: &str, problem: String| ScenarioError::Meaning { id: id.clone(), place: place.into(), problem };
        let mut variants = Vec::new();
        for name in &file.variants {
            variants.push(Variant::of(name).ok_or_else(|| wrong("variants", format!("there is no variant {name}")))?);
        }
        let slow_over = match &file.slow_over {
            Some(text) => duration(text).map_err(|problem| wrong("slow_over", problem))?,
            None => DAY,
        };
        let begins = match file.begins.as_deref() {
            None | Some("any") => Begins::Any,
            Some("night") => Begins::Night,
            Some(other) => return Err(wrong("begins", format!("{other} is neither any nor night"))),
        };
        let actors = file.actors.into_iter();
        let actors =
            actors.map(|(name, a)| Part { name, credential: a.credential, from: a.from, agent: a.agent }).collect();
        let mut pods = Vec::new();
        for (name, table) in file.pods {
            let kind = pod_kind(&name, table).map_err(|problem| wrong(&format!("pod {name}"), problem))?;
            pods.push(PodPart { name, kind });
        }
        let steps = |tables: Vec<StepTable>| -> Result<Vec<Step>, ScenarioError> {
            tables
                .into_iter()
                .map(|table| {
                    let place = format!("step {}", table.id);
                    step(table).map_err(|problem| wrong(&place, problem))
                })
                .collect()
        };
        let scenario = Self {
            steps: steps(file.step)?,
            twins: steps(file.twin)?,
            blind: file.blind.into_iter().collect(),
            id: file.id,
            title: file.title,
            story: file.story,
            attack_version: file.attack_version,
            variants,
            slow_over,
            begins,
            actors,
            pods,
        };
        scenario.check()
    }

    /// Whether everyone who is named has a part.
    fn check(self) -> Result<Self, ScenarioError> {
        let wrong =
            |place: &str, problem: String| ScenarioError::Meaning { id: self.id.clone(), place: place.into(), problem };
        if self.steps.is_empty() || self.variants.is_empty() {
            return Err(wrong("the file", "it has no step or no variant".into()));
        }
        for step in self.steps.iter().chain(&self.twins) {
            let place = format!("step {}", step.id);
            for timed in &step.acts {
                for name in timed.act.pods() {
                    if !self.pods.iter().any(|pod| pod.name == name) {
                        return Err(wrong(&place, format!("there is no pod {name}")));
                    }
                }
                if let Some(name) = timed.act.actor()
                    && !self.actors.iter().any(|actor| actor.name == name)
                {
                    return Err(wrong(&place, format!("there is no actor {name}")));
                }
            }
        }
        for actor in &self.actors {
            let pod = actor.from.strip_prefix("pod:").or(actor.from.strip_prefix("node:"));
            let pod = pod.or(actor.credential.strip_prefix("kubelet:"));
            if let Some(name) = pod.filter(|name| !self.pods.iter().any(|pod| pod.name == *name)) {
                return Err(wrong(&format!("actor {}", actor.name), format!("there is no pod {name}")));
            }
        }
        Ok(self)
    }
}

impl Act {
    fn actor(&self) -> Option<&str> {
        match self {
            Self::Call(call) => Some(&call.by),
            Self::Path { by, .. } | Self::Registry { by, .. } => Some(by),
            _ => None,
        }
    }

    /// The pods' parts that it names.
    fn pods(&self) -> Vec<&str> {
        fn place(text: &str) -> &str {
            text.strip_prefix("node:").unwrap_or(text)
        }
        match self {
            Self::Call(call) => call.pod.iter().map(String::as_str).collect(),
            Self::Run(run) => vec![place(&run.place)],
            Self::Touch { place: at, .. } | Self::Alert { place: at, .. } => vec![place(at)],
            Self::Connect(connection) => {
                let ends = [&connection.from, &connection.to].into_iter().map(|end| place(end));
                ends.filter(|end| *end != "api" && !end.starts_with("outside") && !end.contains(['.', ':', '$']))
                    .collect()
            }
            Self::Lookup { from, .. } => vec![from],
            Self::Docker { node, .. } | Self::Host { node, .. } => vec![place(node)],
            Self::Mute { node, .. } => node.iter().map(|node| place(node)).collect(),
            Self::Path { .. } | Self::Registry { .. } => Vec::new(),
        }
    }
}

fn pod_kind(part: &str, table: PodTable) -> Result<PodKind, String> {
    if !table.new {
        let workload = table.workload.ok_or("an existing pod needs a workload")?;
        return Ok(PodKind::Existing { workload, namespace: table.namespace });
    }
    let power = table.power.as_deref().unwrap_or("ordinary");
    Ok(PodKind::New {
        namespace: table.namespace.unwrap_or_else(|| "default".into()),
        name: table.name.unwrap_or_else(|| format!("{part}-${{r5}}")),
        container: table.container.unwrap_or_else(|| "main".into()),
        image: table.image.ok_or("a new pod needs an image")?,
        account: table.account.unwrap_or_else(|| "default".into()),
        node: table.node,
        power: PodPower::of(power).ok_or_else(|| format!("there is no power {power}"))?,
    })
}

fn step(table: StepTable) -> Result<Step, String> {
    let repeat = table.repeat.unwrap_or(1).max(1);
    let mut acts = Vec::new();
    for (n, table) in table.acts.into_iter().enumerate() {
        let after = table.after.as_deref().map_or(Ok(0), duration)?;
        let act = act(table).map_err(|problem| format!("act {}: {problem}", n + 1))?;
        acts.push(Timed { after, act });
    }
    if acts.is_empty() {
        return Err("it has no acts".into());
    }
    Ok(Step {
        id: table.id,
        technique: table.technique,
        at: duration(&table.at)?,
        repeat,
        quiet_repeat: table.quiet_repeat.unwrap_or((repeat / 4).max(1)),
        every: table.every.as_deref().map_or(Ok(SECOND), duration)?,
        order: if table.cycle { Order::InTurn } else { Order::All },
        acts,
    })
}

fn act(table: ActTable) -> Result<Act, String> {
    let kinds = [
        &table.call,
        &table.url,
        &table.run,
        &table.touch,
        &table.connect,
        &table.lookup,
        &table.docker,
        &table.registry,
        &table.host,
        &table.alert,
        &table.mute,
    ];
    if kinds.iter().filter(|kind| kind.is_some()).count() != 1 {
        return Err(
            "it must be exactly one of call, url, run, touch, connect, lookup, docker, registry, host, alert, mute"
                .into(),
        );
    }
    let outcome = if table.failed { Outcome::Failure } else { Outcome::Success };
    let lasts = table.lasts.as_deref().map(duration).transpose()?;
    let needed = |value: Option<String>, key: &str| value.ok_or_else(|| format!("it needs `{key}`"));
    let pair = |text: &str| match text.split_once(' ') {
        Some((left, right)) => Ok((left.to_owned(), right.trim().to_owned())),
        None => Err(format!("{text} is not two words")),
    };
    if let Some(text) = &table.call {
        let (verb, what) = pair(text)?;
        const VERBS: [&str; 13] = [
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "bind",
            "escalate",
            "impersonate",
            "approve",
            "sign",
        ];
        if !VERBS.contains(&verb.as_str()) {
            return Err(format!("there is no verb {verb}"));
        }
        let (plural, subresource) = what.split_once('/').unwrap_or((&what, ""));
        let resource = Resource::of(plural).ok_or_else(|| format!("there is no resource {plural}"))?;
        let body = table.body.unwrap_or_default();
        let response = match table.response {
            Some(text) if text == "body" => body.clone(),
            other => other.unwrap_or_default(),
        };
        let answer = answer(table.answer)?;
        let answer = match answer {
            Some(answer) => answer,
            None if verb == "create" && subresource.is_empty() => Answer::Code(201),
            None => Answer::Code(200),
        };
        return Ok(Act::Call(Call {
            by: needed(table.r#as, "as")?,
            subresource: subresource.to_owned(),
            verb,
            resource,
            namespace: table.namespace.unwrap_or_default(),
            name: table.name.unwrap_or_default(),
            pod: table.pod,
            query: table.query.unwrap_or_default(),
            answer,
            body,
            response,
            lasts,
            impersonate: table.impersonate,
        }));
    }
    if let Some(text) = &table.url {
        let (verb, path) = pair(text)?;
        let answer = answer(table.answer)?.unwrap_or(Answer::Code(200));
        return Ok(Act::Path { by: needed(table.r#as, "as")?, verb: verb.to_ascii_lowercase(), path, answer });
    }
    if let Some(text) = &table.run {
        let argv = words(text)?;
        let parent = origin(table.parent)?;
        return Ok(Act::Run(Run {
            place: needed(table.r#in, "in")?,
            argv,
            exe: table.exe,
            cwd: table.cwd.unwrap_or_else(|| "/".into()),
            uid: table.uid.unwrap_or(0),
            terminal: if table.terminal { Terminal::Attached } else { Terminal::None },
            parent,
            login: table.login,
            lasts: lasts.unwrap_or(SECOND / 20),
        }));
    }
    if let Some(text) = &table.touch {
        let (access, path) = pair(text)?;
        let access = match access.as_str() {
            "read" => Access::Read,
            "write" => Access::Write,
            "create" => Access::Create,
            "delete" => Access::Delete,
            "rename" => Access::Rename,
            "attributes" => Access::Attributes,
            "mount" => Access::Mount,
            other => return Err(format!("there is no access {other}")),
        };
        return Ok(Act::Touch { place: needed(table.r#in, "in")?, path, access, outcome, by: table.by });
    }
    if let Some(text) = &table.connect {
        let (transport, port) = pair(text)?;
        let transport = match transport.as_str() {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            other => return Err(format!("there is no transport {other}")),
        };
        let by_previous = origin(table.by)?;
        return Ok(Act::Connect(Connection {
            from: needed(table.from, "from")?,
            to: needed(table.to, "to")?,
            transport,
            port: port.parse::<u16>().map_err(|_| format!("{port} is no port"))?.into(),
            sent: table.sent.unwrap_or(600),
            received: table.received.unwrap_or(2_400),
            count: table.count.unwrap_or(1).max(1),
            verdict: if table.dropped { Verdict::Dropped } else { Verdict::Forwarded },
            lasts: lasts.unwrap_or(SECOND / 5),
            by_previous,
        }));
    }
    if let Some(text) = &table.lookup {
        let (kind, name) = pair(text)?;
        return Ok(Act::Lookup { from: needed(table.from, "from")?, kind, name, answers: table.answers, outcome });
    }
    if let Some(action) = table.docker {
        let attributes = table.attributes.into_iter();
        let text = |value: toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return Ok(Act::Docker {
            node: needed(table.node, "node")?,
            kind: table.kind.unwrap_or_else(|| "container".into()),
            action,
            image: table.image.unwrap_or_default(),
            name: table.name.unwrap_or_default(),
            attributes: attributes.map(|(key, value)| (key, text(value))).collect(),
        });
    }
    if let Some(action) = table.registry {
        return Ok(Act::Registry {
            action,
            by: needed(table.r#as, "as")?,
            repository: needed(table.repository, "repository")?,
            tag: table.tag.unwrap_or_default(),
            digest: table.digest,
        });
    }
    if let Some(kind) = table.host {
        let message = table.message.unwrap_or_default();
        return Ok(Act::Host { node: needed(table.node, "node")?, kind, message, login: table.login });
    }
    if let Some(rule) = table.alert {
        return Ok(Act::Alert {
            place: needed(table.r#in, "in")?,
            sentence: table.sentence.unwrap_or_else(|| rule.clone()),
            rule,
            priority: table.priority.unwrap_or_else(|| "Notice".into()),
            tags: table.tags,
        });
    }
    let name = table.mute.unwrap_or_default();
    let stream = Stream::of_topic(&name).ok_or_else(|| format!("there is no stream {name}"))?;
    Ok(Act::Mute { stream, node: table.node, lasts: lasts.unwrap_or(DAY) })
}

fn origin(text: Option<String>) -> Result<Origin, String> {
    match text {
        None => Ok(Origin::Init),
        Some(text) if text == "previous" => Ok(Origin::Previous),
        // Kernel threads have a slash too: `kworker/u8:2`.
        Some(path) if path.contains('/') => Ok(Origin::Program(path)),
        Some(other) => Err(format!("{other} is neither `previous` nor a program's path")),
    }
}

fn answer(text: Option<AnswerText>) -> Result<Option<Answer>, String> {
    Ok(Some(match text {
        None => return Ok(None),
        Some(AnswerText::Code(403)) => Answer::Forbidden,
        Some(AnswerText::Code(401)) => Answer::Unauthorized,
        Some(AnswerText::Code(404)) => Answer::NotFound,
        Some(AnswerText::Code(409)) => Answer::Conflict,
        Some(AnswerText::Code(code)) => Answer::Code(code),
        Some(AnswerText::Name(name)) => match name.as_str() {
            "ok" => Answer::Code(200),
            "created" => Answer::Code(201),
            "switching" => Answer::Code(101),
            "forbidden" => Answer::Forbidden,
            "not-found" => Answer::NotFound,
            "conflict" => Answer::Conflict,
            "unauthorized" => Answer::Unauthorized,
            other => return Err(format!("there is no answer {other}")),
        },
    }))
}

/// Reads `250ms`, `2.5s`, `10m`, `3h`, `2d`.
fn duration(text: &str) -> Result<Micros, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| format!("{text} has no unit"))?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "ms" => 1_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "d" => DAY,
        _ => return Err(format!("{text} has no unit that is known")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text} is no duration"))?;
    if !(0.0..=1e6).contains(&number) {
        return Err(format!("{text} is out of range"));
    }
    Ok((number * unit as f64) as Micros)
}

/// Splits a command line as a shell does, quotes and backslashes included, without expanding anything.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\n' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("a quote is not closed in {text}")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() { Err("it runs nothing".into()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_split_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 4] = [
            ("sh -c 'curl x | sh'", &["sh", "-c", "curl x | sh"]),
            (r#"echo "a \"b\"" ''"#, &["echo", "a \"b\"", ""]),
            (r"a\ b c", &["a b", "c"]),
            ("one", &["one"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), expected);
        }
        assert!(words("sh -c 'x").is_err() && words(" ").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("2.5s"), Ok(2_500_000));
        assert_eq!(duration("250ms"), Ok(250_000));
        assert_eq!(duration("3d"), Ok(3 * DAY));
        for wrong in ["3", "x", "-1s", "1y", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
