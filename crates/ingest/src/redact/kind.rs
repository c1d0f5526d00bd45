//! The kinds of secrets, the markers that stand for them, and how many were replaced.
//!
//! A kind is a name: rules of a file bring names of their own, and markers, counts and metrics know nothing else of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

/// What every marker begins with.
pub(super) const MARKER: &str = "<redacted:";

/// A marker anywhere in a text.
pub(super) static MARKERS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<redacted:[a-z0-9_]+>").expect("constant expression"));

/// The kinds of secrets that are recognised without a file of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum SecretKind {
    K8sSecret,
    Token,
    Jwt,
    AwsAccessKey,
    AwsSecretKey,
    GithubToken,
    SlackToken,
    PrivateKey,
    Authorization,
    Password,
    UrlPassword,
    ApiKey,
}

impl SecretKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::K8sSecret,
        Self::Token,
        Self::Jwt,
        Self::AwsAccessKey,
        Self::AwsSecretKey,
        Self::GithubToken,
        Self::SlackToken,
        Self::PrivateKey,
        Self::Authorization,
        Self::Password,
        Self::UrlPassword,
        Self::ApiKey,
    ];

    /// The kind's name, as in its marker.
    pub fn name(self) -> &'static str {
        match self {
            Self::K8sSecret => "k8s_secret",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::AwsAccessKey => "aws_access_key",
            Self::AwsSecretKey => "aws_secret_key",
            Self::GithubToken => "github_token",
            Self::SlackToken => "slack_token",
            Self::PrivateKey => "private_key",
            Self::Authorization => "authorization",
            Self::Password => "password",
            Self::UrlPassword => "url_password",
            Self::ApiKey => "api_key",
        }
    }

    /// The kind with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind as a bit of a set.
    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Writes the marker of a kind.
pub(super) fn mark(kind: &str, out: &mut String) {
    out.push_str(MARKER);
    out.push_str(kind);
    out.push('>');
}

/// Whether a text is one marker and nothing else.
pub(super) fn is_marker(text: &str) -> bool {
    let name = text.strip_prefix(MARKER).and_then(|rest| rest.strip_suffix('>'));
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')))
}

/// Secrets replaced, by the name of their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedactionCounts(BTreeMap<Box<str>, u64>);

impl RedactionCounts {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The kinds that were seen, by name and in the order of their names, with their counts.
    pub fn by_kind(&self) -> impl Iterator<Item = (&str, u64)> + '_ {
        self.0.iter().map(|(kind, count)| (kind.as_ref(), *count))
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            self.many(kind, *count);
        }
    }

    pub(super) fn one(&mut self, kind: &str) {
        self.many(kind, 1);
    }

    fn many(&mut self, kind: &str, count: u64) {
        match self.0.get_mut(kind) {
            Some(seen) => *seen += count,
            None => drop(self.0.insert(kind.into(), count)),
        }
    }
}
