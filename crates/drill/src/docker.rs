//! Events of Docker daemons, as the Engine's API streams them since version 1.52: the type, the action with a command
//! behind a colon, the actor with its attributes in the order of the alphabet.
//!
//! Not here: which containers run (see `builds` and `scenario`). The daemon does not say which host it is on: the
//! record's key does.

use palisade_events::time::{Micros, SECOND};

use crate::act::DockerEvent;
use crate::cluster::Cluster;
use crate::record::{Label, Stream};
use crate::text::{go_json, number};
use crate::wire::Wire;

impl Wire {
    /// An event of the daemon on the event's node.
    pub(crate) fn docker_event(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        event: &DockerEvent<'_>,
        label: Option<Label>,
    ) {
        let Some(node) = cluster.nodes.get(event.node) else { return };
        let nanos = self.random.below(1_000);
        let out = &mut self.buffer;
        out.push_str("{\"Type\":\"");
        go_json(out, event.kind);
        out.push_str("\",\"Action\":\"");
        go_json(out, event.action);
        out.push_str("\",\"Actor\":{\"ID\":\"");
        go_json(out, event.id);
        out.push_str("\",\"Attributes\":{");
        attributes(out, &stated(event), event.attributes);
        out.push_str("}},\"scope\":\"local\",\"time\":");
        signed(out, at.div_euclid(SECOND));
        out.push_str(",\"timeNano\":");
        signed(out, at.saturating_mul(1_000).saturating_add(nanos as i64));
        out.push('}');
        self.send_node(Stream::Docker, event.node, at, &node.name, label);
    }
}

/// What the daemon itself states of an object of the kind.
fn stated<'e>(event: &DockerEvent<'e>) -> [(&'e str, &'e str); 2] {
    match event.kind {
        "container" => [("image", event.image), ("name", event.name)],
        "image" => {
            let name = match event.action {
                _ if !event.name.is_empty() => event.name,
                // What goes to or comes from a registry is named without its tag.
                "pull" | "push" => untagged(event.image),
                _ if event.image.is_empty() => event.id,
                _ => event.image,
            };
            [("name", name), ("", "")]
        }
        // A volume's name is its id.
        "volume" => [("", ""), ("", "")],
        _ => [("name", event.name), ("", "")],
    }
}

/// A reference without its tag; the colon before a registry's port begins none.
fn untagged(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

/// Writes both by key, as Go writes a map. Of the same key the daemon's own word stays: unlike the daemon, nobody here
/// labels a container with what it states.
fn attributes(out: &mut String, own: &[(&str, &str)], further: &[(&str, &str)]) {
    let all = || own.iter().filter(|(_, value)| !value.is_empty()).chain(further);
    let mut next = all().min_by_key(|(key, _)| *key);
    while let Some((key, value)) = next {
        out.push('"');
        go_json(out, key);
        out.push_str("\":\"");
        go_json(out, value);
        out.push('"');
        next = all().filter(|(other, _)| other > key).min_by_key(|(other, _)| *other);
        if next.is_some() {
            out.push(',');
        }
    }
}

fn signed(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    number(out, value.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_in_the_order_of_the_alphabet_and_the_daemons_word_counts() {
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let cases: [Case; 4] = [
            (
                "container",
                &[("signal", "9"), ("name", "label"), ("execID", "e\"0"), ("com.example.team", "shop")],
                r#""com.example.team":"shop","execID":"e\"0","image":"r.example:5000/shop/web:1","name":"web","signal":"9""#,
            ),
            ("image", &[], r#""name":"web""#),
            ("network", &[("container", "c0"), ("type", "bridge")], r#""container":"c0","name":"web","type":"bridge""#),
            ("volume", &[("driver", "local")], r#""driver":"local""#),
        ];
        for (kind, further, expected) in cases {
            let (image, name) = ("r.example:5000/shop/web:1", "web");
            let event = DockerEvent { node: 0, kind, action: "start", id: "i", image, name, attributes: further };
            let mut out = String::new();
            attributes(&mut out, &stated(&event), further);
            assert_eq!(out, expected, "{kind}");
        }
    }

    #[test]
    fn images_are_named_without_a_tag_where_a_registry_is_asked() {
        let cases = [
            ("pull", "r.example:5000/shop/web:1", "r.example:5000/shop/web"),
            ("push", "r.example:5000/shop/web", "r.example:5000/shop/web"),
            ("tag", "shop/web:1", "shop/web:1"),
            ("delete", "", "sha256:9d1f"),
        ];
        for (action, image, expected) in cases {
            let (kind, id, name) = ("image", "sha256:9d1f", "");
            let event = DockerEvent { node: 0, kind, action, id, image, name, attributes: &[] };
            assert_eq!(stated(&event)[0], ("name", expected), "{action}");
        }
    }
}
