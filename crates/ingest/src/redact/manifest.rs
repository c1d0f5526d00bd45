//! Kubernetes Secrets that are written out inside a text: as YAML in a config map, a heredoc or an annotation, and as JSON
//! amid the words of a command.
//!
//! In doubt more is taken than needed: where a document holds a Secret among other objects, the data of all of them go.
//!
//! Not here: texts that are JSON as a whole, which are documents (see `tree`).

use std::sync::LazyLock;

use regex::Regex;

use super::RedactionCounts;
use super::kind::{is_marker, mark};

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("constant expression")
}

/// What says that a document holds a Secret, in YAML or in JSON.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    expression(concat!(
        r#"(?m)^[ \t]*(?:- +)?["']?kind["']?:[ \t]+["']?Secret(?:List)?["']?[ \t]*(?:#.*)?\r?$"#,
        r#"|\\*"kind\\*"\s*:\s*\\*"Secret(?:List)?\\*""#
    ))
});
/// A key of YAML whose map holds the values, and what follows on its line.
static DATA: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r#"^(?P<key>(?P<indent>[ \t]*(?:- +)?)["']?(?:data|stringData|binaryData)["']?:)(?:[ \t]+(?P<rest>.*))?$"#,
    )
});
/// Where the same map begins in JSON. Inside a string its quotes are escaped, once for each string around it.
static DATA_MAP: LazyLock<Regex> =
    LazyLock::new(|| expression(r#"\\*"(?:data|stringData|binaryData)(?P<escapes>\\*)"\s*:\s*\{"#));
/// The line between two documents of a stream of YAML.
static DASHES: LazyLock<Regex> = LazyLock::new(|| expression(r"\n---(?:\s|$)"));

/// Replaces the values of the Secrets in a text. `None` if there are none.
pub(super) fn replace(
    text: &str,
    kind: &str,
    keeps: impl Fn(&str) -> bool,
    counts: &mut RedactionCounts,
) -> Option<String> {
    if !SECRET.is_match(text) {
        return None;
    }
    let mut marker = String::new();
    mark(kind, &mut marker);
    let mut out = String::with_capacity(text.len());
    let mut found = 0;
    for document in documents(text) {
        if !SECRET.is_match(document) {
            out.push_str(document);
            continue;
        }
        let (document, maps) = without_maps(document, &marker);
        let mut rewriting = Rewriting { out: &mut out, marker: &marker, keeps: &keeps, found: maps, block: None };
        document.split_inclusive('\n').for_each(|line| rewriting.line(line));
        found += rewriting.found;
    }
    (0..found).for_each(|_| counts.one(kind));
    (found > 0).then_some(out)
}

/// The documents of a stream of YAML, each but the first with the line before it.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = DASHES.find(rest).map_or(rest.len(), |dashes| dashes.start() + 1);
        let (document, after) = rest.split_at(end);
        rest = after;
        (!document.is_empty()).then_some(document)
    })
}

/// Replaces the maps of values that are written as JSON, and counts them.
fn without_maps(document: &str, marker: &str) -> (String, u64) {
    let (mut out, mut copied, mut found) = (String::with_capacity(document.len()), 0, 0);
    while let Some(map) = DATA_MAP.captures_at(document, copied) {
        let (open, escapes) = match (map.get(0), map.name("escapes")) {
            (Some(all), Some(escapes)) => (all.end() - 1, escapes.as_str()),
            _ => break,
        };
        let end = open + map_length(&document[open..], escapes.len());
        if document[open..end].trim_matches(['{', '}']).trim().is_empty() {
            out.push_str(&document[copied..end]);
        } else {
            out.push_str(&format!("{}{escapes}\"{marker}{escapes}\"", &document[copied..open]));
            found += 1;
        }
        copied = end;
    }
    out.push_str(&document[copied..]);
    (out, found)
}

/// How long an object of JSON is whose quotes have so many backslashes before them; all of the text if it does not end.
fn map_length(text: &str, escapes: usize) -> usize {
    let (mut depth, mut backslashes, mut in_string) = (0usize, 0usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' => {
                backslashes += 1;
                continue;
            }
            // A quote within a string has more backslashes: its own, and those that these are escaped with.
            b'"' if backslashes >= escapes && ((backslashes - escapes) / (escapes + 1)).is_multiple_of(2) => {
                in_string = !in_string
            }
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        backslashes = 0;
    }
    text.len()
}

/// The lines of a document with a Secret, while they are written out again.
struct Rewriting<'r, K> {
    out: &'r mut String,
    marker: &'r str,
    keeps: &'r K,
    found: u64,
    block: Option<Block>,
}

/// A map of values that is being read.
struct Block {
    /// Of the map's key: lines that are indented deeper belong to it.
    indent: usize,
    /// Of the keys in it, once the first was seen.
    entries: Option<usize>,
    entry: Entry,
}

/// What becomes of the lines that go on with a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// A marker stands for the value.
    Replaced,
    /// The value on the line of its key is kept.
    Kept,
}

impl<K: Fn(&str) -> bool> Rewriting<'_, K> {
    fn line(&mut self, line: &str) {
        let body = line.trim_end_matches(['\n', '\r']);
        let indent = body.len() - body.trim_start_matches([' ', '\t']).len();
        match &mut self.block {
            Some(_) if body.trim().is_empty() => return self.out.push_str(line),
            Some(block) if indent > block.indent => {
                let entries = *block.entries.get_or_insert(indent);
                if indent <= entries {
                    return self.entry(body, &line[body.len()..]);
                }
                // The rest of a value.
                if block.entry == Entry::Kept {
                    block.entry = Entry::Replaced;
                    self.found += 1;
                }
                return;
            }
            _ => self.block = None,
        }
        let rewritten = self.outside(body, indent);
        self.out.push_str(rewritten.as_deref().unwrap_or(body));
        self.out.push_str(&line[body.len()..]);
    }

    /// A line outside of the maps of values, if it has to be written in another way. Remembers where a map begins.
    fn outside(&mut self, body: &str, indent: usize) -> Option<String> {
        let data = DATA.captures(body)?;
        let indent = data.name("indent").map_or(indent, |found| found.len());
        let rest = data.name("rest").map_or("", |rest| rest.as_str()).trim();
        let (entries, entry) = (None, Entry::Replaced);
        if rest.is_empty() || rest.starts_with(['#', '&', '!']) {
            self.block = Some(Block { indent, entries, entry });
            return None;
        }
        if is_empty(rest) || is_marker(unquoted(rest)) {
            return None;
        }
        // A map in braces, which may go on below: none of its lines is a key of ours.
        self.block = Some(Block { indent, entries: Some(indent), entry });
        self.found += 1;
        Some(format!("{} {}", &data["key"], self.marker))
    }

    /// One key of a map, and its value as far as it stands on the same line.
    fn entry(&mut self, body: &str, ending: &str) {
        let (key, value) = match body.find(": ").or_else(|| body.ends_with(':').then(|| body.len() - 1)) {
            Some(colon) => (&body[..=colon], body[colon + 1..].trim()),
            None => (&body[..body.len() - body.trim_start().len()], body.trim()),
        };
        let none =
            is_marker(unquoted(value)) || (!value.is_empty() && is_empty(value)) || (self.keeps)(unquoted(value));
        if let Some(block) = &mut self.block {
            block.entry = if none { Entry::Kept } else { Entry::Replaced };
        }
        if none {
            self.out.push_str(body);
        } else {
            let gap = if key.ends_with(':') { " " } else { "" };
            self.out.push_str(&format!("{key}{gap}{}", self.marker));
            self.found += 1;
        }
        self.out.push_str(ending);
    }
}

/// Whether a value of YAML is none, or an empty one.
fn is_empty(value: &str) -> bool {
    matches!(value, "" | "null" | "~" | "\"\"" | "''" | "{}")
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}
