//! Image references, split into repository, tag and digest.
//!
//! Images of Docker Hub are written with and without the hub's name, depending on the runtime. In the column they have the
//! short name: `nginx` for `docker.io/library/nginx`, `bitnami/redis` for `docker.io/bitnami/redis`. An image's id, the
//! bare `sha256:…` of an image that nobody named, is neither a repository nor a digest: no registry knows it.

use palisade_events::{EventBuilder, col};

/// The parts of an image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image<'i> {
    /// Registry and repository.
    pub(crate) name: &'i str,
    /// Tag, if one is stated.
    pub(crate) tag: Option<&'i str>,
    /// Digest, `sha256:…`, if one is stated.
    pub(crate) digest: Option<&'i str>,
}

/// Names of Docker Hub's registry, and its folder of official images.
const HUBS: [&str; 3] = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"];
const OFFICIAL: &str = "library/";

impl<'i> Image<'i> {
    /// Splits a reference. A colon before the last slash belongs to the registry's port, not to a tag. An image's id has
    /// no parts.
    pub(crate) fn parse(reference: &'i str) -> Self {
        if is_id(reference) {
            return Self { name: "", tag: None, digest: None };
        }
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest).filter(|d| !d.is_empty())),
            None => (reference, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag).filter(|t| !t.is_empty())),
            _ => (rest, None),
        };
        Self { name, tag, digest }
    }

    /// Puts the parts into the current row.
    pub(crate) fn put(self, row: &mut EventBuilder) {
        if self.name.is_empty() || is_id(self.name) {
            return;
        }
        row.put_word(col::CONTAINER_IMAGE_NAME, familiar(self.name));
        if let Some(tag) = self.tag {
            row.put_word(col::CONTAINER_IMAGE_TAG, tag);
        }
        if let Some(digest) = self.digest {
            row.put_word(col::CONTAINER_IMAGE_UID, digest);
        }
    }
}

/// A repository's name without that of Docker Hub.
fn familiar(name: &str) -> &str {
    let bare = HUBS.iter().find_map(|hub| name.strip_prefix(hub)).unwrap_or(name);
    bare.strip_prefix(OFFICIAL).filter(|official| !official.is_empty() && !official.contains('/')).unwrap_or(bare)
}

fn is_id(reference: &str) -> bool {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    reference.strip_prefix("sha256:").is_some_and(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_where_the_registry_allows() {
        for (reference, name, tag, digest) in [
            ("nginx", "nginx", None, None),
            ("nginx:1.27", "nginx", Some("1.27"), None),
            ("registry.local:5000/team/app", "registry.local:5000/team/app", None, None),
            ("registry.local:5000/team/app:v2", "registry.local:5000/team/app", Some("v2"), None),
            ("app@sha256:abc", "app", None, Some("sha256:abc")),
            ("registry:5000/app:v2@sha256:abc", "registry:5000/app", Some("v2"), Some("sha256:abc")),
            ("app:", "app", None, None),
            ("sha256:9d1f", "", None, None),
        ] {
            assert_eq!(Image::parse(reference), Image { name, tag, digest }, "{reference}");
        }
    }

    #[test]
    fn images_of_docker_hub_have_their_short_name() {
        for (written, name) in [
            ("nginx", "nginx"),
            ("docker.io/nginx", "nginx"),
            ("library/nginx", "nginx"),
            ("docker.io/library/nginx", "nginx"),
            ("index.docker.io/library/nginx", "nginx"),
            ("docker.io/bitnami/redis", "bitnami/redis"),
            ("bitnami/redis", "bitnami/redis"),
            ("registry.local/library/nginx", "registry.local/library/nginx"),
            ("library/tools/nginx", "library/tools/nginx"),
        ] {
            assert_eq!(familiar(written), name, "{written}");
        }
    }
}
