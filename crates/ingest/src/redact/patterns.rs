//! What secrets look like inside a text: one expression for each kind of place they turn up in, and those of a file.
//!
//! Not here: secrets that only their place in a document gives away (see `tree`).

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use super::command::is_option;
use super::kind::{MARKER, MARKERS, mark};
use super::rules::{OwnPattern, PATTERNS_MAX};
use super::{RedactionCounts, SecretKind, block, manifest, names};

/// An assigned value, or the first of a list, in its four spellings: quoted, quoted inside a quoted text, and bare.
const VALUE: &str =
    r#"(?:\[\s*)?(?:"(?P<a>(?:[^"\\]|\\.)+)|'(?P<b>[^']+)|\\+"(?P<c>(?:[^"\\]|\\+[^"\\])+)|(?P<d>[^\s"'\\&;]+))"#;
/// What parts an argument from the next one: in a line, a list, a query, an audit record.
const NEXT: &str = r#"\\*["']?(?:\s*,\s*|\s+a[0-9]+=)|&command=|\s+"#;
/// The name of a user, for whom a marker may stand, and the colon after it.
const USER: &str = r#"(?:<redacted:[a-z0-9_]+>|[^\s:"'\\<&])+?(?::|%3[aA])"#;

/// Kind, needles of which one must be in the text (lower case), and the expression; its groups a to d hold the secret,
/// and without them the whole match is it.
type Entry = (SecretKind, &'static [&'static str], &'static str);

/// What is recognised by its own shape comes first, so that an assignment around it finds a marker.
const SHAPES: &[Entry] = &[
    (
        SecretKind::PrivateKey,
        &["private key"],
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.)*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    (SecretKind::Jwt, &["eyj"], r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"),
    (
        SecretKind::GithubToken,
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
    ),
    (SecretKind::SlackToken, &["xox"], r"xox[abeoprs]-[A-Za-z0-9-]{8,}"),
    (SecretKind::AwsAccessKey, &["akia", "asia"], r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    (SecretKind::ApiKey, &["k_live_"], r"\b[rs]k_live_(?:[A-Za-z0-9]{16,}|[A-Za-z]*[0-9][A-Za-z0-9]{4,})"),
];

/// What the words around it give away, in this order.
const PLACES: &[Entry] = &[
    (
        SecretKind::AwsSecretKey,
        &["aws_secret", "aws-secret", "aws.secret", "awssecret", "access_key", "access-key", "access.key", "accesskey"],
        r#"(?i)(?:aws[_-]?secret[a-z_-]*|aws\.secret(?:[_.-]?key)?|secret[_.-]?access[_.-]?key)["'\\]*\s*[=:]\s*["'\\]*(?P<a>[A-Za-z0-9/+=]{16,})"#,
    ),
    (
        SecretKind::Authorization,
        &["authorization"],
        r#"(?i)\bauthorization["'\\]*\s*[:=]\s*(?:\[\s*)?["'\\]*(?:(?:basic|bearer|digest|token|negotiate|apikey)\s+)?(?P<d>[^\s"'\\]+)"#,
    ),
    (SecretKind::Authorization, &["bearer"], r"(?i)\bbearer\s+(?P<d>[A-Za-z0-9._~+/=-]*[0-9][A-Za-z0-9._~+/=-]*)"),
    (SecretKind::Token, &["cookie"], r#"(?i)\bcookie\\*" *: *(?:\[ *)?\\*"(?P<d>[0-9]*[^"\\0-9][^"\\]*)"#),
    (SecretKind::UrlPassword, &["://"], r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:"'<>]*:(?P<d>[^\s/"']+)@"#),
    (
        SecretKind::Password,
        &["sswor", "sswd", "ssphrase"],
        r#"(?i)(?:password|passwd|passphrase)["'\\]*\s*(?::=|=|:)\s*VALUE"#,
    ),
    (
        SecretKind::Password,
        &["sswor", "sswd", "ssphrase"],
        r#"(?i)--?[a-z-]*(?:password|passwd|passphrase)(?:[ =]+|&command=|\\*"\s*,\s*\\*"|'\s*,\s*')(?P<d>[^\s"'\\&;]+)"#,
    ),
    (
        SecretKind::Password,
        &["mysql", "mariadb"],
        concat!(
            r#"(?i:\b(?:mysql|mariadb)[a-z_-]*)\b[^|;\n]{0,512}?(?:[\s=]-p(?:"(?P<a>[^\s"\\,](?:[^"\\]|\\.)*)""#,
            r#"|'(?P<b>[^\s',][^']*)'|\\+"(?P<c>[^\s"\\,](?:[^"\\]|\\+[^"\\])*)\\+")|[\s"',=]-p(?P<d>[^\s"'\\&;]+))"#
        ),
    ),
    (SecretKind::Password, &["sshpass"], r#"\bsshpass\b[^|;\n]{0,256}?[\s"',=]-p(?:NEXT|)(?:\\+')?VALUE"#),
    (
        SecretKind::Password,
        &["redis-cli"],
        r#"\bredis-cli\b[^|;\n]{0,512}?[\s"',=](?:-a|--pass)(?:NEXT|=)(?:\\+')?VALUE"#,
    ),
    (
        SecretKind::Password,
        &["curl"],
        concat!(
            r#"\bcurl\b[^|;\n]{0,1024}?[\s"',=](?:-[a-zA-Z0-9]*[uU]|--user|--proxy-user)(?:NEXT|=|)"#,
            r#"(?:"USER(?P<a>(?:[^"\\]|\\.)+)|'USER(?P<b>[^']+)|\\+"USER(?P<c>(?:[^"\\]|\\+[^"\\])+)"#,
            r#"|["'\\]*USER(?P<d>[^\s"'\\&;]+))"#
        ),
    ),
    (SecretKind::Token, &["token"], r#"(?i)token=VALUE"#),
    (SecretKind::Token, &["token"], r#"(?i)\b[a-z_-]*token\\*["']\s*:\s*(?:\[\s*)?\\*["'](?P<d>[^\s"'\\]+)"#),
    (SecretKind::Token, &["token"], r#"(?i)--[a-z-]*token(?:[ =]+|&command=|\\*"\s*,\s*\\*")(?P<d>[^\s"'\\&;]+)"#),
    (
        SecretKind::ApiKey,
        &["secret=", "key="],
        r#"(?i)\b[a-z0-9_.-]*(?:secret|(?:secret|access|private)[_.-]?key)=VALUE"#,
    ),
    (SecretKind::Password, &["_pass=", "_pwd="], r#"(?i)\b[a-z0-9_.-]*_(?:pass|pwd)=VALUE"#),
    // The logins in a file of docker's.
    (SecretKind::Authorization, &["auths\"", "auths\\"], r#"\\*"auth\\*"\s*:\s*\\*"(?P<d>[A-Za-z0-9+/=_-]{4,})"#),
    (SecretKind::ApiKey, &["api", "client"], r#"(?i)(?:api[_.-]?key|client[_.-]?secret)["'\\]*\s*(?::=|=|:)\s*VALUE"#),
    (
        SecretKind::Password,
        &["value"],
        r#"(?i)(?:name|key)\\*"\s*:\s*\\*"[^"\\]*(?:password|passwd|passphrase|_pass|_pwd|secret|token|authorization|cookie|(?:api|access|secret|private)[_.-]?key)\\*"\s*,\s*\\*"value\\*"\s*:\s*\\*"(?P<d>[^"\\]+)"#,
    ),
];

/// Needles of Secrets that are written as YAML, or as JSON amid a text. They are replaced before any expression is tried.
const MANIFEST_NEEDLES: &[&str] = &["data:", "data\"", "data\\"];

/// Rounds over one text. A marker may part words that hid a secret together, so that a text with a secret is looked at
/// again until it has settled; this is far more often than anybody writes.
pub(super) const ROUNDS_MAX: usize = 8;

/// All expressions, and the needles that decide which of them a text needs.
#[derive(Debug)]
pub(super) struct Patterns {
    needles: AhoCorasick,
    /// By needle: the rule it calls for.
    calls: Vec<usize>,
    /// The rules that every text needs.
    always: Called,
    rules: Vec<Rule>,
    /// Values that are no secrets whatever they look like.
    keep: Vec<Regex>,
}

#[derive(Debug)]
struct Rule {
    kind: Cow<'static, str>,
    look: Look,
}

/// How a rule finds its secrets.
#[derive(Debug)]
enum Look {
    /// As a Kubernetes Secret written out.
    Manifest,
    /// As a block of YAML under a key that tells of it; but for the kinds of these bits.
    Block(u16),
    /// By an expression whose groups a to d hold the secret.
    BuiltIn(Regex),
    /// By an expression whose group `secret` holds the secret.
    Own(Regex),
}

/// A set of rules.
#[derive(Clone, Copy, Debug, Default)]
struct Called([u64; 5]);

const _: () = assert!(PATTERNS_MAX + 2 + SHAPES.len() + PLACES.len() <= 5 * 64, "each rule has its bit");

impl Called {
    fn add(&mut self, rule: usize) {
        if let Some(bits) = self.0.get_mut(rule / 64) {
            *bits |= 1 << (rule % 64);
        }
    }

    fn has(&self, rule: usize) -> bool {
        self.0.get(rule / 64).is_some_and(|bits| bits >> (rule % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }
}

impl Patterns {
    /// Compiles the built-in rules but those of the kinds in `off`, after those of a file: what a file knows by its own
    /// shape keeps its own kind.
    pub(super) fn new(off: u16, own: Vec<OwnPattern>, keep: Vec<Regex>) -> Self {
        let owned = |needles: &[&str]| needles.iter().map(|needle| (*needle).to_owned()).collect::<Vec<_>>();
        let own = own
            .into_iter()
            .map(|OwnPattern { kind, regex, needles }| (Rule { kind: kind.into(), look: Look::Own(regex) }, needles));
        let on = |(kind, ..): &&Entry| off & kind.bit() == 0;
        let expression = |(kind, needles, expression): &Entry| {
            let spelled = expression.replace("VALUE", VALUE).replace("NEXT", NEXT).replace("USER", USER);
            let regex = Regex::new(&spelled).expect("constant expression");
            (Rule { kind: kind.name().into(), look: Look::BuiltIn(regex) }, owned(needles))
        };
        let manifest = Rule { kind: SecretKind::K8sSecret.name().into(), look: Look::Manifest };
        let manifest = (off & SecretKind::K8sSecret.bit() == 0).then(|| (manifest, owned(MANIFEST_NEEDLES)));
        // Of whatever kind its key tells.
        let block = (Rule { kind: "".into(), look: Look::Block(off) }, owned(block::NEEDLES));
        let built_in = manifest.into_iter().chain(SHAPES.iter().filter(on).map(expression));
        let built_in = built_in.chain([block]).chain(PLACES.iter().filter(on).map(expression));
        let (mut words, mut calls, mut always, mut rules) = (Vec::new(), Vec::new(), Called::default(), Vec::new());
        for (rule, needles) in own.chain(built_in) {
            if needles.is_empty() {
                always.add(rules.len());
            }
            calls.extend(needles.iter().map(|_| rules.len()));
            words.extend(needles);
            rules.push(rule);
        }
        // Their number and length are bounded, and so is the automaton.
        let needles = AhoCorasick::builder().ascii_case_insensitive(true).build(words).expect("bounded needles");
        Self { needles, calls, always, rules, keep }
    }

    /// Replaces every secret that a rule finds.
    pub(super) fn replace<'t>(&self, text: &'t str, counts: &mut RedactionCounts) -> Cow<'t, str> {
        let Some(mut replaced) = self.round(text, counts) else { return Cow::Borrowed(text) };
        for _ in 1..ROUNDS_MAX {
            let Some(again) = self.round(&replaced, counts) else { break };
            replaced = again;
        }
        Cow::Owned(replaced)
    }

    fn round(&self, text: &str, counts: &mut RedactionCounts) -> Option<String> {
        let mut called = self.always;
        for found in self.needles.find_overlapping_iter(text) {
            called.add(self.calls[found.pattern().as_usize()]);
        }
        if called.is_empty() {
            return None;
        }
        let mut out = None;
        for (_, rule) in self.rules.iter().enumerate().filter(|(place, _)| called.has(*place)) {
            let text = out.as_deref().unwrap_or(text);
            if let Some(replaced) = self.replace_by(rule, text, counts) {
                out = Some(replaced);
            }
        }
        out
    }

    /// Whether a value is no secret whatever it looks like.
    pub(super) fn keeps(&self, value: &str) -> bool {
        self.keep.iter().any(|keep| keep.is_match(value))
    }

    fn replace_by(&self, rule: &Rule, text: &str, counts: &mut RedactionCounts) -> Option<String> {
        match &rule.look {
            Look::Manifest => manifest::replace(text, &rule.kind, |value| self.keeps(value), counts),
            Look::Block(off) => {
                let kind_of = |key: &str| names::kind_of_variable(key).filter(|kind| off & kind.bit() == 0);
                block::replace(text, kind_of, |value| self.keeps(value), counts)
            }
            Look::BuiltIn(regex) => {
                let secret = |found: &Captures<'_>| {
                    let value = ["a", "b", "c", "d"].into_iter().find_map(|group| found.name(group));
                    value.or_else(|| found.get(0)).map(|m| m.range()).filter(|secret| !is_none(&text[secret.clone()]))
                };
                self.replace_all(regex, &rule.kind, text, secret, counts)
            }
            Look::Own(regex) => {
                let markers: Vec<_> = match text.contains(MARKER) {
                    true => MARKERS.find_iter(text).map(|marker| marker.range()).collect(),
                    false => Vec::new(),
                };
                let secret = |found: &Captures<'_>| {
                    let value = found.name("secret").or_else(|| found.get(0));
                    value.map(|m| beside_markers(m.range(), &markers))
                };
                self.replace_all(regex, &rule.kind, text, secret, counts)
            }
        }
    }

    fn replace_all(
        &self,
        regex: &Regex,
        kind: &str,
        text: &str,
        secret: impl Fn(&Captures<'_>) -> Option<Range<usize>>,
        counts: &mut RedactionCounts,
    ) -> Option<String> {
        let mut out = String::new();
        let mut copied = 0;
        for found in regex.captures_iter(text) {
            let Some(Range { start, end }) = secret(&found) else { continue };
            let start = start.max(copied);
            if start >= end || self.keeps(&text[start..end]) {
                continue;
            }
            out.push_str(&text[copied..start]);
            mark(kind, &mut out);
            counts.one(kind);
            copied = end;
        }
        if copied == 0 {
            return None;
        }
        out.push_str(&text[copied..]);
        Some(out)
    }
}

/// Whether a value is a marker already, or another option that merely follows, or stands for the lines below it.
fn is_none(value: &str) -> bool {
    value.starts_with(MARKER) || is_option(value) || block::is_indicator(value)
}

/// What of a secret lies beside the markers of others: an expression of a file may fit anything, also a marker or a part of
/// one. A marker that a secret holds in its midst goes with it.
fn beside_markers(mut secret: Range<usize>, markers: &[Range<usize>]) -> Range<usize> {
    for marker in markers {
        if marker.contains(&secret.start) {
            secret.start = marker.end;
        }
        if marker.start < secret.end && secret.end < marker.end {
            secret.end = marker.end;
        }
    }
    secret
}
