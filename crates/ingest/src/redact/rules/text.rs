//! A file of rules: its TOML, what may stand in it, and how mistakes are blamed on their key and line.

use std::ops::Range;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::super::SecretKind;
use super::{Additions, OwnPattern, Rules, folded};

/// Bytes of a file: it is read as a whole.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Expressions of a file: each that is called for goes over the text.
pub(in super::super) const PATTERNS_MAX: usize = 256;
/// Names and paths of a file: they are searched for together, by one automaton.
const NAMES_MAX: usize = 512;
/// Bytes of an expression once it is compiled. A class of all letters, some dozens of times over, takes less.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Bytes of a name, a path, a needle or a kind.
const NAME_BYTES_MAX: usize = 128;
/// Bytes of the shortest needle: what is shorter is in every payload.
const NEEDLE_BYTES_MIN: usize = 3;
/// Values of one length each that have nothing else in common: what fits all of a row tells no value from another.
const UNLIKE: [[&str; 4]; 4] = [
    ["7", "q", "X", "-"],
    ["hunter27", "Zq4_vT-m", "w/4+M.E=", "x1!$%?#@"],
    ["correct-horse-battery", "Kd83_mQz0vT5nRb7LxW2c", "aGVsbG8/d29y+bGQuMQ==", "u:8f!c2@x#9$q%w^e&r*t"],
    [
        "the-quick-brown-fox-jumps-over-the-lazy-dog-12",
        "Xk29QmZr71LwTb84VcNd36HsYf50GpJe63RuAa18_oMi-9",
        "bG9yZW0gaXBzdW0/ZG9sb3Ig+c2l0IGFtZXQuLi4hMTI==",
        "p!4$k%w^e&r*t(y)u_i+o=a{s}d[f]g:h;j'k,l.z/x?c~",
    ],
];

/// What is wrong with a file of rules, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct RedactionRulesError {
    /// The key it is about; empty if the text is no TOML at all.
    pub key: String,
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    builtin: BuiltIn,
    #[serde(default)]
    pattern: Vec<Pattern>,
    #[serde(default)]
    key: Vec<Key>,
    #[serde(default)]
    path: Vec<Place>,
    #[serde(default)]
    keep: Vec<Keep>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BuiltIn {
    #[serde(default)]
    off: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    kind: Spanned<String>,
    regex: Spanned<String>,
    #[serde(default)]
    needles: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    kind: Spanned<String>,
    names: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    kind: Spanned<String>,
    paths: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keep {
    regex: Spanned<String>,
}

/// Reads a file's text and compiles it together with the built-in rules.
pub(super) fn parse(text: &str) -> Result<Rules, RedactionRulesError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(error(text, "", 0..0, format!("the file has more than {TEXT_BYTES_MAX} bytes")));
    }
    let parsed: Text = toml::from_str(text).map_err(|e| {
        let span = e.span().unwrap_or(0..0);
        let key = text.get(span.clone()).map(|key| key.lines().next().unwrap_or_default().trim().to_owned());
        error(text, &key.unwrap_or_default(), span, e.message().to_owned())
    })?;
    let mut additions = Additions::default();
    for (index, name) in parsed.builtin.off.iter().enumerate() {
        let Some(kind) = SecretKind::named(name.get_ref()) else {
            let known = SecretKind::ALL.map(SecretKind::name).join(", ");
            let why = format!("there is no built-in kind `{}`, but {known}", name.get_ref());
            return Err(wrong(text, &format!("builtin.off[{index}]"), name, &why));
        };
        additions.off |= kind.bit();
    }
    for (index, pattern) in parsed.pattern.iter().enumerate() {
        let key = format!("pattern[{index}]");
        if index == PATTERNS_MAX {
            return Err(wrong(text, &key, &pattern.kind, &format!("more than {PATTERNS_MAX} expressions")));
        }
        additions.patterns.push(own_pattern(text, &key, pattern)?);
    }
    for (index, rule) in parsed.key.iter().enumerate() {
        let key = format!("key[{index}]");
        let kind = kind(text, &key, &rule.kind)?;
        for name in named(text, &format!("{key}.names"), &rule.kind, &rule.names)? {
            let folded = folded(name.get_ref());
            if folded.is_empty() {
                return Err(wrong(text, &format!("{key}.names"), name, "nothing but `_`, `-` and `.`"));
            }
            additions.keys.entry(folded.into()).or_insert_with(|| kind.as_str().into());
        }
        if additions.keys.len() > NAMES_MAX {
            return Err(wrong(text, &key, &rule.kind, &format!("more than {NAMES_MAX} names")));
        }
    }
    for (index, rule) in parsed.path.iter().enumerate() {
        let key = format!("path[{index}]");
        let kind = kind(text, &key, &rule.kind)?;
        for path in named(text, &format!("{key}.paths"), &rule.kind, &rule.paths)? {
            if path.get_ref().split('.').any(str::is_empty) {
                let why = format!("`{}` has an empty step", path.get_ref());
                return Err(wrong(text, &format!("{key}.paths"), path, &why));
            }
            additions.places.entry(path.get_ref().as_str().into()).or_insert_with(|| kind.as_str().into());
        }
        if additions.places.len() > NAMES_MAX {
            return Err(wrong(text, &key, &rule.kind, &format!("more than {NAMES_MAX} paths")));
        }
    }
    for (index, keep) in parsed.keep.iter().enumerate() {
        let key = format!("keep[{index}].regex");
        if index == PATTERNS_MAX {
            return Err(wrong(text, &key, &keep.regex, &format!("more than {PATTERNS_MAX} expressions")));
        }
        let regex = whole(text, &key, &keep.regex)?;
        if regex.is_match("") {
            return Err(wrong(text, &key, &keep.regex, "fits the empty text, and may fit every other"));
        }
        if UNLIKE.iter().any(|row| row.iter().all(|value| regex.is_match(value))) {
            let why = "fits values that have nothing in common, and would keep secrets of every kind";
            return Err(wrong(text, &key, &keep.regex, why));
        }
        additions.keep.push(regex);
    }
    // Every part was checked by itself: what is left is their number.
    Rules::new(additions).map_err(|e| error(text, "", 0..0, format!("the rules together: {e}")))
}

fn own_pattern(text: &str, key: &str, pattern: &Pattern) -> Result<OwnPattern, RedactionRulesError> {
    let kind = kind(text, key, &pattern.kind)?;
    let place = format!("{key}.regex");
    let regex = compiled(text, &place, &pattern.regex, pattern.regex.get_ref())?;
    if regex.is_match("") {
        return Err(wrong(text, &place, &pattern.regex, "fits the empty text, and so every place of any text"));
    }
    let mut needles = Vec::new();
    for needle in &pattern.needles {
        let place = format!("{key}.needles");
        let words = needle.get_ref();
        if words.len() < NEEDLE_BYTES_MIN || words.len() > NAME_BYTES_MAX {
            let why = format!("`{words}` has to have {NEEDLE_BYTES_MIN} to {NAME_BYTES_MAX} characters");
            return Err(wrong(text, &place, needle, &why));
        }
        if !words.chars().all(|c| is_plain(c) && c != '/' && !c.is_ascii_uppercase()) {
            let why = format!(
                "`{words}` has to be lower case, of ASCII characters that JSON never escapes: no quotes, no slashes, no \
                 `&`, `<` and `>`"
            );
            return Err(wrong(text, &place, needle, &why));
        }
        if literal(pattern.regex.get_ref()).is_some_and(|literal| !literal.contains(words.as_str())) {
            let why = format!("`{words}` is not in what the expression fits, so that it would never be tried for it");
            return Err(wrong(text, &place, needle, &why));
        }
        needles.push(words.clone());
    }
    Ok(OwnPattern { kind, regex, needles })
}

/// What an expression fits that is nothing but a text, in lower case.
fn literal(expression: &str) -> Option<String> {
    let text = expression.strip_prefix("(?i)").unwrap_or(expression);
    text.chars().all(|c| !r"\.+*?()|[]{}^$".contains(c)).then(|| text.to_ascii_lowercase())
}

/// A kind's name, which goes into markers and metrics.
fn kind(text: &str, key: &str, kind: &Spanned<String>) -> Result<String, RedactionRulesError> {
    let name = kind.get_ref();
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if !fits || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        let why = format!("`{name}` is no kind: a kind is of lower-case letters, digits and `_`");
        return Err(wrong(text, &format!("{key}.kind"), kind, &why));
    }
    Ok(name.clone())
}

/// Names of keys, or paths: some, and such that a search of the text finds them.
fn named<'r>(
    text: &str,
    key: &str,
    beside: &Spanned<String>,
    names: &'r [Spanned<String>],
) -> Result<impl Iterator<Item = &'r Spanned<String>>, RedactionRulesError> {
    if names.is_empty() {
        return Err(wrong(text, key, beside, "names nothing"));
    }
    let odd = |name: &&Spanned<String>| {
        let words = name.get_ref();
        !(1..=NAME_BYTES_MAX).contains(&words.len()) || !words.chars().all(is_plain)
    };
    if let Some(name) = names.iter().find(odd) {
        let why = format!(
            "`{}` has to be 1 to {NAME_BYTES_MAX} ASCII characters that JSON never escapes: no quotes, no backslashes, no \
             `&`, `<` and `>`",
            name.get_ref()
        );
        return Err(wrong(text, key, name, &why));
    }
    Ok(names.iter())
}

/// Whether a character stands in JSON as itself, apart from the slash.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '&' | '<' | '>')
}

/// An expression that fits whole values only.
fn whole(text: &str, key: &str, regex: &Spanned<String>) -> Result<Regex, RedactionRulesError> {
    // By itself first, so that it cannot close the group around it.
    compiled(text, key, regex, regex.get_ref())?;
    compiled(text, key, regex, &format!(r"\A(?:{})\z", regex.get_ref()))
}

fn compiled(text: &str, key: &str, place: &Spanned<String>, expression: &str) -> Result<Regex, RedactionRulesError> {
    RegexBuilder::new(expression).size_limit(REGEX_BYTES_MAX).build().map_err(|e| {
        // A syntax error is drawn over several lines; the last one says it.
        let words = e.to_string();
        let why = words.lines().last().unwrap_or_default().trim_start_matches("error: ");
        wrong(text, key, place, why)
    })
}

fn wrong(text: &str, key: &str, place: &Spanned<String>, why: &str) -> RedactionRulesError {
    error(text, key, place.span(), format!("`{key}`: {why}"))
}

fn error(text: &str, key: &str, span: Range<usize>, why: String) -> RedactionRulesError {
    let line = text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1;
    RedactionRulesError { key: key.to_owned(), line, why }
}
