//! Who plays the parts of a scenario in a given cluster: actors with their credentials and addresses, pods, names.
//!
//! Not here: what they do (see `stage`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use palisade_events::time::{Micros, format_rfc3339};

use super::stage::Ran;
use super::timeline::Due;
use super::{PodKind, PodPart, Scenario, ScenarioError, Variant};
use crate::body::PodPower;
use crate::builds;
use crate::cluster::{self, Actor, Cluster, Pod};
use crate::random::Random;
use crate::text::{hex, number, suffix};

/// A scenario with its parts given out.
pub(crate) struct Cast {
    pub(crate) scenario: Scenario,
    pub(crate) variant: Variant,
    actors: Vec<(String, Actor)>,
    pods: Vec<(String, Member)>,
    outside: [String; 2],
    domain: String,
    r5: String,
    r9: String,
    /// Of containers and images, by what names them.
    digests: BTreeMap<String, String>,
    /// Programs that ran, by step, repetition and act: repetitions follow one another, or run side by side.
    ran: BTreeMap<(u16, u32, u16), Ran>,
}

/// Programs that are remembered: those of repetitions that may run side by side.
const RAN_MAX: usize = 256;

/// A pod with a part.
pub(crate) struct Member {
    pub(crate) pod: Pod,
    /// Of a pod that the scenario makes.
    pub(crate) power: Option<PodPower>,
}

/// So that a name is not hidden by halves because a part of it is hidden too.
fn longest_first(blind: &[(String, String)]) -> Vec<(String, String)> {
    let mut blind = blind.to_vec();
    blind.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    blind
}

impl Cast {
    pub(crate) fn new(
        scenario: &Scenario,
        variant: Variant,
        cluster: &Cluster,
        random: &mut Random,
    ) -> Result<Self, ScenarioError> {
        let domain = format!("{}.example.net", suffix(random, 8));
        let outside =
            std::array::from_fn(|n| format!("{}.{}", ["203.0.113", "198.51.100"][n], random.between(10, 250)));
        let mut cast = Self {
            scenario: Scenario { blind: longest_first(&scenario.blind), ..scenario.clone() },
            variant,
            actors: Vec::new(),
            pods: Vec::new(),
            outside,
            domain,
            r5: suffix(random, 5),
            r9: suffix(random, 9),
            digests: BTreeMap::new(),
            ran: BTreeMap::new(),
        };
        // Those that exist first: the others may be named after them, and be on their nodes.
        let is_new = |part: &&PodPart| matches!(part.kind, PodKind::New { .. });
        let existing = scenario.pods.iter().filter(|part| !is_new(part));
        for part in existing.chain(scenario.pods.iter().filter(is_new)) {
            let member = match &part.kind {
                PodKind::Existing { workload, namespace } => {
                    let fits = |pod: &&Pod, anywhere: bool| {
                        pod.workload == *workload
                            && (anywhere || namespace.as_ref().is_none_or(|namespace| pod.namespace == *namespace))
                    };
                    let mut found: Vec<&Pod> = cluster.pods.iter().filter(|pod| fits(pod, false)).collect();
                    // A cluster need not have the namespaces that a scenario would like.
                    if found.is_empty() {
                        found = cluster.pods.iter().filter(|pod| fits(pod, true)).collect();
                    }
                    if found.is_empty() {
                        return Err(ScenarioError::Meaning {
                            id: scenario.id.clone(),
                            place: format!("pod {}", part.name),
                            problem: format!("there is no workload {workload}"),
                        });
                    }
                    // Two parts are two pods, where there are two.
                    let free = |pod: &&Pod| !cast.pods.iter().any(|(_, member)| member.pod.uid == pod.uid);
                    let mut unused: Vec<&Pod> = found.iter().copied().filter(free).collect();
                    if unused.is_empty() {
                        unused = found;
                    }
                    Member { pod: (*random.pick(&unused)).clone(), power: None }
                }
                PodKind::New { namespace, name, container, image, account, power, node } => {
                    let [namespace, name, container, image, account] = [namespace, name, container, image, account]
                        .map(|text| cast.fill(text, 0, 0, random).into_owned());
                    let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
                    let workload = name.rsplit_once('-').map_or(name.as_str(), |(workload, _)| workload).to_owned();
                    let repository = repository.to_owned();
                    let nodes = cluster.nodes.len();
                    let short = builds::in_registry(&repository).unwrap_or(&repository).to_owned();
                    let mut pod = cluster::pod(
                        &namespace, &name, &workload, &container, repository, tag, &account, nodes, random,
                    );
                    // What was pushed under this name is what is pulled.
                    pod.image.digest = cast.digest(&format!("{short}:{tag}"), random);
                    if let Some(member) = node.as_ref().and_then(|part| cast.pod(part)) {
                        pod.node = member.pod.node;
                    }
                    Member { pod, power: Some(power.clone()) }
                }
            };
            cast.pods.push((part.name.clone(), member));
        }
        for part in &scenario.actors {
            let owner = cast.owner(&part.credential, cluster, random).ok_or_else(|| ScenarioError::Meaning {
                id: scenario.id.clone(),
                place: format!("actor {}", part.name),
                problem: format!("there is no credential {}", part.credential),
            })?;
            let ip = match part.from.split_once(':') {
                Some(("pod", name)) => cast.pod(name).map(|member| member.pod.ip.clone()),
                Some(("node", name)) => cast.pod(name).map(|member| cluster.node_of(&member.pod).ip.clone()),
                _ if part.from == "outside" => Some(cast.outside[0].clone()),
                _ if part.from == "outside2" => Some(cast.outside[1].clone()),
                _ if part.from == "home" => Some(owner.ip.clone()),
                _ => Some(part.from.clone()),
            };
            let agent = match &part.agent {
                Some(agent) => cast.fill(agent, 0, 0, random).into_owned(),
                None => owner.agent.clone(),
            };
            let actor = owner.elsewhere(&ip.unwrap_or_default(), &agent);
            cast.actors.push((part.name.clone(), actor));
        }
        Ok(cast)
    }

    fn owner(&self, credential: &str, cluster: &Cluster, random: &mut Random) -> Option<Actor> {
        let credential = self.fill(credential, 0, 0, random).into_owned();
        let agent = "kubectl/v1.34.1 (linux/amd64) kubernetes/93248f9";
        Some(match credential.split_once(':') {
            None => match credential.as_str() {
                "deployer" => cluster.deployer.clone(),
                "developer" => random.pick(&cluster.developers).clone(),
                "admin" => cluster.admin.clone(),
                "anonymous" => cluster.probe.clone(),
                _ => return None,
            },
            Some(("operator", name)) => {
                let suffix = [":", name].concat();
                cluster.operators.iter().find(|actor| actor.username.ends_with(&suffix))?.clone()
            }
            Some(("kubelet", name)) => cluster.node_of(&self.pod(name)?.pod).kubelet.clone(),
            Some(("account", name)) => {
                let (namespace, name) = name.split_once('/')?;
                let user = format!("system:serviceaccount:{namespace}:{name}");
                let known = cluster.operators.iter().chain(&cluster.controllers).chain([&cluster.deployer]);
                if let Some(actor) = known.into_iter().find(|actor| actor.username == user) {
                    return Some(actor.clone());
                }
                let extra = cluster::jti(random);
                cluster::service_account(namespace, name, name, &extra, "10.40.8.21", agent, random)
            }
            Some(("user", name)) => match cluster.developers.iter().find(|actor| actor.username.contains(name)) {
                Some(actor) => actor.clone(),
                None => {
                    let reason = "RBAC: allowed by ClusterRoleBinding \"users\" of ClusterRole \"edit\" to Group \"system:authenticated\"";
                    cluster::actor(name, &["system:authenticated"], "", "10.60.3.77", agent, reason, 1)
                }
            },
            Some(_) => return None,
        })
    }

    pub(crate) fn actor(&self, name: &str) -> Option<&Actor> {
        self.actors.iter().find(|(part, _)| part == name).map(|(_, actor)| actor)
    }

    pub(crate) fn pod(&self, name: &str) -> Option<&Member> {
        self.pods.iter().find(|(part, _)| part == name).map(|(_, member)| member)
    }

    /// The program that stands before an act in the file, and that the same repetition has run.
    pub(super) fn previous(&self, due: Due) -> Option<Ran> {
        let first = (due.step, due.repetition, 0);
        self.ran.range(first..(due.step, due.repetition, due.act)).next_back().map(|(_, ran)| ran.clone())
    }

    pub(super) fn keep(&mut self, due: Due, ran: Option<Ran>) {
        if let Some(ran) = ran {
            while self.ran.len() >= RAN_MAX {
                self.ran.pop_first();
            }
            self.ran.insert((due.step, due.repetition, due.act), ran);
        }
    }

    /// The scenario's address outside of the cluster.
    pub(crate) fn outside(&self) -> &str {
        &self.outside[0]
    }

    /// 64 hex digits that belong to a name: the same for the same name.
    pub(crate) fn digest(&mut self, name: &str, random: &mut Random) -> String {
        self.digests.entry(name.to_owned()).or_insert_with(|| cluster::sha256(random)).clone()
    }

    /// A text with its `${…}` replaced, and in the blinded variant what is to be hidden.
    pub(crate) fn fill<'t>(&self, text: &'t str, repetition: u32, now: Micros, random: &mut Random) -> Cow<'t, str> {
        let mut filled = Cow::Borrowed(text);
        if text.contains("${") {
            let mut out = String::with_capacity(text.len() + 40);
            let mut rest = text;
            while let Some((before, after)) = rest.split_once("${") {
                out.push_str(before);
                let Some((name, after)) = after.split_once('}') else { break };
                if !self.put(&mut out, name, repetition, now, random) {
                    out.push_str("${");
                    out.push_str(name);
                    out.push('}');
                }
                rest = after;
            }
            out.push_str(rest);
            filled = Cow::Owned(out);
        }
        if self.variant == Variant::Blinded {
            for (seen, hidden) in &self.scenario.blind {
                if filled.contains(seen.as_str()) {
                    filled = Cow::Owned(filled.replace(seen.as_str(), hidden));
                }
            }
        }
        filled
    }

    fn put(&self, out: &mut String, name: &str, repetition: u32, now: Micros, random: &mut Random) -> bool {
        match name {
            "outside" => out.push_str(&self.outside[0]),
            "outside2" => out.push_str(&self.outside[1]),
            "domain" => out.push_str(&self.domain),
            "r5" => out.push_str(&self.r5),
            "r9" => out.push_str(&self.r9),
            "i" => number(out, u64::from(repetition)),
            "n" => number(out, random.below(65_536)),
            "x32" => {
                hex(out, random.next(), 16);
                hex(out, random.next(), 16);
            }
            "now" => out.push_str(&format_rfc3339(now)),
            _ => {
                let Some((part, field)) = name.split_once('.') else { return false };
                if let Some(actor) = self.actor(part).filter(|_| field == "user") {
                    out.push_str(&actor.username);
                    return true;
                }
                let Some(Member { pod, .. }) = self.pod(part) else { return false };
                match field {
                    "name" => out.push_str(&pod.name),
                    "namespace" => out.push_str(&pod.namespace),
                    "ip" => out.push_str(&pod.ip),
                    "container" => out.push_str(&pod.container),
                    "container_id" => out.push_str(&pod.container_id),
                    "image" => {
                        out.push_str(&pod.image.repository);
                        out.push(':');
                        out.push_str(&pod.image.tag);
                    }
                    "account" => out.push_str(&pod.account),
                    "digest" => out.push_str(&pod.image.digest),
                    "uid" => out.push_str(&pod.uid),
                    "node" => out.push_str(&cluster::node_name(pod.node)),
                    "node_ip" => out.push_str(&cluster::node_ip(pod.node)),
                    _ => return false,
                }
            }
        }
        true
    }
}
