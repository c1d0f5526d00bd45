//! OCSF events as JSON, versions 1.0 to 1.6: our own columns nested by their paths, and what other producers write.
//!
//! Not here: the paths themselves, which the event schema knows (see [`palisade_events::schema::COLUMNS`]).

use std::borrow::Cow;
use std::sync::LazyLock;

use palisade_events::fields::FieldRef;
use palisade_events::schema::AnyColumn;
use palisade_events::time::Micros;
use palisade_events::{CoverageKind, EventBuilder, col};

use self::names::{Late, Meaning, Named, Names, Notes, Place, moment};
use crate::activity::{DETECTION, PROCESS};
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::json::Value;

pub(crate) mod names;

/// OCSF authentication.
const AUTHENTICATION: i64 = 3002;

/// Reads OCSF events.
#[derive(Debug, Default)]
pub(crate) struct Ocsf;

impl JsonFormat for Ocsf {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let shape = Shape::of(root);
        let Some(class) = shape.class() else {
            return Err(("not_an_ocsf_event", "no class_uid with what else an event has".to_owned()));
        };
        let event = Event { class: i64::from(class), ..Event::default() };
        let names = &NAMES[shape.actor() as usize];
        let mut named = Named::new(names, event, reading.settings.zone, reading.list_items_max());
        let place = named.root();
        reading.walk(root, place, &mut named);
        let Some((time, original)) = named.notes.time(reading) else {
            return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
        };
        let (event, cut) = named.finish(reading.row);
        if event.is_truncated {
            let detail = "the event was cut by its source".to_owned();
            reading.facts.push(Fact { kind: CoverageKind::Truncated, window: (time, time), count: 1, detail });
        }
        reading.cut |= cut || event.is_truncated;
        reading.row.put_int(col::CLASS_UID, class);
        reading.row.put_int(col::ACTIVITY_ID, shape.activity());
        reading.row.put_word(col::METADATA_PRODUCT_NAME, "ocsf");
        Ok(Made::Event { time, original })
    }
}

/// What the root of a document shows at a glance.
#[derive(Default)]
struct Shape<'t, 'i> {
    class: Option<i64>,
    activity: Option<i64>,
    kind: Option<i64>,
    has_more: bool,
    process: Option<Value<'t, 'i>>,
}

/// What the process of the actor is to the event.
#[derive(Clone, Copy)]
enum Actor {
    /// The process that the event is about.
    Itself,
    /// The one that started it.
    Parent,
    /// Another one.
    Other,
}

impl<'t, 'i> Shape<'t, 'i> {
    fn of(root: Value<'t, 'i>) -> Self {
        let mut shape = Self::default();
        for (key, value) in root.entries() {
            match key {
                "class_uid" => shape.class = value.int(),
                "type_uid" => shape.kind = value.int(),
                "activity_id" => shape.activity = value.int(),
                "metadata" | "time" | "time_dt" | "category_uid" | "severity_id" => shape.has_more = true,
                "process" => shape.process = Some(value).filter(|process| process.is_object()),
                _ => {}
            }
        }
        shape
    }

    fn class(&self) -> Option<i32> {
        let class = self.class.or_else(|| Some(self.kind? / 100))?;
        let is_event = self.has_more || self.activity.is_some() || (self.kind.is_some() && self.class.is_some());
        i32::try_from(class).ok().filter(|class| *class >= 0 && is_event)
    }

    /// A type is its class and its activity in one number.
    fn activity(&self) -> i32 {
        let activity = self.activity.or_else(|| self.kind.map(|kind| kind % 100));
        activity.and_then(|activity| i32::try_from(activity).ok()).filter(|activity| *activity >= 0).unwrap_or(0)
    }

    fn actor(&self) -> Actor {
        match self.process {
            None => Actor::Itself,
            Some(process) => {
                let has_parent = process.get("parent_process").is_some_and(Value::is_object);
                let is_launch = self.class() == Some(PROCESS) && self.activity() == 1;
                if is_launch && !has_parent { Actor::Parent } else { Actor::Other }
            }
        }
    }
}

/// By [`Actor`].
static NAMES: LazyLock<[Names<Note>; 3]> =
    LazyLock::new(|| [names_with(Some("process")), names_with(Some("process.parent_process")), names_with(None)]);

/// The paths of columns, with the process of the actor read as another one.
fn names_with(actor_process: Option<&'static str>) -> Names<Note> {
    let instead = [
        ("severity_id", Meaning::Note(Note::Severity)),
        ("status_id", Meaning::Note(Note::Status)),
        ("action", Meaning::Note(Note::Action)),
        ("connection_info.direction", Meaning::Note(Note::Direction)),
        ("rcode", Meaning::Note(Note::Rcode)),
        ("count", Meaning::Note(Note::Count)),
    ];
    let mut besides = elsewhere();
    besides.extend(spellings());
    besides.extend(actor_process.map(|process| ("actor.process", Meaning::Reads(process, 1))));
    Names::new(|column| column.ocsf, &instead, &besides)
}

/// Objects that hold what others hold too.
fn elsewhere() -> Vec<(&'static str, Meaning<Note>)> {
    vec![
        // An event has many resources, and columns for one.
        ("resources", Meaning::Reads("resources", 0)),
        ("resource", Meaning::Reads("resources", 1)),
        ("process.container", Meaning::Reads("container", 1)),
        ("device.container", Meaning::Reads("container", 2)),
        // A finding's evidence is built like an event.
        ("evidences", Meaning::Reads("", 4)),
        // Each ancestor holds the next one.
        (
            "process.parent_process.parent_process.parent_process",
            Meaning::Reads("process.parent_process.parent_process", 0),
        ),
        ("process.ancestry", Meaning::Note(Note::Ancestry)),
        ("process.user.name", Meaning::implied(col::ACTOR_USER_NAME, 2)),
        ("process.user.uid", Meaning::implied(col::ACTOR_USER_UID, 2)),
        ("user.name", Meaning::Note(Note::Subject(AnyColumn::Word(col::ACTOR_USER_NAME)))),
        ("user.uid", Meaning::Note(Note::Subject(AnyColumn::Word(col::ACTOR_USER_UID)))),
        ("user.type", Meaning::Note(Note::Subject(AnyColumn::Word(col::ACTOR_USER_TYPE)))),
    ]
}

/// Other paths of the same things: of other versions and profiles.
fn spellings() -> Vec<(&'static str, Meaning<Note>)> {
    vec![
        ("time", Meaning::Note(Note::Time)),
        ("time_dt", Meaning::Note(Note::TimeText)),
        ("metadata.original_time", Meaning::Note(Note::OriginalTime)),
        ("metadata.is_truncated", Meaning::Note(Note::Truncated)),
        ("status", Meaning::Note(Note::StatusText)),
        ("action_id", Meaning::Note(Note::ActionId)),
        ("disposition", Meaning::Note(Note::Disposition)),
        ("disposition_id", Meaning::Note(Note::DispositionId)),
        ("connection_info.direction_id", Meaning::Note(Note::DirectionId)),
        ("metadata.uid", Meaning::text(col::METADATA_UID, 1)),
        ("finding_info.uid", Meaning::text(col::METADATA_UID, 2)),
        ("finding.uid", Meaning::text(col::METADATA_UID, 3)),
        ("metadata.product.vendor_name", Meaning::word(col::METADATA_PRODUCT_NAME, 1)),
        ("metadata.product.feature.name", Meaning::word(col::METADATA_LOG_NAME, 1)),
        ("api.response.message", Meaning::text(col::STATUS_DETAIL, 1)),
        ("api.response.error_message", Meaning::text(col::STATUS_DETAIL, 2)),
        ("finding.title", Meaning::word(col::FINDING_INFO_TITLE, 1)),
        ("finding_info.analytic.name", Meaning::word(col::FINDING_INFO_TITLE, 2)),
        ("analytic.name", Meaning::word(col::FINDING_INFO_TITLE, 3)),
        ("finding_info.desc", Meaning::text(col::MESSAGE, 1)),
        ("finding.desc", Meaning::text(col::MESSAGE, 2)),
        ("attacks.sub_technique.uid", Meaning::words(col::ATTACK_TECHNIQUES, 0)),
        ("finding_info.attacks.technique.uid", Meaning::words(col::ATTACK_TECHNIQUES, 0)),
        ("finding_info.attacks.sub_technique.uid", Meaning::words(col::ATTACK_TECHNIQUES, 0)),
        ("actor.user.groups.name", Meaning::words(col::ACTOR_USER_GROUPS, 0)),
        ("actor.session.credential_uid", Meaning::word(col::ACTOR_CREDENTIAL_UID, 1)),
        ("actor.user.uid_alt", Meaning::word(col::ACTOR_USER_UID, 1)),
        ("actor.user.email_addr", Meaning::word(col::ACTOR_USER_NAME, 1)),
        ("process.auid", Meaning::word(col::ACTOR_LOGIN_UID, 1)),
        ("process.euid", Meaning::word(col::PROCESS_USER_UID, 1)),
        ("process.path", Meaning::word(col::PROCESS_FILE_PATH, 1)),
        ("process.file.name", Meaning::word(col::PROCESS_NAME, 1)),
        ("process.created_time_dt", Meaning::time(col::PROCESS_CREATED_TIME, 1)),
        ("process.parent_process.path", Meaning::word(col::PARENT_PROCESS_FILE_PATH, 1)),
        ("process.parent_process.file.name", Meaning::word(col::PARENT_PROCESS_NAME, 1)),
        ("file.name", Meaning::text(col::FILE_PATH, 1)),
        ("device.name", Meaning::word(col::DEVICE_HOSTNAME, 1)),
        ("cloud.account_uid", Meaning::word(col::CLOUD_ACCOUNT_UID, 1)),
        ("unmapped.eks_cluster_name", Meaning::word(col::CLUSTER_NAME, 1)),
        ("src_endpoint.domain", Meaning::word(col::SRC_ENDPOINT_HOSTNAME, 1)),
        ("src_endpoint.name", Meaning::word(col::SRC_ENDPOINT_HOSTNAME, 2)),
        ("src_endpoint.svc_name", Meaning::word(col::SRC_ENDPOINT_HOSTNAME, 3)),
        ("dst_endpoint.domain", Meaning::word(col::DST_ENDPOINT_HOSTNAME, 1)),
        ("dst_endpoint.name", Meaning::word(col::DST_ENDPOINT_HOSTNAME, 2)),
        ("connection_info.protocol_num", Meaning::word(col::CONNECTION_PROTOCOL, 1)),
        ("http_response.code", Meaning::int(col::API_RESPONSE_CODE, 1)),
        ("http_request.uid", Meaning::text(col::API_REQUEST_UID, 1)),
        ("http_request.url.url_string", Meaning::text(col::HTTP_URL_PATH, 1)),
        ("http_request.url.text", Meaning::text(col::HTTP_URL_PATH, 2)),
        ("http_request.x_forwarded_for", Meaning::words(col::SRC_ENDPOINT_IPS, 1)),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Note {
    Time,
    TimeText,
    OriginalTime,
    Severity,
    Status,
    StatusText,
    Action,
    ActionId,
    Disposition,
    DispositionId,
    Direction,
    DirectionId,
    Rcode,
    Count,
    Ancestry,
    Truncated,
    /// Who logs on: in other classes, the user beside the actor is whom it was done to.
    Subject(AnyColumn),
}

/// What the walk noticed and later columns depend on.
#[derive(Debug, Default)]
struct Event<'i> {
    class: i64,
    time: Option<(FieldRef<'i>, &'i str)>,
    time_text: Option<&'i str>,
    original_time: Option<&'i str>,
    is_truncated: bool,
}

impl<'i> Notes<'i> for Event<'i> {
    type Note = Note;

    fn note(&mut self, note: Note, place: Place, value: Value<'_, 'i>, late: &mut Late<'i>, _: &mut EventBuilder) {
        let text = value.text().unwrap_or_default();
        match note {
            // What evidence says of itself is not said of the event.
            Note::Time | Note::TimeText | Note::OriginalTime | Note::Truncated | Note::Severity | Note::Count
                if place.distance > 0 => {}
            _ if value.is_null() => {}
            Note::Time => self.time = Some((value.scalar(), value.str().unwrap_or(value.raw()))),
            Note::TimeText => self.time_text = value.text(),
            Note::OriginalTime => {
                let written = value.str().unwrap_or(value.raw());
                self.original_time = Some(written).filter(|written| !written.is_empty());
            }
            Note::Truncated => self.is_truncated = matches!(value.scalar(), FieldRef::Bool(true)),
            Note::Severity => {
                let severity = value.int().filter(|severity| (1..=6).contains(severity));
                offer_number(late, AnyColumn::Int(col::SEVERITY_ID), place, 0, severity);
            }
            // The status of a finding is how far its handling is.
            Note::Status | Note::StatusText if self.class / 1000 == i64::from(DETECTION) / 1000 => {}
            Note::Status => {
                let status = value.int().filter(|status| matches!(status, 1 | 2));
                offer_number(late, AnyColumn::Int(col::STATUS_ID), place, 0, status);
            }
            Note::StatusText => {
                let status = match text {
                    _ if text.eq_ignore_ascii_case("success") => Some(1),
                    _ if text.eq_ignore_ascii_case("failure") => Some(2),
                    _ => None,
                };
                offer_number(late, AnyColumn::Int(col::STATUS_ID), place, 1, status);
            }
            Note::Action => offer_action(late, place, 0, action(text)),
            Note::ActionId => offer_action(late, place, 1, value.int().and_then(action_of)),
            Note::DispositionId => offer_action(late, place, 2, value.int().and_then(action_of_disposition)),
            Note::Disposition => offer_action(late, place, 3, action(text)),
            Note::Direction => offer_direction(late, place, 0, names::direction(text)),
            Note::DirectionId => {
                let direction = match value.int() {
                    Some(1) => Some("inbound"),
                    Some(2) => Some("outbound"),
                    _ => None,
                };
                offer_direction(late, place, 1, direction);
            }
            Note::Rcode => {
                let code = FieldRef::Str(answer_code(text));
                late.offer(AnyColumn::Word(col::DNS_RCODE), place, 0, code);
            }
            // An event that stands for itself alone has no count.
            Note::Count => {
                let count = value.int().filter(|count| *count > 1);
                offer_number(late, AnyColumn::Long(col::EVENT_COUNT), place, 0, count);
            }
            Note::Ancestry => ancestry(value, place, late),
            Note::Subject(column) if self.class == AUTHENTICATION => {
                late.offer(column, place.further(1), 0, value.scalar())
            }
            Note::Subject(_) => {}
        }
    }
}

impl<'i> Event<'i> {
    /// The event's time, as exact as any of its spellings, and the one that its source wrote.
    fn time(&self, reading: &Reading<'_>) -> Option<(Micros, Cow<'i, str>)> {
        let zone = reading.settings.zone;
        let texts = [self.time_text, self.original_time];
        let mut exact = texts.into_iter().flatten().filter_map(|text| in_range(zone.parse(text)?));
        let written = self.time.filter(|(value, _)| moment(*value, zone).is_some()).map(|(_, text)| text);
        let time = match self.time.and_then(|(value, _)| moment(value, zone)) {
            // Milliseconds are what the schema has room for; a text beside them tells the rest.
            Some(time) if time % 1000 == 0 => exact.find(|exact| (time..time + 1000).contains(exact)).unwrap_or(time),
            Some(time) => time,
            None => exact.next().or_else(|| in_range(reading.record.time?))?,
        };
        let original = self.original_time.or(written).or(self.time_text).or(self.time.map(|(_, text)| text));
        Some((time, original.unwrap_or_default().into()))
    }
}

fn offer_number(late: &mut Late<'_>, column: AnyColumn, place: Place, rank: u8, number: Option<i64>) {
    late.offer(column, place, rank, number.map_or(FieldRef::Null, FieldRef::Int));
}

fn offer_action(late: &mut Late<'_>, place: Place, rank: u8, action: Option<&'static str>) {
    late.offer(AnyColumn::Word(col::ACTION), place, rank, action.map_or(FieldRef::Null, FieldRef::Str));
}

fn offer_direction(late: &mut Late<'_>, place: Place, rank: u8, direction: Option<&'static str>) {
    late.offer(
        AnyColumn::Word(col::CONNECTION_DIRECTION),
        place,
        rank,
        direction.map_or(FieldRef::Null, FieldRef::Str),
    );
}

/// Captions of actions and of dispositions.
fn action(caption: &str) -> Option<&'static str> {
    let is_any = |captions: &[&str]| captions.iter().any(|known| caption.eq_ignore_ascii_case(known));
    if is_any(&["allowed", "approved", "accept"]) {
        Some("allowed")
    } else if is_any(&["denied", "blocked", "dropped", "rejected", "quarantined", "isolated", "reset", "unauthorized"])
    {
        Some("denied")
    } else if is_any(&["observed", "detected", "logged", "alert", "no action", "count"]) {
        Some("observed")
    } else {
        None
    }
}

fn action_of(id: i64) -> Option<&'static str> {
    match id {
        1 => Some("allowed"),
        2 => Some("denied"),
        3 => Some("observed"),
        _ => None,
    }
}

fn action_of_disposition(id: i64) -> Option<&'static str> {
    match id {
        1 | 8 => Some("allowed"),
        2 | 3 | 4 | 6 | 21 | 24 | 25 | 26 => Some("denied"),
        15 | 16 | 17 | 19 | 20 => Some("observed"),
        _ => None,
    }
}

/// Captions of answer codes, as DNS names them.
fn answer_code(caption: &str) -> &str {
    match caption {
        "NoError" => "NOERROR",
        "FormError" => "FORMERR",
        "ServError" => "SERVFAIL",
        "NXDomain" => "NXDOMAIN",
        "NotImp" => "NOTIMP",
        "Refused" => "REFUSED",
        other => other,
    }
}

/// Ancestors in one list: the parent first, which has columns of its own.
fn ancestry<'i>(list: Value<'_, 'i>, place: Place, late: &mut Late<'i>) {
    for (distance, ancestor) in list.items().enumerate() {
        for (key, value) in ancestor.entries() {
            let column = match key {
                "name" if distance > 0 => {
                    if let Some(name) = value.text() {
                        late.offer_word(col::PROCESS_ANCESTORS, place, 1, name.into());
                    }
                    continue;
                }
                _ if distance > 0 => continue,
                "name" => AnyColumn::Word(col::PARENT_PROCESS_NAME),
                "pid" => AnyColumn::Long(col::PARENT_PROCESS_PID),
                "uid" => AnyColumn::Text(col::PARENT_PROCESS_UID),
                "cmd_line" => AnyColumn::Text(col::PARENT_PROCESS_CMD_LINE),
                "path" => AnyColumn::Word(col::PARENT_PROCESS_FILE_PATH),
                _ => continue,
            };
            late.offer(column, place, 4, value.scalar());
        }
    }
}

#[cfg(test)]
mod tests;
