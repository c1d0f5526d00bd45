//! AWS CloudTrail: records of API calls and sign-ins, insights, and what digests tell of the files they are in.
//!
//! Not here: the files themselves and what else records come in, which are opened as wrappings.

use std::borrow::Cow;

use palisade_events::schema::{Text, Word};
use palisade_events::time::Micros;
use palisade_events::{CoverageKind, EventBuilder, col};

use self::operation::{Operation, cluster_of};
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::json::{Columns, Value};
use crate::network::put_ip;
use crate::put::{self, first, word};

pub(crate) mod operation;

/// What stands for the name of a user who could not sign in: it might be a password in the wrong field.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Reads CloudTrail records.
#[derive(Debug, Default)]
pub(crate) struct CloudTrail;

impl JsonFormat for CloudTrail {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        match Shape::of(root) {
            Shape::Other => {
                Err(("not_a_cloudtrail_event", "no eventSource and eventName of an AWS service".to_owned()))
            }
            Shape::Digest => digest(root, reading),
            Shape::Record => record(root, reading),
        }
    }
}

enum Shape {
    Record,
    Digest,
    Other,
}

impl Shape {
    /// Notifications of S3 look alike, but their sources are spelled `aws:s3`.
    fn of(root: Value<'_, '_>) -> Self {
        let (mut source, mut has_name, mut has_more, mut is_insight) = (None, false, false, false);
        let (mut begins, mut ends) = (false, false);
        for (key, value) in root.entries() {
            match key {
                "eventSource" => source = value.text(),
                "eventName" => has_name = value.text().is_some(),
                "eventVersion" | "userIdentity" | "eventID" | "eventTime" => has_more = true,
                "insightDetails" => is_insight = value.is_object(),
                "digestStartTime" => begins = true,
                "digestEndTime" => ends = true,
                _ => {}
            }
        }
        let is_call = has_name && source.is_some_and(|source| !source.starts_with("aws:"));
        if begins && ends {
            Self::Digest
        } else if has_more && (is_call || is_insight) {
            Self::Record
        } else {
            Self::Other
        }
    }
}

fn record<'i>(root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
    let mut event = Event::default();
    reading.walk(root, Place::Root, &mut event);
    let Some((time, original)) = event.time(reading) else {
        return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
    };
    if event.is_omitted {
        let detail = "the service left a part out that was too large".to_owned();
        reading.facts.push(Fact { kind: CoverageKind::Truncated, window: (time, time), count: 1, detail });
        reading.cut = true;
    }
    if let Some(reason) = event.addendum {
        let detail = match reason {
            "UPDATED_DATA" => "an earlier event had lacked something".to_owned(),
            _ => "the event was delivered late".to_owned(),
        };
        reading.facts.push(Fact { kind: CoverageKind::Health, window: (time, time), count: 1, detail });
    }
    event.finish(reading.row);
    Ok(Made::Event { time, original: Cow::Borrowed(original) })
}

/// A digest names the files that were delivered in an hour, and signs them.
fn digest<'i>(root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
    let (mut begin, mut end, mut files) = (None, None, 0);
    let moment = |value: Value<'_, 'i>| in_range(reading.settings.zone.parse(value.text()?)?);
    for (key, value) in root.entries() {
        match key {
            "digestStartTime" => begin = moment(value),
            "digestEndTime" => end = moment(value),
            "logFiles" => files = value.items().count(),
            _ => {}
        }
    }
    let (Some(begin), Some(end)) = (begin, end) else {
        return Err(("missing_time", "a digest without readable times".to_owned()));
    };
    let detail = format!("digest of {files} log files");
    reading.facts.push(Fact { kind: CoverageKind::Health, window: (begin, end), count: -1, detail });
    Ok(Made::Facts)
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Identity,
    Session,
    Issuer,
    OnBehalfOf,
    Tls,
    Resource,
    Request,
    Response,
    Service,
    Image,
    ImageId,
    Additional,
    Addendum,
    Insight,
}

/// What the walk noticed and later columns depend on.
#[derive(Debug, Default)]
struct Event<'i> {
    time: Option<&'i str>,
    shipped_time: Option<&'i str>,
    source: Option<&'i str>,
    name: Option<&'i str>,
    id: Option<&'i str>,
    kind: Option<&'i str>,
    category: Option<&'i str>,
    region: Option<&'i str>,
    recipient: Option<&'i str>,
    address: Option<&'i str>,
    request_id: Option<&'i str>,
    shared_id: Option<&'i str>,
    read_only: Option<bool>,
    error: Option<&'i str>,
    error_message: Option<&'i str>,
    who: Identity<'i>,
    arn: Option<&'i str>,
    arn_prefix: Option<&'i str>,
    /// Names of what was acted on, in the order in which they are believed.
    named: [Option<&'i str>; NAMED.len()],
    role: Option<&'i str>,
    outcome: Option<&'i str>,
    image: Image<'i>,
    addendum: Option<&'i str>,
    original_id: Option<&'i str>,
    is_omitted: bool,
    insight: Insight<'i>,
}

#[derive(Debug, Default)]
struct Identity<'i> {
    kind: Option<&'i str>,
    principal: Option<&'i str>,
    arn: Option<&'i str>,
    account: Option<&'i str>,
    user: Option<&'i str>,
    invoked_by: Option<&'i str>,
    issuer: Option<&'i str>,
    issuer_user: Option<&'i str>,
    behalf: Option<&'i str>,
    /// The name as the service knows it, where the identity has none.
    other_user: Option<&'i str>,
}

#[derive(Debug, Default)]
struct Image<'i> {
    registry: Option<&'i str>,
    repository: Option<&'i str>,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
}

#[derive(Debug, Default)]
struct Insight<'i> {
    kind: Option<&'i str>,
    state: Option<&'i str>,
}

/// Parameters that name what a request is about, most telling first.
const NAMED: [&str; 16] = [
    "userName",
    "roleName",
    "groupName",
    "instanceId",
    "functionName",
    "secretId",
    "repositoryName",
    "bucketName",
    "keyId",
    "trailName",
    "nodegroupName",
    "clusterName",
    "dBInstanceIdentifier",
    "stackName",
    "policyArn",
    "name",
];

/// Their places: a cluster's name, and a name that may be a cluster's.
const CLUSTER_NAMED: usize = 11;
const PLAIN_NAMED: usize = 15;

impl<'i> Columns<'i> for Event<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => return self.root_key(key, value, row),
            Place::Identity => return self.identity_key(key, value, row),
            Place::Session => {
                return match key {
                    "sessionIssuer" => Some(Place::Issuer),
                    _ => None,
                };
            }
            Place::Issuer => match key {
                "arn" => first(&mut self.who.issuer, value),
                "userName" => first(&mut self.who.issuer_user, value),
                _ => {}
            },
            Place::OnBehalfOf if key == "userId" => first(&mut self.who.behalf, value),
            Place::Tls if key == "clientProvidedHostHeader" => {
                if let Some(name) = value.text() {
                    put::dns_name(row, col::DST_ENDPOINT_HOSTNAME, name);
                }
            }
            Place::Resource => match key {
                "ARN" | "arn" => first(&mut self.arn, value),
                "ARNPrefix" => first(&mut self.arn_prefix, value),
                "type" => word(row, col::RESOURCE_TYPE, value),
                _ => {}
            },
            Place::Request => return self.request_key(key, value),
            Place::Response => return self.response_key(key, value),
            Place::Service => match key {
                "repository-name" => first(&mut self.image.repository, value),
                "image-digest" => first(&mut self.image.digest, value),
                "image-tags" => self.image.tag = self.image.tag.or(value.items().find_map(Value::text)),
                _ => {}
            },
            Place::Image | Place::ImageId => match key {
                "imageId" => return Some(Place::ImageId),
                "repositoryName" => first(&mut self.image.repository, value),
                "registryId" => first(&mut self.image.registry, value),
                "imageTag" => first(&mut self.image.tag, value),
                "imageDigest" => first(&mut self.image.digest, value),
                _ => {}
            },
            Place::Additional if key == "UserName" => first(&mut self.who.other_user, value),
            Place::Addendum => match key {
                "reason" => first(&mut self.addendum, value),
                "originalEventID" => first(&mut self.original_id, value),
                _ => {}
            },
            Place::Insight => match key {
                "eventSource" => first(&mut self.source, value),
                "eventName" => first(&mut self.name, value),
                "insightType" => first(&mut self.insight.kind, value),
                "state" => first(&mut self.insight.state, value),
                "errorCode" => first(&mut self.error, value),
                _ => {}
            },
            _ => {}
        }
        None
    }
}

impl<'i> Event<'i> {
    fn root_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "eventTime" => first(&mut self.time, value),
            "@timestamp" => first(&mut self.shipped_time, value),
            "eventSource" => first(&mut self.source, value),
            "eventName" => first(&mut self.name, value),
            "eventID" => first(&mut self.id, value),
            "eventType" => first(&mut self.kind, value),
            "eventCategory" => first(&mut self.category, value),
            "awsRegion" => first(&mut self.region, value),
            "recipientAccountId" => first(&mut self.recipient, value),
            "sourceIPAddress" => first(&mut self.address, value),
            "requestID" => first(&mut self.request_id, value),
            "sharedEventID" => first(&mut self.shared_id, value),
            "errorCode" => first(&mut self.error, value),
            "errorMessage" => first(&mut self.error_message, value),
            "userAgent" => word(row, col::HTTP_USER_AGENT, value),
            "apiVersion" => word(row, col::API_VERSION, value),
            "readOnly" => {
                self.read_only = match value.raw() {
                    "true" | "\"true\"" => Some(true),
                    "false" | "\"false\"" => Some(false),
                    _ => None,
                };
            }
            "userIdentity" => return Some(Place::Identity),
            "tlsDetails" => return Some(Place::Tls),
            "requestParameters" => return Some(Place::Request),
            "responseElements" => return Some(Place::Response),
            "additionalEventData" => return Some(Place::Additional),
            "serviceEventDetails" => return Some(Place::Service),
            "addendum" => return Some(Place::Addendum),
            "insightDetails" => return Some(Place::Insight),
            "resources" => {
                self.resource(value, row);
                return None;
            }
            _ => {}
        }
        None
    }

    /// Columns hold one resource: the first that is named whole, not by the beginning of its name.
    fn resource(&mut self, resources: Value<'_, 'i>, row: &mut EventBuilder) {
        let named = |resource: &Value<'_, 'i>| resource.get("ARN").is_some_and(|arn| arn.text().is_some());
        let best = resources.items().find(named).or_else(|| resources.items().next());
        for (key, value) in best.into_iter().flat_map(Value::entries) {
            self.key(Place::Resource, key, value, row);
        }
    }

    fn identity_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "type" => first(&mut self.who.kind, value),
            "principalId" => first(&mut self.who.principal, value),
            "arn" => first(&mut self.who.arn, value),
            "accountId" => first(&mut self.who.account, value),
            "userName" => first(&mut self.who.user, value),
            "invokedBy" => first(&mut self.who.invoked_by, value),
            "accessKeyId" | "credentialId" => word(row, col::ACTOR_CREDENTIAL_UID, value),
            "sessionContext" => return Some(Place::Session),
            "onBehalfOf" => return Some(Place::OnBehalfOf),
            _ => {}
        }
        None
    }

    fn request_key(&mut self, key: &'i str, value: Value<'_, 'i>) -> Option<Place> {
        if let Some(place) = NAMED.iter().position(|name| *name == key)
            && let Some(slot) = self.named.get_mut(place)
        {
            first(slot, value);
        }
        match key {
            "omitted" => self.is_omitted |= value.raw() == "true",
            "roleArn" => first(&mut self.role, value),
            "repositoryName" => first(&mut self.image.repository, value),
            "registryId" => first(&mut self.image.registry, value),
            "imageTag" => first(&mut self.image.tag, value),
            "imageDigest" => first(&mut self.image.digest, value),
            "imageIds" => {
                // Columns hold one image.
                for (key, value) in value.items().next().into_iter().flat_map(Value::entries) {
                    match key {
                        "imageTag" => first(&mut self.image.tag, value),
                        "imageDigest" => first(&mut self.image.digest, value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        None
    }

    fn response_key(&mut self, key: &'i str, value: Value<'_, 'i>) -> Option<Place> {
        match key {
            "omitted" => self.is_omitted |= value.raw() == "true",
            "ConsoleLogin" | "SwitchRole" | "ExitRole" | "CheckMfa" => first(&mut self.outcome, value),
            "image" => return Some(Place::Image),
            _ => {}
        }
        None
    }

    fn time(&self, reading: &Reading<'_>) -> Option<(Micros, &'i str)> {
        let written = [self.time, self.shipped_time];
        let readable = |text: &'i str| Some((in_range(reading.settings.zone.parse(text)?)?, text));
        let carried = || Some((in_range(reading.record.time?)?, self.time.unwrap_or_default()));
        written.into_iter().flatten().find_map(readable).or_else(carried)
    }

    /// Fills what several parts of the event decide together.
    fn finish(&self, row: &mut EventBuilder) {
        let name = self.name.unwrap_or_default();
        let is_insight = self.insight.kind.is_some();
        let operation = if is_insight {
            Operation::insight(self.insight.state)
        } else {
            Operation::of(self.source.unwrap_or_default(), name, self.read_only)
        };
        row.put_int(col::CLASS_UID, operation.class);
        row.put_int(col::ACTIVITY_ID, operation.activity);
        let words = [
            (col::METADATA_PRODUCT_NAME, Some("cloudtrail")),
            (col::CLOUD_PROVIDER, Some("AWS")),
            (col::METADATA_LOG_NAME, self.category.or(self.kind)),
            (col::CLOUD_ACCOUNT_UID, self.recipient.or(self.who.account)),
            (col::CLOUD_REGION, self.region),
            (col::API_OPERATION, self.name),
            (col::API_SERVICE_NAME, self.source),
            (col::API_RESPONSE_ERROR, self.error),
            (col::FINDING_INFO_TITLE, self.insight.kind),
        ];
        put_words(row, &words);
        let texts = [
            (col::METADATA_UID, self.id),
            (col::METADATA_CORRELATION_UID, self.original_id.or(self.shared_id).or(self.request_id)),
            (col::API_REQUEST_UID, self.request_id),
            (col::STATUS_DETAIL, self.error_message.or(self.error)),
        ];
        put_texts(row, &texts);
        self.who.put(row);
        if !is_insight {
            self.put_outcome(row);
        }
        if let Some(address) = self.address {
            let column = if is_address(address) { col::SRC_ENDPOINT_IP } else { col::SRC_ENDPOINT_HOSTNAME };
            put_ip(row, column, address);
        }
        self.put_object(name, row);
    }

    fn put_outcome(&self, row: &mut EventBuilder) {
        let has_failed = self.error.is_some()
            || self.error_message.is_some()
            || self.outcome.is_some_and(|outcome| outcome.eq_ignore_ascii_case("failure"));
        row.put_int(col::STATUS_ID, if has_failed { 2 } else { 1 });
        let error = self.error.unwrap_or_default();
        if error.contains("AccessDenied") || error.contains("Unauthorized") {
            row.put_word(col::AUTHORIZATION_DECISION, "forbid");
        }
    }

    fn put_object(&self, name: &str, row: &mut EventBuilder) {
        let texts = [
            (col::RESOURCE_UID, self.arn.or(self.role).or(self.arn_prefix)),
            (col::RESOURCE_NAME, self.named.iter().flatten().next().copied()),
        ];
        put_texts(row, &texts);
        let source = self.source.unwrap_or_default();
        if source == "eks.amazonaws.com"
            && let Some(cluster) = cluster_of(name, self.named[CLUSTER_NAMED], self.named[PLAIN_NAMED])
        {
            row.put_word(col::CLUSTER_NAME, cluster);
        }
        if source == "ecr.amazonaws.com" {
            self.put_image(row);
        }
    }

    /// The image under the name by which it is pulled.
    fn put_image(&self, row: &mut EventBuilder) {
        let account = self.image.registry.or(self.recipient).or(self.who.account);
        if let (Some(account), Some(region), Some(repository)) = (account, self.region, self.image.repository) {
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            let registry = format!("{account}.dkr.ecr.{region}.amazonaws.com{suffix}");
            row.put_word(col::CONTAINER_IMAGE_NAME, &format!("{registry}/{repository}"));
        }
        put_words(row, &[(col::CONTAINER_IMAGE_TAG, self.image.tag), (col::CONTAINER_IMAGE_UID, self.image.digest)]);
    }
}

impl Identity<'_> {
    fn put(&self, row: &mut EventBuilder) {
        let is = |kind: &str| self.kind == Some(kind);
        let user = self.user.filter(|user| *user != HIDDEN).or(self.other_user.filter(|user| *user != HIDDEN));
        let session = || self.arn.and_then(|arn| arn.rsplit('/').next()).filter(|name| !name.starts_with("arn:"));
        let root = is("Root").then_some("root");
        // A role is who acts, whatever the session calls itself.
        let name = root.or(user).or(self.issuer_user).or(self.invoked_by);
        let name = name.or_else(session).or(self.behalf).or(self.principal);
        let words = [
            (col::ACTOR_USER_NAME, name.or(self.account)),
            (col::ACTOR_USER_UID, self.arn.or(self.behalf).or(self.principal).or(self.account)),
            (col::ACTOR_USER_TYPE, self.kind),
            (col::ACTOR_SESSION_ISSUER, self.issuer),
        ];
        put_words(row, &words);
    }
}

fn put_words(row: &mut EventBuilder, words: &[(Word, Option<&str>)]) {
    for (column, word) in words {
        if let Some(word) = word {
            row.put_word(*column, word);
        }
    }
}

fn put_texts(row: &mut EventBuilder, texts: &[(Text, Option<&str>)]) {
    for (column, text) in texts {
        if let Some(text) = text {
            row.put_text(*column, text);
        }
    }
}

/// Whether a source is an address: services that call on somebody's behalf are named instead, and `AWS Internal` is any
/// of them.
fn is_address(source: &str) -> bool {
    let is_v4 = source.contains('.') && source.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_v4 || (source.contains(':') && source.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')))
}

#[cfg(test)]
mod tests;
