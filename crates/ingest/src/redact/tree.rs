//! Secrets that their place in a document gives away: Kubernetes Secrets, keys that name a password, arguments after an
//! option that announces one, environment variables.
//!
//! This is the slow path: it runs on the few payloads that the scan suspects.

use std::borrow::Cow;
use std::sync::LazyLock;

use palisade_events::fields::FieldRef;
use regex::Regex;

use super::patterns::PATTERNS;
use super::{MARKER, RedactionCounts, SecretKind};
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
pub(super) fn rewrite(text: &str, depth_max: usize, counts: &mut RedactionCounts) -> Option<String> {
    match check(text, depth_max, counts) {
        Checked::Rewritten(text) => Some(text),
        Checked::Clean | Checked::NotJson => None,
    }
}

/// Rewrites a JSON text if it holds secrets, and says if it is no JSON.
pub(super) fn check(text: &str, depth_max: usize, counts: &mut RedactionCounts) -> Checked {
    nested(text, depth_max, Place::default(), counts)
}

fn nested(text: &str, depth_max: usize, place: Place, counts: &mut RedactionCounts) -> Checked {
    let rewritten = Parser::default().parse(text.as_bytes(), depth_max, |root| {
        let mut writer =
            Writer { out: String::with_capacity(text.len()), depth_max, counts: RedactionCounts::default() };
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
struct Place {
    /// Inside the body of a Kubernetes Secret.
    in_secret: bool,
    /// Every scalar from here on is a secret of this kind.
    all: Option<SecretKind>,
    /// Strings of JSON around this one.
    nesting: usize,
}

struct Writer {
    out: String,
    depth_max: usize,
    counts: RedactionCounts,
}

impl Writer {
    fn value(&mut self, value: Value<'_, '_>, place: Place) {
        if value.is_object() {
            self.object(value, place);
        } else if value.is_array() {
            self.array(value, place);
        } else {
            self.scalar(value.scalar(), place);
        }
    }

    fn object(&mut self, object: Value<'_, '_>, place: Place) {
        let in_secret = place.in_secret || matches!(text_of(object, "kind"), Some("Secret" | "SecretList"));
        let place = Place { in_secret, ..place };
        let holds_secrets = object.get("objectRef").is_some_and(|of| text_of(of, "resource") == Some("secrets"));
        // An environment variable, or anything else that pairs a name with a value.
        let named = object.get("value").and(text_of(object, "name")).and_then(kind_of_name);
        let patch_of_secret = in_secret && text_of(object, "path").is_some_and(|path| is_data(path.split('/').nth(1)));
        self.out.push('{');
        for (index, (key, value)) in object.entries().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let shown = PATTERNS.replace(key, &mut self.counts);
            write_text(&mut self.out, &shown);
            self.out.push(':');
            let below = match key {
                _ if place.all.is_some() => place,
                "requestObject" | "responseObject" if holds_secrets => {
                    let all = value.str().map(|_| SecretKind::K8sSecret);
                    Place { in_secret: true, all, ..place }
                }
                "value" if patch_of_secret => Place { all: Some(SecretKind::K8sSecret), ..place },
                "value" if value.str().is_some() => Place { all: named, ..place },
                _ if in_secret && is_data(Some(key)) => Place { all: Some(SecretKind::K8sSecret), ..place },
                _ if value.str().is_some() => Place { all: kind_of_key(key), ..place },
                _ => place,
            };
            self.value(value, below);
        }
        self.out.push('}');
    }

    fn array(&mut self, array: Value<'_, '_>, place: Place) {
        self.out.push('[');
        let mut announced = None;
        for (index, item) in array.items().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let here = Place { all: place.all.or(announced), ..place };
            self.value(item, here);
            announced = item.str().and_then(announces);
        }
        self.out.push(']');
    }

    fn scalar(&mut self, value: FieldRef<'_>, place: Place) {
        match (value, place.all) {
            (FieldRef::Null, _) => self.out.push_str("null"),
            (FieldRef::Str(text), _) if text.is_empty() || text.starts_with(MARKER) => write_text(&mut self.out, text),
            (_, Some(kind)) => {
                self.counts.one(kind);
                let mut marker = String::new();
                kind.mark(&mut marker);
                write_text(&mut self.out, &marker);
            }
            (FieldRef::Str(text), None) => {
                let shown = self.text(text, place);
                write_text(&mut self.out, &shown);
            }
            (FieldRef::Bool(b), None) => self.out.push_str(if b { "true" } else { "false" }),
            (FieldRef::Int(n), None) => self.out.push_str(&n.to_string()),
            (FieldRef::UInt(n), None) => self.out.push_str(&n.to_string()),
            (FieldRef::Float(n), None) => self.out.push_str(&serde_json::Value::from(n).to_string()),
            (FieldRef::Object, None) => self.out.push_str("null"),
        }
    }

    /// Text may itself be JSON, as in `kubectl.kubernetes.io/last-applied-configuration`.
    fn text<'t>(&mut self, text: &'t str, place: Place) -> Cow<'t, str> {
        if place.nesting < NESTED_MAX && text.trim_start().starts_with(['{', '[']) && text.contains('"') {
            let inner = Place { nesting: place.nesting + 1, ..place };
            match nested(text, self.depth_max, inner, &mut self.counts) {
                Checked::Rewritten(text) => return Cow::Owned(text),
                Checked::Clean => return Cow::Borrowed(text),
                Checked::NotJson => {}
            }
        }
        match self.query(text) {
            Some(rewritten) => Cow::Owned(PATTERNS.replace(&rewritten, &mut self.counts).into_owned()),
            None => PATTERNS.replace(text, &mut self.counts),
        }
    }

    /// Looks into the query of a URI, where an exec request carries its arguments percent-encoded, one `command` each.
    /// Values without a secret stay as they were written.
    fn query(&mut self, text: &str) -> Option<String> {
        let (path, query) = text.split_once('?')?;
        let mut out = format!("{path}?");
        let mut changed = false;
        let mut announced = None;
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            let Some((key, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
                out.push_str(pair);
                continue;
            };
            let shown = match announced.filter(|_| !value.is_empty() && !value.starts_with('-')) {
                Some(kind) if !value.starts_with(MARKER) => {
                    let mut marker = String::new();
                    self.counts.one(kind);
                    SecretKind::mark(kind, &mut marker);
                    Cow::Owned(marker)
                }
                _ => PATTERNS.replace(&value, &mut self.counts),
            };
            announced = announces(&value);
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

fn is_data(key: Option<&str>) -> bool {
    matches!(key, Some("data" | "stringData" | "binaryData"))
}

/// What a key says of its text.
pub(super) fn kind_of_key(key: &str) -> Option<SecretKind> {
    let name = folded(key);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if ends(&["password", "passwd", "passphrase"]) {
        Some(SecretKind::Password)
    } else if name == "token" || ends(&["accesstoken", "refreshtoken", "idtoken", "authtoken", "bearertoken"]) {
        Some(SecretKind::Token)
    } else if ends(&["secretaccesskey"]) || name.starts_with("awssecret") {
        Some(SecretKind::AwsSecretKey)
    } else if ends(&["clientsecret", "apikey"]) {
        Some(SecretKind::ApiKey)
    } else if name == "authorization" || name == "proxyauthorization" {
        Some(SecretKind::Authorization)
    } else {
        None
    }
}

/// What the name of an environment variable says of its value.
fn kind_of_name(name: &str) -> Option<SecretKind> {
    let folded = folded(name);
    kind_of_key(name).or_else(|| {
        if folded.ends_with("token") {
            Some(SecretKind::Token)
        } else if ["secret", "secretkey", "accesskey", "privatekey"].iter().any(|suffix| folded.ends_with(suffix)) {
            Some(SecretKind::ApiKey)
        } else {
            None
        }
    })
}

/// What an argument says of the argument after it.
fn announces(argument: &str) -> Option<SecretKind> {
    let option = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let option = folded(option);
    if ["password", "passwd", "passphrase"].iter().any(|suffix| option.ends_with(suffix)) {
        Some(SecretKind::Password)
    } else if option.ends_with("token") {
        Some(SecretKind::Token)
    } else {
        None
    }
}

fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect()
}

fn write_text(out: &mut String, text: &str) {
    // Strings always serialise.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
