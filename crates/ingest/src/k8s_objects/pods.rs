//! What is said of pods, by themselves or by the templates of workloads: where and as whom they run, and their
//! containers.
//!
//! Not here: the workload that a pod belongs to.

use palisade_events::ObjectImage;

use crate::container;
use crate::image::Image;
use crate::json::Value;
use crate::put::first;

/// The lists of containers in a pod's spec. The main ones come first: the event itself names the first of them.
pub(super) const SPECS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The lists in its status that tell of them.
pub(super) const STATUSES: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// Hex digits of a container's id.
const UID_DIGITS: usize = 64;

/// What is said of one pod, or of those that a template makes.
#[derive(Default)]
pub(super) struct Pods<'i> {
    pub(super) cut: bool,
    pub(super) node: Option<&'i str>,
    pub(super) phase: Option<&'i str>,
    pub(super) is_on_hosts_network: bool,
    pub(super) service_account: Option<&'i str>,
    /// The same under the name that it had before.
    pub(super) service_account_old: Option<&'i str>,
    containers: Vec<Container<'i>>,
    statuses: Vec<Status<'i>>,
}

struct Container<'i> {
    /// Place of its list in [`SPECS`].
    rank: usize,
    name: Option<&'i str>,
    image: Option<&'i str>,
}

#[derive(Default)]
struct Status<'i> {
    name: Option<&'i str>,
    image_id: Option<&'i str>,
    container_id: Option<&'i str>,
}

impl<'i> Pods<'i> {
    pub(super) fn read_containers(&mut self, rank: usize, list: Value<'_, 'i>, max: usize) {
        for item in list.items().filter(|item| item.is_object()) {
            if self.containers.len() >= max {
                self.cut = true;
                return;
            }
            let mut container = Container { rank, name: None, image: None };
            for (key, value) in item.entries() {
                match key {
                    "name" => first(&mut container.name, value),
                    "image" => first(&mut container.image, value),
                    _ => {}
                }
            }
            self.containers.push(container);
        }
    }

    /// Reads what a status says of one container, and gives back the times that it states.
    pub(super) fn read_status(&mut self, item: Value<'_, 'i>, max: usize) -> [Option<&'i str>; 3] {
        let mut times = [None; 3];
        let mut status = Status::default();
        for (key, value) in item.entries() {
            match key {
                "name" => first(&mut status.name, value),
                "imageID" => first(&mut status.image_id, value),
                "containerID" => first(&mut status.container_id, value),
                // How it is now; `lastState` tells of a container that was replaced, and is older.
                "state" => {
                    for (key, value) in value.entries().flat_map(|(_, state)| state.entries()) {
                        match key {
                            "startedAt" => first(&mut times[0], value),
                            "finishedAt" => first(&mut times[1], value),
                            _ => {}
                        }
                    }
                }
                "lastState" => {
                    for (_, state) in value.entries() {
                        times[2] = times[2].or(state.get("finishedAt").and_then(Value::text));
                    }
                }
                _ => {}
            }
        }
        if self.statuses.len() < max {
            self.statuses.push(status);
        } else {
            self.cut = true;
        }
        times
    }

    /// Whether all containers of a pod have run to their ends, and none will be started again.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Some("Succeeded" | "Failed"))
    }

    /// Whether a pod's addresses lead to it and to nobody else: those of the host's network are the node's, and a pod that
    /// has ended gave its addresses back.
    pub(super) fn has_own_addresses(&self) -> bool {
        !self.is_on_hosts_network && !self.has_ended()
    }

    /// The containers with what they run, the main ones first.
    pub(super) fn images(&mut self) -> Vec<ObjectImage> {
        self.containers.sort_by_key(|container| container.rank);
        let image_of = |container: &Container<'i>| {
            let status = self.statuses.iter().find(|status| status.name == container.name);
            let image = container.image.unwrap_or_default();
            let running = status.and_then(|status| digest_of(status.image_id?));
            ObjectImage {
                container: container.name.unwrap_or_default().to_owned(),
                image: image.to_owned(),
                digest: running.or(Image::parse(image).digest).map(str::to_owned),
                container_uid: status.and_then(|status| uid_of(status.container_id?)),
            }
        };
        self.containers.iter().map(image_of).collect()
    }
}

/// The digest in a runtime's image id: `registry.example/cart@sha256:…`, with or without `docker-pullable://`. A bare
/// `sha256:…` is what the runtime calls its unpacked copy: no registry knows it by that, so it is none.
fn digest_of(image_id: &str) -> Option<&str> {
    image_id.rsplit_once('@').map(|(_, digest)| digest).filter(|digest| digest.contains(':'))
}

/// The id of a container, without its runtime's name.
fn uid_of(container_id: &str) -> Option<String> {
    let id = container::bare(container_id);
    (id.len() == UID_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_registry_knows_is_a_digest() {
        for (image_id, digest) in [
            ("registry.example:5000/cart@sha256:ab", Some("sha256:ab")),
            ("docker-pullable://cart@sha256:ab", Some("sha256:ab")),
            ("docker.io/library/cart@sha512:ab", Some("sha512:ab")),
            ("sha256:ab", None),
            ("docker://sha256:ab", None),
            ("cart@", None),
            ("", None),
        ] {
            assert_eq!(digest_of(image_id), digest, "{image_id}");
        }
        let whole = "3fd02a8b6c41e5d7093b1c8f2ea46d5907b8c3d1e2f4a5b6978c0d1e2f3a4b5c";
        assert_eq!(uid_of(&format!("containerd://{}", whole.to_uppercase())).as_deref(), Some(whole));
        assert_eq!(uid_of("docker://3fd02a8b6c41"), None);
    }
}
