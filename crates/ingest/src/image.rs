//! Image references, split into repository, tag and digest.

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

impl<'i> Image<'i> {
    /// Splits a reference. A colon before the last slash belongs to the registry's port, not to a tag.
    pub(crate) fn parse(reference: &'i str) -> Self {
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
        if self.name.is_empty() {
            return;
        }
        row.put_word(col::CONTAINER_IMAGE_NAME, self.name);
        if let Some(tag) = self.tag {
            row.put_word(col::CONTAINER_IMAGE_TAG, tag);
        }
        if let Some(digest) = self.digest {
            row.put_word(col::CONTAINER_IMAGE_UID, digest);
        }
    }
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
        ] {
            assert_eq!(Image::parse(reference), Image { name, tag, digest }, "{reference}");
        }
    }
}
