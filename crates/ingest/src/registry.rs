//! Notifications of an image registry (CNCF Distribution and those that speak like it): who pulled, pushed, mounted or
//! deleted which image or blob.
//!
//! A registry notifies of what was done, so that every event is a success. The client's address is what its proxy says it
//! is, if it has one; its user agent is what it says itself. The URL is that of the content by its digest, whatever name
//! was asked for.
//!
//! Not here: the envelope of several events, which the driver opens.

use std::net::IpAddr;

use palisade_events::time::{Micros, parse_rfc3339};
use palisade_events::{EventBuilder, RecordMeta, col};

use crate::decode::in_range;
use crate::document::{JsonFormat, Made, Reading, Refusal};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::network::put_ip;
use crate::put::{first, text, word};

/// OCSF API activity.
const CLASS_API_ACTIVITY: i32 = 6003;

/// What Go writes where there is no time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Reads a registry's notifications.
#[derive(Debug, Default)]
pub(crate) struct Registry;

impl JsonFormat for Registry {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let refusal = ("not_a_registry_event", "no action on a repository that a request asked for".to_owned());
        if !root.is_object() {
            return Err(refusal);
        }
        let mut event = Event::default();
        reading.walk(root, Place::Root, &mut event);
        if !event.is_registrys() {
            return Err(refusal);
        }
        let Some((time, original)) = event.time(reading.record) else {
            return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
        };
        event.finish(reading.row);
        Ok(Made::Event { time, original: original.into() })
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Target,
    Request,
    Actor,
    Source,
}

/// What the walk noticed and later columns depend on.
#[derive(Default)]
struct Event<'i> {
    has_request: bool,
    time: Option<&'i str>,
    action: Option<&'i str>,
    media_type: Option<&'i str>,
    digest: Option<&'i str>,
    repository: Option<&'i str>,
    tag: Option<&'i str>,
    url: Option<&'i str>,
    request: Option<&'i str>,
    client: Option<&'i str>,
    host: Option<&'i str>,
    node: Option<&'i str>,
}

impl<'i> Columns<'i> for Event<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => match key {
                "id" => text(row, col::METADATA_UID, value),
                "timestamp" => first(&mut self.time, value),
                "action" => first(&mut self.action, value),
                "target" => return Some(Place::Target),
                "request" => {
                    self.has_request |= value.is_object();
                    return Some(Place::Request);
                }
                "actor" => return Some(Place::Actor),
                "source" => {
                    self.has_request |= value.is_object();
                    return Some(Place::Source);
                }
                _ => {}
            },
            Place::Target => match key {
                "mediaType" => first(&mut self.media_type, value),
                "digest" => first(&mut self.digest, value),
                "repository" => first(&mut self.repository, value),
                "tag" => first(&mut self.tag, value),
                "url" => first(&mut self.url, value),
                _ => {}
            },
            Place::Request => match key {
                "id" => first(&mut self.request, value),
                "addr" => first(&mut self.client, value),
                "host" => first(&mut self.host, value),
                "method" => word(row, col::HTTP_METHOD, value),
                "useragent" => word(row, col::HTTP_USER_AGENT, value),
                _ => {}
            },
            Place::Actor if key == "name" => word(row, col::ACTOR_USER_NAME, value),
            Place::Source if key == "addr" => first(&mut self.node, value),
            Place::Actor | Place::Source => {}
        }
        None
    }
}

impl<'i> Event<'i> {
    fn is_registrys(&self) -> bool {
        self.action.is_some() && self.repository.is_some() && self.has_request
    }

    fn time(&self, record: &RecordMeta) -> Option<(Micros, &'i str)> {
        let written = self.time.filter(|text| *text != NO_TIME);
        let readable = written.and_then(|text| Some((parse_rfc3339(text)?, text)));
        readable.or_else(|| Some((record.time.and_then(in_range)?, self.time.unwrap_or_default())))
    }

    /// Fills what several parts of the event decide together.
    fn finish(self, row: &mut EventBuilder) {
        let action = self.action.unwrap_or_default();
        row.put_int(col::CLASS_UID, CLASS_API_ACTIVITY);
        let activity = match action {
            "push" | "mount" => 1,
            "pull" => 2,
            "delete" => 4,
            _ => 99,
        };
        row.put_int(col::ACTIVITY_ID, activity);
        row.put_int(col::STATUS_ID, 1);
        row.put_word(col::METADATA_PRODUCT_NAME, "distribution");
        row.put_word(col::API_OPERATION, action);
        if let Some(request) = self.request {
            row.put_text(col::API_REQUEST_UID, request);
            row.put_text(col::METADATA_CORRELATION_UID, request);
        }
        if let Some(node) = self.node {
            row.put_word(col::DEVICE_HOSTNAME, host_and_port(node).0);
        }
        if let Some((client, port)) = self.client.map(host_and_port) {
            let is_address = client.parse::<IpAddr>().is_ok();
            put_ip(row, if is_address { col::SRC_ENDPOINT_IP } else { col::SRC_ENDPOINT_HOSTNAME }, client);
            if let Some(port) = port {
                row.put_int(col::SRC_ENDPOINT_PORT, i32::from(port));
            }
        }
        self.put_content(row);
    }

    fn put_content(&self, row: &mut EventBuilder) {
        let (of_url, path) = self.url.and_then(host_and_path).unwrap_or_default();
        if !path.is_empty() {
            row.put_text(col::HTTP_URL_PATH, path);
        }
        let host = self.host.or(Some(of_url).filter(|host| !host.is_empty()));
        if let Some(host) = host {
            row.put_word(col::API_SERVICE_NAME, host);
        }
        let resource = self.resource(path);
        row.put_word(col::RESOURCE_TYPE, resource);
        let repository = self.repository.unwrap_or_default();
        row.put_text(col::RESOURCE_NAME, repository);
        if let Some(digest) = self.digest {
            row.put_text(col::RESOURCE_UID, digest);
        }
        // The digest of a layer is not that of an image.
        let digest = self.digest.filter(|_| resource != "blobs");
        let name = host.map(|host| format!("{host}/{repository}"));
        Image { name: name.as_deref().unwrap_or(repository), tag: self.tag, digest }.put(row);
    }

    /// What was acted on. Of what is deleted, only the digest or the tag is told; a digest is then nearly always a
    /// manifest's, since registries collect the other blobs themselves.
    fn resource(&self, path: &str) -> &'static str {
        if path.contains("/blobs/") {
            return "blobs";
        }
        match self.media_type {
            Some(kind) if !path.contains("/manifests/") && !is_manifest(kind) => "blobs",
            None if self.digest.is_none() && self.tag.is_some() => "tags",
            None if self.digest.is_none() => "repositories",
            _ => "manifests",
        }
    }
}

/// Whether a media type is that of a manifest, or of a list of those.
fn is_manifest(media_type: &str) -> bool {
    media_type.contains("manifest") || media_type.contains("image.index")
}

/// `host:port`, `[address]:port`, or either without a port; an IPv6 address holds colons itself.
fn host_and_port(text: &str) -> (&str, Option<u16>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = split.map_or((text, None), |(host, port)| (host, Some(port)));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// Host and path of a URL.
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    rest.find('/').and_then(|at| rest.split_at_checked(at))
}

#[cfg(test)]
mod tests;
