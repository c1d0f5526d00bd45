//! Notifications of the image registry, as CNCF Distribution 2.8 sends them: an envelope with one event, whose target,
//! request, actor and source have their keys in the order of its structures.
//!
//! Not here: who pushes and pulls what (see `builds` and `scenario`). The registry indents what it posts; a shipper
//! that writes one record a line does not.

use palisade_events::time::Micros;

use crate::act::RegistryEvent;
use crate::random::Random;
use crate::record::Label;
use crate::text::{fnv, go_json, hex, number, uuid};
use crate::wire::Wire;

/// The registry's host, which image references begin with.
pub(crate) const REGISTRY_HOST: &str = "registry.example.com";

/// Which of the registry's processes tells of it: there is one.
const SOURCE: &str =
    "{\"addr\":\"registry-6c8f9d7b54-q7w2m:5000\",\"instanceID\":\"5f0c2c1e-8b34-4d0f-9a6e-2d71b6e0c9a4\"}}]}";

impl Wire {
    /// A notification about what was done at `at`.
    pub(crate) fn registry_event(&mut self, at: Micros, event: &RegistryEvent<'_>, label: Option<Label>) {
        let Self { buffer: out, random, calendar, .. } = self;
        out.push_str("{\"events\":[{\"id\":\"");
        uuid(out, random);
        out.push_str("\",\"timestamp\":\"");
        // Go leaves zeros at the end away: there are none.
        let nanos = random.below(100) * 10 + 1 + random.below(9);
        calendar.nanos(out, at, nanos);
        out.push_str("\",\"action\":\"");
        go_json(out, event.action);
        out.push_str("\",\"target\":{");
        target(out, event);
        out.push_str("},\"request\":{\"id\":\"");
        uuid(out, random);
        out.push_str("\",\"addr\":\"");
        go_json(out, event.address);
        out.push(':');
        number(out, 32_768 + random.below(28_000));
        out.push_str("\",\"host\":\"");
        out.push_str(REGISTRY_HOST);
        out.push_str("\",\"method\":\"");
        out.push_str(match event.action {
            "push" => "PUT",
            "mount" => "POST",
            "delete" => "DELETE",
            _ => "GET",
        });
        out.push_str("\",\"useragent\":\"");
        go_json(out, event.agent);
        out.push_str("\"},\"actor\":{");
        if !event.user.is_empty() {
            out.push_str("\"name\":\"");
            go_json(out, event.user);
            out.push('"');
        }
        out.push_str("},\"source\":");
        out.push_str(SOURCE);
        self.send_registry(at, event.repository, label);
    }
}

fn target(out: &mut String, event: &RegistryEvent<'_>) {
    let digest = event.digest.strip_prefix("sha256:").unwrap_or(event.digest);
    match event.action {
        // Of what is deleted, the registry tells what it was deleted by, and nothing else.
        "delete" if digest.is_empty() => {
            out.push_str("\"repository\":\"");
            go_json(out, event.repository);
            out.push_str("\",\"tag\":\"");
            go_json(out, event.tag);
            out.push('"');
        }
        "delete" => {
            out.push_str("\"digest\":\"sha256:");
            go_json(out, digest);
            out.push_str("\",\"repository\":\"");
            go_json(out, event.repository);
            out.push('"');
        }
        "mount" => {
            let size = 2_000_000 + Random::new(fnv(digest.bytes())).below(60_000_000);
            descriptor(out, "application/octet-stream", size, digest);
            place(out, size, event.repository, "platform/base", "blobs", digest);
        }
        _ => {
            // The same manifest has the same size and the same content, whoever asks for it.
            let mut content = Random::new(fnv(digest.bytes()));
            let size = 700 + content.below(1_800);
            descriptor(out, "application/vnd.docker.distribution.manifest.v2+json", size, digest);
            place(out, size, event.repository, "", "manifests", digest);
            if !event.tag.is_empty() {
                out.push_str(",\"tag\":\"");
                go_json(out, event.tag);
                out.push('"');
            }
            // A configuration, the layer that all images of a repository begin with, and its own.
            let mut base = Random::new(fnv(event.repository.bytes()));
            let config = "application/vnd.docker.container.image.v1+json";
            let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
            out.push_str(",\"references\":[");
            reference(out, config, 4_000, 6_000, &mut content);
            out.push(',');
            reference(out, layer, 20_000_000, 30_000_000, &mut base);
            out.push(',');
            reference(out, layer, 1_000_000, 40_000_000, &mut content);
            out.push(']');
        }
    }
}

/// What is common to all content, up to its digest.
fn descriptor(out: &mut String, media_type: &str, size: u64, digest: &str) {
    out.push_str("\"mediaType\":\"");
    out.push_str(media_type);
    out.push_str("\",\"size\":");
    number(out, size);
    out.push_str(",\"digest\":\"sha256:");
    go_json(out, digest);
    out.push('"');
}

/// Where content is.
fn place(out: &mut String, size: u64, repository: &str, from: &str, part: &str, digest: &str) {
    out.push_str(",\"length\":");
    number(out, size);
    out.push_str(",\"repository\":\"");
    go_json(out, repository);
    if !from.is_empty() {
        out.push_str("\",\"fromRepository\":\"");
        out.push_str(from);
    }
    out.push_str("\",\"url\":\"https://");
    out.push_str(REGISTRY_HOST);
    out.push_str("/v2/");
    go_json(out, repository);
    out.push('/');
    out.push_str(part);
    out.push_str("/sha256:");
    go_json(out, digest);
    out.push('"');
}

fn reference(out: &mut String, media_type: &str, size_min: u64, size_spread: u64, random: &mut Random) {
    out.push_str("{\"mediaType\":\"");
    out.push_str(media_type);
    out.push_str("\",\"size\":");
    number(out, size_min + random.below(size_spread));
    out.push_str(",\"digest\":\"sha256:");
    for _ in 0..4 {
        hex(out, random.next(), 16);
    }
    out.push_str("\"}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn target_of(action: &str, tag: &str, digest: &str) -> Value {
        let (user, address, agent) = ("ci", "10.40.1.11", "docker/28.3.3");
        let mut out = String::from("{");
        target(&mut out, &RegistryEvent { action, repository: "shop/web", tag, digest, user, address, agent });
        out.push('}');
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn targets_say_what_the_registry_knows_of_an_action() {
        let cases = [
            ("delete", "1.2", "", json!({"repository": "shop/web", "tag": "1.2"})),
            ("delete", "1.2", "ab12", json!({"repository": "shop/web", "digest": "sha256:ab12"})),
        ];
        for (action, tag, digest, expected) in cases {
            assert_eq!(target_of(action, tag, digest), expected);
        }
        let pushed = target_of("push", "1.2", "ab12");
        assert_eq!(pushed["url"], "https://registry.example.com/v2/shop/web/manifests/sha256:ab12");
        assert_eq!((&pushed["tag"], &pushed["size"]), (&json!("1.2"), &pushed["length"]));
        assert_eq!(target_of("mount", "", "ab12")["url"], "https://registry.example.com/v2/shop/web/blobs/sha256:ab12");
    }

    #[test]
    fn a_manifest_is_the_same_for_who_pushes_and_who_pulls_it() {
        let (pushed, pulled) = (target_of("push", "1.2", "ab12"), target_of("pull", "1.2", "ab12"));
        assert_eq!(pushed, pulled);
        let other = target_of("push", "1.3", "cd34");
        assert_eq!(pushed["references"][1], other["references"][1]);
        assert_ne!(pushed["references"][2], other["references"][2]);
    }
}
