//! Secrets that their place in a document gives away: Kubernetes Secrets, keys that name a password, arguments after an
//! option that announces one, environment variables, exact places that a file names.
//!
//! This is the slow path: it runs on the few payloads that the scan suspects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use palisade_events::fields::FieldRef;
use regex::Regex;

use super::command::{self, CommandLine, Programs, Role, is_option};
use super::kind::{is_marker, mark};
use super::patterns::ROUNDS_MAX;
use super::rules::Rules;
use super::{RedactionCounts, SecretKind};
use crate::json::{Parser, Value};

/// JSON inside strings inside JSON: deeper nesting is searched by pattern only.
const NESTED_MAX: usize = 4;

/// What a thorough look at a text found.
#[derive(Debug)]
pub(super) enum Checked {
    /// No JSON.
    NotJson,
    /// Nothing to replace.
    Clean,
    /// The text with its secrets replaced.
    Rewritten(String),
}

/// Rewrites a JSON text if it holds secrets.
pub(super) fn rewrite(rules: &Rules, text: &str, depth_max: usize, counts: &mut RedactionCounts) -> Option<String> {
    match check(rules, text, depth_max, counts) {
        Checked::Rewritten(text) => Some(text),
        Checked::Clean | Checked::NotJson => None,
    }
}

/// Rewrites a JSON text if it holds secrets, and says if it is no JSON.
pub(super) fn check(rules: &Rules, text: &str, depth_max: usize, counts: &mut RedactionCounts) -> Checked {
    nested(rules, text, depth_max, Place { node: rules.root(), ..Place::default() }, counts)
}

fn nested<'r>(
    rules: &'r Rules,
    text: &str,
    depth_max: usize,
    place: Place<'r>,
    counts: &mut RedactionCounts,
) -> Checked {
    let rewritten = Parser::default().parse(text, depth_max, |root| {
        let out = String::with_capacity(text.len());
        let mut writer = Writer { rules, out, depth_max, counts: RedactionCounts::default() };
        writer.value(root, place);
        (writer.out, writer.counts)
    });
    match rewritten {
        Ok((_, found)) if found.total() == 0 => Checked::Clean,
        Ok((out, found)) => {
            counts.add(&found);
            Checked::Rewritten(out)
        }
        Err(_) => Checked::NotJson,
    }
}

/// What is known of where a value stands.
#[derive(Clone, Copy, Debug, Default)]
struct Place<'r> {
    /// What it is part of.
    body: Body,
    /// The keys here are names of variables.
    names: Names,
    /// Every scalar from here on is a secret of this kind.
    all: Option<&'r str>,
    /// What the name says of the text or number that stands under it, or of those in a list there; not of objects.
    named: Option<SecretKind>,
    /// Where exact places that a file names go on.
    node: Option<usize>,
    /// Programs whose arguments stand here.
    programs: Programs,
    /// Strings of JSON around this one.
    nesting: usize,
}

/// A Kubernetes object whose data matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    #[default]
    Other,
    Secret,
    ConfigMap,
}

/// What the keys of an object are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Names {
    #[default]
    Fields,
    /// Variables, as in the data of a config map that an environment is made of.
    Variables,
    /// Registries of images, each with how to log in there.
    Registries,
    /// What logs in to one of them.
    Login,
}

/// What the keys of one object say of each other. Collected in one pass: an object may have a million keys, each of which
/// asks.
#[derive(Clone, Debug, Default)]
struct Siblings<'i> {
    kind: Option<&'i str>,
    /// The resource of the event's object.
    resource: Option<&'i str>,
    /// The step of a JSON patch.
    path: Option<&'i str>,
    /// Names beside a value: of an environment variable, of a header.
    name: Option<&'i str>,
    key: Option<&'i str>,
    has_value: bool,
    has_principal: bool,
    has_api_version: bool,
    has_correlation: bool,
    /// Programs that are named here, by what is before the last word of the keys.
    programs: BTreeMap<&'i str, Programs>,
}

impl<'i> Siblings<'i> {
    fn of(object: Value<'_, 'i>) -> Self {
        let mut all = Self::default();
        // Of keys that stand there twice, the first one that holds text counts.
        for (key, value) in object.entries() {
            match key {
                "kind" => all.kind = all.kind.or(value.str()),
                "objectRef" => all.resource = all.resource.or_else(|| text_of(value, "resource")),
                "path" => all.path = all.path.or(value.str()),
                "name" => all.name = all.name.or(value.str()),
                "key" => all.key = all.key.or(value.str()),
                "value" => all.has_value = true,
                "principalId" => all.has_principal = true,
                "api_version" => all.has_api_version = true,
                "correlation_id" => all.has_correlation = true,
                _ => {}
            }
            all.name_program(key, value);
        }
        all
    }

    fn name_program(&mut self, key: &'i str, value: Value<'_, 'i>) {
        let Some((stem, role)) = command::role(key) else { return };
        let of_list =
            || value.items().filter_map(|item| item.str()).map(Programs::of).fold(Programs::default(), Programs::and);
        let named = match (role, value.str()) {
            (Role::Program | Role::Command, Some(text)) => Programs::of(text),
            (Role::Program | Role::Command, None) => of_list(),
            (Role::Image, Some(image)) => Programs::of_image(image),
            (Role::Image, None) | (Role::Arguments, _) => return,
        };
        if !named.is_empty() {
            let programs = self.programs.entry(stem).or_default();
            *programs = programs.and(named);
        }
    }

    /// The programs whose arguments stand under a key.
    fn programs_of(&self, key: &str, value: Value<'_, '_>) -> Programs {
        let role = if self.programs.is_empty() { None } else { command::role(key) };
        match role {
            Some((stem, role)) if role == Role::Arguments || (role == Role::Command && value.is_array()) => {
                self.programs.get(stem).copied().unwrap_or_default()
            }
            _ => Programs::default(),
        }
    }

    /// The names of which the object's value is one.
    fn names_of_value(&self) -> impl Iterator<Item = &'i str> + use<'i> {
        self.has_value.then_some([self.name, self.key]).into_iter().flatten().flatten()
    }

    /// Whether a key names an identifier that merely looks like a secret: the access key by which AWS says who it was,
    /// whose secret half it never writes, and the kind of a Kafka request.
    fn is_identifier(&self, key: &str) -> bool {
        match key {
            "accessKeyId" => self.has_principal,
            "api_key" => self.has_api_version && self.has_correlation,
            _ => false,
        }
    }
}

struct Writer<'r> {
    rules: &'r Rules,
    out: String,
    depth_max: usize,
    counts: RedactionCounts,
}

impl<'r> Writer<'r> {
    fn value(&mut self, value: Value<'_, '_>, place: Place<'r>) {
        if value.is_object() {
            self.object(value, place);
        } else if value.is_array() {
            self.array(value, place);
        } else {
            self.scalar(value.scalar(), place);
        }
    }

    fn object(&mut self, object: Value<'_, '_>, place: Place<'r>) {
        let rules = self.rules;
        let secret = rules.on(SecretKind::K8sSecret);
        let siblings = Siblings::of(object);
        let login = rules.on(SecretKind::Authorization).map(|_| SecretKind::Authorization);
        let resource = siblings.resource;
        let body = match siblings.kind {
            _ if place.body == Body::Secret => Body::Secret,
            Some("Secret" | "SecretList") if secret.is_some() => Body::Secret,
            Some("ConfigMap" | "ConfigMapList") => Body::ConfigMap,
            _ => place.body,
        };
        // An environment variable, a header, or anything else that pairs a name with a value. Names may be long and values
        // many, so that names are looked at once.
        let paired_own = siblings.names_of_value().find_map(|name| rules.own_key(name));
        let paired = siblings.names_of_value().find_map(|name| rules.kind_of_variable(name));
        // A step of a JSON patch.
        let mut steps = siblings.path.unwrap_or_default().split('/').skip(1);
        let patches_data = is_data(steps.next());
        let patched = steps.next().filter(|_| patches_data && body == Body::ConfigMap);
        let patched = patched.and_then(|name| rules.variable(name));
        self.out.push('{');
        for (index, (key, value)) in object.entries().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let shown = rules.patterns.replace(key, &mut self.counts);
            write_text(&mut self.out, &shown);
            self.out.push(':');
            let (exact, node) = place.node.map_or((None, None), |node| rules.place(node, key));
            let names = match place.names {
                Names::Registries => Names::Login,
                _ if key == "auths" => Names::Registries,
                _ => Names::Fields,
            };
            let programs = siblings.programs_of(key, value);
            let below = Place { body, names, named: None, node, programs, ..place };
            let own = || exact.or_else(|| rules.own_key(key)).or(paired_own.filter(|_| key == "value"));
            let all = place.all.or_else(own);
            let is_text = value.str().is_some();
            if all.is_none() && siblings.is_identifier(key) {
                match value.str() {
                    Some(text) => write_text(&mut self.out, text),
                    None => self.value(value, below),
                }
                continue;
            }
            let below = match (key, body) {
                _ if all.is_some() => Place { all, ..below },
                ("requestObject" | "responseObject", _) if secret.is_some() && resource == Some("secrets") => {
                    Place { body: Body::Secret, all: secret.filter(|_| is_text), ..below }
                }
                ("requestObject" | "responseObject", _) if resource == Some("configmaps") => {
                    Place { body: Body::ConfigMap, ..below }
                }
                ("value", Body::Secret) if patches_data => Place { all: secret, ..below },
                ("value", Body::ConfigMap) if patches_data && value.is_object() => {
                    Place { names: Names::Variables, ..below }
                }
                ("value", _) if paired.is_some() => Place { named: paired, ..below },
                ("value", _) if is_text => Place { all: patched, ..below },
                (_, Body::Secret) if is_data(Some(key)) => Place { all: secret, ..below },
                (_, Body::ConfigMap) if is_data(Some(key)) => Place { names: Names::Variables, ..below },
                ("auth", _) if place.names == Names::Login => Place { named: login, ..below },
                _ if is_text && place.names == Names::Variables => Place { all: rules.variable(key), ..below },
                _ => Place { named: rules.kind_of_key(key), ..below },
            };
            self.value(value, below);
        }
        self.out.push('}');
    }

    fn array(&mut self, array: Value<'_, '_>, place: Place<'r>) {
        self.out.push('[');
        let mut line = CommandLine::of(place.programs);
        let place = Place { programs: Programs::default(), ..place };
        // All of each member is a secret anyway.
        let is_told = place.all.is_some() || place.named.is_some();
        for (index, item) in array.items().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let found = match item.str() {
                Some(argument) => line.secret(argument),
                None => line.other().map(|kind| (0, kind)),
            };
            match (found.and_then(|(start, kind)| Some((start, self.rules.on(kind)?))), item.str()) {
                (Some((start, kind)), Some(argument)) if start > 0 && !is_told => {
                    self.argument(argument, start, kind, place);
                }
                (Some((0, kind)), _) => self.value(item, Place { all: place.all.or(Some(kind)), ..place }),
                _ => self.value(item, place),
            }
        }
        self.out.push(']');
    }

    /// An argument that ends in a secret. What stands before it is a text like any.
    fn argument(&mut self, argument: &str, start: usize, kind: &str, place: Place<'r>) {
        let (head, secret) = argument.split_at_checked(start).unwrap_or((argument, ""));
        if secret.is_empty() || self.rules.patterns.keeps(secret) {
            let shown = self.text(argument, place);
            return write_text(&mut self.out, &shown);
        }
        let mut shown = self.text(head, place).into_owned();
        mark(kind, &mut shown);
        self.counts.one(kind);
        write_text(&mut self.out, &shown);
    }

    fn scalar(&mut self, value: FieldRef<'_>, place: Place<'r>) {
        let named = || place.named.filter(|kind| says_of(*kind, value)).map(SecretKind::name);
        match (value, place.all.or_else(named)) {
            (FieldRef::Str(text), _) if text.is_empty() || is_marker(text) => write_text(&mut self.out, text),
            (FieldRef::Str(text), Some(_)) if self.rules.patterns.keeps(text) => write_text(&mut self.out, text),
            (FieldRef::Str(text), None) => {
                let shown = self.text(text, place);
                write_text(&mut self.out, &shown);
            }
            (FieldRef::Null | FieldRef::Object, _) | (_, None) => self.out.push_str(&literal(value)),
            (FieldRef::Bool(_) | FieldRef::Int(_) | FieldRef::UInt(_) | FieldRef::Float(_), Some(_))
                if self.rules.patterns.keeps(&literal(value)) =>
            {
                self.out.push_str(&literal(value));
            }
            (_, Some(kind)) => {
                self.counts.one(kind);
                let mut marker = String::new();
                mark(kind, &mut marker);
                write_text(&mut self.out, &marker);
            }
        }
    }

    /// Text may itself be JSON, as in `kubectl.kubernetes.io/last-applied-configuration`.
    fn text<'t>(&mut self, text: &'t str, place: Place<'r>) -> Cow<'t, str> {
        if place.nesting < NESTED_MAX && text.trim_start().starts_with(['{', '[']) && text.contains('"') {
            let inner = Place { nesting: place.nesting + 1, ..place };
            match nested(self.rules, text, self.depth_max, inner, &mut self.counts) {
                Checked::Rewritten(text) => return Cow::Owned(text),
                Checked::Clean => return Cow::Borrowed(text),
                Checked::NotJson => {}
            }
        }
        let mut shown = self.arguments(text, place.programs).map_or(Cow::Borrowed(text), Cow::Owned);
        // Until it has settled: what was replaced in the query may bring out more beside it, and the other way round.
        for _ in 0..ROUNDS_MAX {
            let query = self.query(&shown);
            let replaced = match self.rules.patterns.replace(query.as_deref().unwrap_or(&shown), &mut self.counts) {
                Cow::Owned(replaced) => Some(replaced),
                Cow::Borrowed(_) => None,
            };
            let Some(settling) = replaced.or(query) else { break };
            shown = Cow::Owned(settling);
        }
        shown
    }

    /// Looks into a text of arguments that stands beside the names of its programs.
    fn arguments(&mut self, text: &str, programs: Programs) -> Option<String> {
        if programs.is_empty() {
            return None;
        }
        let (mut out, mut copied) = (String::new(), 0);
        let mut line = CommandLine::of(programs);
        for word in command::words(text) {
            let argument = &text[word.clone()];
            let Some((start, kind)) = line.secret(argument) else { continue };
            let Some(kind) = self.rules.on(kind) else { continue };
            let secret = &argument[start..];
            if is_option(secret) || self.rules.patterns.keeps(secret) {
                continue;
            }
            out.push_str(&text[copied..word.start + start]);
            mark(kind, &mut out);
            self.counts.one(kind);
            copied = word.end;
        }
        (copied > 0).then(|| out + &text[copied..])
    }

    /// Looks into the query of a URI, where an exec request carries its arguments percent-encoded, one `command` each.
    /// Values without a secret stay as they were written.
    fn query(&mut self, text: &str) -> Option<String> {
        let (path, query) = text.split_once('?')?;
        let mut out = format!("{path}?");
        let mut changed = false;
        let mut line = CommandLine::default();
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            let Some((key, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
                out.push_str(pair);
                continue;
            };
            let found = line.secret(&value).filter(|(start, _)| *start > 0 || !value.starts_with('-'));
            let found = found.and_then(|(start, kind)| Some((start, self.rules.on(kind)?)));
            let shown = match found.filter(|(start, _)| !self.rules.patterns.keeps(&value[*start..])) {
                Some((start, kind)) => {
                    let mut shown = value[..start].to_owned();
                    mark(kind, &mut shown);
                    self.counts.one(kind);
                    Cow::Owned(shown)
                }
                None => self.rules.patterns.replace(&value, &mut self.counts),
            };
            match shown {
                Cow::Borrowed(_) => out.push_str(pair),
                Cow::Owned(shown) => {
                    let written: String = form_urlencoded::byte_serialize(shown.as_bytes()).collect();
                    // Markers stay as rules know them.
                    let written = MARKS.replace_all(&written, "<redacted:$1>");
                    out.push_str(&format!("{}={written}", pair.split('=').next().unwrap_or(&key)));
                    changed = true;
                }
            }
        }
        changed.then_some(out)
    }
}

/// A marker in percent-encoding.
static MARKS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("%3Credacted%3A([a-z0-9_]+)%3E").expect("constant expression"));

fn text_of<'i>(object: Value<'_, 'i>, key: &str) -> Option<&'i str> {
    object.get(key).and_then(Value::str)
}

/// Whether a name that tells a secret of this kind tells one of this value. Numbers beside tokens and cookies count them or
/// number them.
fn says_of(kind: SecretKind, value: FieldRef<'_>) -> bool {
    match value {
        FieldRef::Int(_) | FieldRef::UInt(_) | FieldRef::Float(_) => kind != SecretKind::Token,
        // The same as text: 64-bit numbers are often written so.
        FieldRef::Str(text) if text.bytes().all(|b| b.is_ascii_digit()) => kind != SecretKind::Token,
        FieldRef::Str(_) => true,
        FieldRef::Null | FieldRef::Bool(_) | FieldRef::Object => false,
    }
}

fn is_data(key: Option<&str>) -> bool {
    matches!(key, Some("data" | "stringData" | "binaryData"))
}

/// A value that is no text, as JSON writes it.
fn literal(value: FieldRef<'_>) -> Cow<'static, str> {
    match value {
        FieldRef::Bool(true) => "true".into(),
        FieldRef::Bool(false) => "false".into(),
        FieldRef::Int(n) => n.to_string().into(),
        FieldRef::UInt(n) => n.to_string().into(),
        FieldRef::Float(n) => serde_json::Value::from(n).to_string().into(),
        FieldRef::Null | FieldRef::Object | FieldRef::Str(_) => "null".into(),
    }
}

fn write_text(out: &mut String, text: &str) {
    // Strings always serialise.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
