//! The rules at work: what is built in, together with what a file adds or switches off.
//!
//! Not here: how such a file is written (`rules/text.rs`), and what the built-in rules are (`patterns`, `names`, `tree`).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use palisade_events::FieldPlan;
use regex::{Regex, RegexBuilder};

pub(super) use self::text::PATTERNS_MAX;
pub use self::text::RedactionRulesError;
use super::names::{self, folded, is_joint};
use super::patterns::Patterns;
use super::{SecretKind, scan};

mod text;

/// Bytes of the compiled search for all names and needles of a file.
const SIGNS_BYTES_MAX: usize = 8 << 20;

/// Rules of redaction that were read from a file: additions to the built-in ones, and which of those do not apply.
#[derive(Clone, Debug)]
pub struct RedactionRules {
    text: String,
    compiled: Arc<Rules>,
}

impl RedactionRules {
    /// Reads rules from TOML.
    ///
    /// ```
    /// # use palisade_ingest::Redactor;
    /// # use palisade_ingest::redact::{RedactionCounts, RedactionRules};
    /// let rules = RedactionRules::parse(
    ///     r#"
    ///     [[pattern]]
    ///     kind = "employee_number"
    ///     regex = 'EMP-(?P<secret>[0-9]{6})'
    ///     needles = ["emp-"]
    ///     "#,
    /// )?;
    /// let mut counts = RedactionCounts::default();
    /// let shown = Redactor::with_rules(rules).text("asked by EMP-000042", &mut counts).into_owned();
    /// assert_eq!(shown, "asked by EMP-<redacted:employee_number>");
    /// assert_eq!(counts.by_kind().collect::<Vec<_>>(), [("employee_number", 1)]);
    /// # Ok::<(), palisade_ingest::redact::RedactionRulesError>(())
    /// ```
    ///
    /// # Errors
    /// [`RedactionRulesError`] naming the key and its line.
    pub fn parse(text: &str) -> Result<Self, RedactionRulesError> {
        let compiled = Arc::new(text::parse(text)?);
        Ok(Self { text: text.to_owned(), compiled })
    }

    /// The rules as they were written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_compiled(self) -> Arc<Rules> {
        self.compiled
    }
}

/// What a file says, checked.
#[derive(Debug, Default)]
struct Additions {
    /// Built-in kinds that do not apply, as bits.
    off: u16,
    patterns: Vec<OwnPattern>,
    /// Name without case and joints, and its kind.
    keys: BTreeMap<Box<str>, Box<str>>,
    /// Dotted path and its kind.
    places: BTreeMap<Box<str>, Box<str>>,
    /// Whole values that are no secrets.
    keep: Vec<Regex>,
}

/// An expression that a file adds.
#[derive(Debug)]
pub(super) struct OwnPattern {
    pub(super) kind: String,
    pub(super) regex: Regex,
    /// Of which one is in every text that the expression fits; none if the expression has to be tried on every text.
    pub(super) needles: Vec<String>,
}

/// Everything that decides what a secret is.
#[derive(Debug)]
pub(super) struct Rules {
    off: u16,
    pub(super) patterns: Patterns,
    keys: BTreeMap<Box<str>, Box<str>>,
    places: FieldPlan,
    /// By number of the place.
    kinds_of_places: Vec<Box<str>>,
    signs: Signs,
    /// Names of a file's keys and places as they stand in JSON.
    quoted: Option<Regex>,
}

/// Which payloads a file's rules may find something in.
#[derive(Debug)]
enum Signs {
    /// None: there is no such rule.
    None,
    /// Those in which something fits.
    Some(Regex),
    /// Any, because an expression names no needles.
    Any,
}

impl Rules {
    pub(super) fn built_in() -> Arc<Self> {
        static BUILT_IN: LazyLock<Arc<Rules>> =
            LazyLock::new(|| Arc::new(Rules::new(Additions::default()).expect("constant rules")));
        Arc::clone(&BUILT_IN)
    }

    fn new(additions: Additions) -> Result<Self, regex::Error> {
        let Additions { off, patterns, keys, places, keep } = additions;
        let quoted_keys = keys.keys().map(|name| quoted_name(name));
        let quoted: Vec<String> = quoted_keys.chain(places.keys().map(|path| quoted_end(path))).collect();
        let needles = patterns.iter().flat_map(|pattern| &pattern.needles).flat_map(|needle| spellings(needle));
        let signs: Vec<String> = quoted.iter().cloned().chain(needles.map(|needle| regex::escape(&needle))).collect();
        let signs = match any_of(&signs)? {
            _ if patterns.iter().any(|pattern| pattern.needles.is_empty()) => Signs::Any,
            Some(signs) => Signs::Some(signs),
            None => Signs::None,
        };
        let plan = FieldPlan::new(places.keys());
        let kinds_of_places = plan.paths().iter().filter_map(|path| places.get(path).cloned()).collect();
        Ok(Self {
            off,
            patterns: Patterns::new(off, patterns, keep),
            keys,
            places: plan,
            kinds_of_places,
            signs,
            quoted: any_of(&quoted)?,
        })
    }

    /// Whether a JSON text could hold a secret.
    pub(super) fn is_suspicious(&self, text: &str) -> bool {
        match &self.signs {
            Signs::None => scan::is_suspicious(text.as_bytes()),
            Signs::Some(signs) => signs.is_match(text) || scan::is_suspicious(text.as_bytes()),
            Signs::Any => true,
        }
    }

    /// The name of a built-in kind, unless it is switched off.
    pub(super) fn on(&self, kind: SecretKind) -> Option<&'static str> {
        (self.off & kind.bit() == 0).then(|| kind.name())
    }

    /// What a key of JSON says of everything under it, by a rule of the file.
    pub(super) fn own_key(&self, key: &str) -> Option<&str> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(folded(key).as_str()).map(AsRef::as_ref)
    }

    /// What a key of JSON says of its text or number, by the built-in rules.
    pub(super) fn kind_of_key(&self, key: &str) -> Option<SecretKind> {
        names::kind_of_key(key).filter(|kind| self.on(*kind).is_some())
    }

    /// What the name of a variable or header says of its text or number, by the built-in rules.
    pub(super) fn kind_of_variable(&self, name: &str) -> Option<SecretKind> {
        names::kind_of_variable(name).filter(|kind| self.on(*kind).is_some())
    }

    /// What the name of a variable says of its text.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.own_key(name).or_else(|| self.kind_of_variable(name).map(SecretKind::name))
    }

    /// What the name of a column says of its cells.
    pub(super) fn column(&self, name: &str) -> Option<&str> {
        let exact = self.root().and_then(|root| self.place(root, name).0);
        exact.or_else(|| self.own_key(name)).or_else(|| self.kind_of_key(name).map(SecretKind::name))
    }

    /// Where exact places begin, if there are any.
    pub(super) fn root(&self) -> Option<usize> {
        self.places.tree().root()
    }

    /// The kind of secret that stands under a key of an object at this node, if it is an exact place, and the node of the
    /// objects under it, if places lie deeper.
    pub(super) fn place(&self, node: usize, key: &str) -> (Option<&str>, Option<usize>) {
        let Some(step) = self.places.tree().step(node, key) else { return (None, None) };
        let kind = step.leaves.first().and_then(|place| self.kinds_of_places.get(*place));
        (kind.map(AsRef::as_ref), step.child)
    }

    /// Where the first value that is a secret begins in a text that is no JSON, and of which kind it is.
    pub(super) fn broken_value(&self, text: &str) -> Option<(usize, &str)> {
        let data = self.on(SecretKind::K8sSecret).and_then(|kind| Some((scan::data_key(text.as_bytes())?, kind)));
        let named = self.quoted.as_ref().and_then(|quoted| quoted.find(text));
        let named = named.and_then(|found| Some((found.end(), self.kind_of_quoted(found.as_str())?)));
        data.into_iter().chain(named).min_by_key(|(start, _)| *start)
    }

    /// The kind of a key as it stands in JSON.
    fn kind_of_quoted(&self, quoted: &str) -> Option<&str> {
        let name = quoted.trim_matches(['"', '\\']).replace("\\/", "/");
        let of_place = || {
            let ends = |path: &str| last_key(path).eq_ignore_ascii_case(&name);
            let places = self.places.paths().iter().zip(&self.kinds_of_places);
            places.into_iter().find(|(path, _)| ends(path)).map(|(_, kind)| kind.as_ref())
        };
        self.own_key(&name).or_else(of_place)
    }
}

/// One expression for many, without case; `None` for none.
fn any_of(expressions: &[String]) -> Result<Option<Regex>, regex::Error> {
    if expressions.is_empty() {
        return Ok(None);
    }
    let any = format!("(?i-u:{})", expressions.join("|"));
    RegexBuilder::new(&any).size_limit(SIGNS_BYTES_MAX).build().map(Some)
}

/// A name with whatever joins its words, in quotes, which are escaped if they stand in a string of JSON.
fn quoted_name(folded: &str) -> String {
    const JOINTS: &str = "[._-]*";
    let mut out = format!("\"{JOINTS}");
    for c in folded.chars().filter(|c| !is_joint(*c)) {
        push_literal(&mut out, c);
        out.push_str(JOINTS);
    }
    out.push_str("\\\\*\"");
    out
}

/// The last key of a path with the quote that ends it: a key may hold the dots before it, too.
fn quoted_end(path: &str) -> String {
    let mut out = String::new();
    last_key(path).chars().for_each(|c| push_literal(&mut out, c));
    out.push_str("\\\\*\"");
    out
}

fn last_key(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Writers may escape a slash.
fn push_literal(out: &mut String, c: char) {
    if c == '/' {
        out.push_str("\\\\*");
    }
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

/// A needle plain, and as the two spellings of percent-encoding have it.
fn spellings(needle: &str) -> Vec<String> {
    let encoded: String = form_urlencoded::byte_serialize(needle.as_bytes()).collect();
    let mut all = vec![needle.to_owned(), encoded.replace('+', "%20"), encoded];
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
