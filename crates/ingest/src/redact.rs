//! Takes secrets out of payloads before rules, columns or storage see them, leaving typed markers that rules can match.
//!
//! A payload is redacted first and decoded afterwards, so that columns, raw fields and the stored original hold the same
//! bytes. A marker is never taken for a secret again: redacting twice changes nothing.
//!
//! Not here: Secrets written as YAML inside a string, and secrets in encodings other than JSON's escapes.

use std::borrow::Cow;

use self::patterns::PATTERNS;

mod patterns;
mod scan;
mod tree;

/// Bytes of an unreadable input that are searched for secrets before it is cut.
const BROKEN_BYTES_MAX: usize = 64 << 10;

/// Replaces secrets by markers such as `<redacted:aws_access_key>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redactor {
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    On,
    Off,
}

/// The kinds of secrets that are recognised.
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
    /// All kinds, in the order of their counts.
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

    fn mark(self, out: &mut String) {
        out.push_str(MARKER);
        out.push_str(self.name());
        out.push('>');
    }
}

const MARKER: &str = "<redacted:";

/// Secrets replaced, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedactionCounts([u64; SecretKind::ALL.len()]);

impl RedactionCounts {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that were seen, with their counts.
    pub fn by_kind(&self) -> impl Iterator<Item = (SecretKind, u64)> + '_ {
        SecretKind::ALL.into_iter().map(|kind| (kind, self.0[kind as usize])).filter(|(_, count)| *count > 0)
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    fn one(&mut self, kind: SecretKind) {
        self.0[kind as usize] += 1;
    }
}

impl Redactor {
    /// A redactor that changes nothing, for those who may see secrets.
    pub fn off() -> Self {
        Self { mode: Mode::Off }
    }

    /// Replaces the secrets that patterns recognise in a text that is not JSON, such as an audit record's.
    pub fn text<'t>(&self, text: &'t str, counts: &mut RedactionCounts) -> Cow<'t, str> {
        match self.mode {
            Mode::On => PATTERNS.replace(text, counts),
            Mode::Off => Cow::Borrowed(text),
        }
    }

    /// Replaces the secrets in a JSON text, by pattern and by place: values of Kubernetes Secrets, of keys that name
    /// a password, of arguments after `--password`. `None` if there are none, or if the text is no JSON that nests at
    /// most `depth_max` deep; what is rewritten comes back without white space between its tokens.
    pub fn json(&self, text: &str, depth_max: usize, counts: &mut RedactionCounts) -> Option<String> {
        match self.mode {
            Mode::On if scan::is_suspicious(text.as_bytes()) => tree::rewrite(text, depth_max, counts),
            _ => None,
        }
    }

    /// Replaces the secrets in a text that stands under a name, such as the header of a CSV column.
    pub(crate) fn named(&self, name: &str, text: String, counts: &mut RedactionCounts) -> String {
        if self.mode == Mode::Off || text.is_empty() || text.starts_with(MARKER) {
            return text;
        }
        if let Some(kind) = tree::kind_of_key(name) {
            let mut marker = String::new();
            kind.mark(&mut marker);
            counts.one(kind);
            return marker;
        }
        match PATTERNS.replace(&text, counts) {
            Cow::Owned(replaced) => replaced,
            Cow::Borrowed(_) => text,
        }
    }

    /// Makes the text that is kept of an input that could not be read: secrets replaced, cut to `bytes_max`.
    ///
    /// In broken JSON the end of a Secret cannot be told, so that nothing is kept from the first `data` key on.
    pub fn remains(&self, raw: &[u8], bytes_max: usize, depth_max: usize, counts: &mut RedactionCounts) -> String {
        let mut kept = self.uncut(raw, bytes_max, depth_max, counts);
        kept.truncate(kept.floor_char_boundary(bytes_max));
        kept
    }

    fn uncut(&self, raw: &[u8], bytes_max: usize, depth_max: usize, counts: &mut RedactionCounts) -> String {
        if self.mode == Mode::Off {
            return String::from_utf8_lossy(&raw[..raw.len().min(bytes_max)]).into_owned();
        }
        let whole = std::str::from_utf8(raw).ok().filter(|text| text.len() <= 4 * BROKEN_BYTES_MAX);
        if let Some(text) = whole.filter(|text| text.trim_start().starts_with(['{', '['])) {
            match tree::check(text, depth_max, counts) {
                tree::Checked::Rewritten(text) => return text,
                tree::Checked::Clean => return text.to_owned(),
                tree::Checked::NotJson => {}
            }
        }
        let text = String::from_utf8_lossy(&raw[..raw.len().min(BROKEN_BYTES_MAX.max(bytes_max))]);
        let mut text = PATTERNS.replace(&scan::unescaped(&text), counts).into_owned();
        if let Some(start) = scan::data_key(text.as_bytes()) {
            text.truncate(start);
            counts.one(SecretKind::K8sSecret);
            SecretKind::K8sSecret.mark(&mut text);
        }
        text
    }
}

#[cfg(test)]
mod tests;
