//! What secrets look like inside a text: one expression for each kind of place they turn up in.
//!
//! Not here: secrets that only their place in a document gives away (see `tree`).

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use super::{MARKER, RedactionCounts, SecretKind};

/// The compiled expressions. They are constants: a test compiles and tries each of them.
pub(super) static PATTERNS: LazyLock<Patterns> = LazyLock::new(Patterns::new);

/// An assigned value in its four spellings: quoted, quoted inside a quoted text, and bare.
const VALUE: &str = r#"(?:"(?P<a>(?:[^"\\]|\\.)+)|'(?P<b>[^']+)|\\+"(?P<c>(?:[^"\\]|\\+[^"\\])+)|(?P<d>[^\s"'\\&;]+))"#;

/// Kind, needles of which one must be in the text (lower case), and the expression; its groups a to d hold the secret,
/// and without them the whole match is it. In this order: what is recognised by its own shape comes first, so that an
/// assignment around it finds a marker.
const TABLE: &[(SecretKind, &[&str], &str)] = &[
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
    (
        SecretKind::AwsSecretKey,
        &["aws_secret", "aws-secret", "awssecret", "secret_access_key", "secretaccesskey"],
        r#"(?i)(?:aws[_-]?secret[a-z_-]*|secret[_-]?access[_-]?key)["'\\]*\s*[=:]\s*["'\\]*(?P<a>[A-Za-z0-9/+=]{16,})"#,
    ),
    (
        SecretKind::Authorization,
        &["authorization"],
        r#"(?i)\bauthorization["'\\]*\s*[:=]\s*["'\\]*(?:(?:basic|bearer|digest|token|negotiate|apikey)\s+)?(?P<d>[^\s"'\\]+)"#,
    ),
    (SecretKind::Authorization, &["bearer"], r"(?i)\bbearer\s+(?P<d>[A-Za-z0-9._~+/=-]*[0-9][A-Za-z0-9._~+/=-]*)"),
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
        r#"(?i:\b(?:mysql|mariadb)[a-z_-]*)\b[^|;\n]{0,512}?(?:[\s"',=])-p(?P<d>[^\s"'\\&;]+)"#,
    ),
    (
        SecretKind::Password,
        &["sshpass"],
        r#"\bsshpass\b[^|;\n]{0,256}?(?:[\s"',=])-p(?:\s*|&command=|["'\\,\s]+)(?P<d>[^\s"'\\&;]+)"#,
    ),
    (
        SecretKind::Password,
        &["curl"],
        r#"\bcurl\b[^|;\n]{0,1024}?\s(?:-[a-zA-Z]*u|--user|--proxy-user)[\s=]*["'\\]*[^\s:"'\\]+:(?P<d>[^\s"'\\&;]+)"#,
    ),
    (SecretKind::Token, &["token"], r#"(?i)token=VALUE"#),
    (SecretKind::Token, &["token"], r#"(?i)\b[a-z_-]*token\\*["']\s*:\s*\\*["'](?P<d>[^\s"'\\]+)"#),
    (SecretKind::Token, &["token"], r#"(?i)--[a-z-]*token(?:[ =]+|&command=|\\*"\s*,\s*\\*")(?P<d>[^\s"'\\&;]+)"#),
    (SecretKind::ApiKey, &["api", "client"], r#"(?i)(?:api[_-]?key|client[_-]?secret)["'\\]*\s*(?::=|=|:)\s*VALUE"#),
    (
        SecretKind::Password,
        &["value"],
        r#"(?i)name\\*"\s*:\s*\\*"[^"\\]*(?:password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key)\\*"\s*,\s*\\*"value\\*"\s*:\s*\\*"(?P<d>[^"\\]+)"#,
    ),
];

/// All expressions, and the needles that decide which of them a text needs.
#[derive(Debug)]
pub(super) struct Patterns {
    needles: AhoCorasick,
    /// By needle: the expressions it calls for, as bits.
    calls: Vec<u32>,
    rules: Vec<(SecretKind, Regex)>,
}

impl Patterns {
    fn new() -> Self {
        let mut words = Vec::new();
        let mut calls = Vec::new();
        for (rule, (_, needles, _)) in TABLE.iter().enumerate() {
            for needle in *needles {
                words.push(*needle);
                calls.push(1 << rule);
            }
        }
        let needles = AhoCorasick::builder().ascii_case_insensitive(true).build(words).expect("constant needles");
        let rules = TABLE
            .iter()
            .map(|(kind, _, pattern)| {
                (*kind, Regex::new(&pattern.replace("VALUE", VALUE)).expect("constant expression"))
            })
            .collect();
        Self { needles, calls, rules }
    }

    /// Replaces every secret that an expression finds.
    pub(super) fn replace<'t>(&self, text: &'t str, counts: &mut RedactionCounts) -> Cow<'t, str> {
        let called =
            self.needles.find_overlapping_iter(text).fold(0, |bits, m| bits | self.calls[m.pattern().as_usize()]);
        let mut text = Cow::Borrowed(text);
        for (place, (kind, rule)) in self.rules.iter().enumerate() {
            if called & (1 << place) != 0
                && let Some(replaced) = replace_one(rule, *kind, &text, counts)
            {
                text = Cow::Owned(replaced);
            }
        }
        text
    }
}

fn replace_one(rule: &Regex, kind: SecretKind, text: &str, counts: &mut RedactionCounts) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    for found in rule.captures_iter(text) {
        let Some((start, end)) = secret_in(&found) else { continue };
        if is_marker(&text[start..end]) {
            continue;
        }
        out.push_str(&text[copied..start]);
        kind.mark(&mut out);
        counts.one(kind);
        copied = end;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

fn secret_in(found: &Captures<'_>) -> Option<(usize, usize)> {
    let value = ["a", "b", "c", "d"].into_iter().find_map(|group| found.name(group));
    value.or_else(|| found.get(0)).map(|m| (m.start(), m.end()))
}

/// Whether a value is a marker already, or another option that merely follows.
fn is_marker(value: &str) -> bool {
    let is_option = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    value.starts_with(MARKER) || value.strip_prefix("--").is_some_and(is_option)
}
