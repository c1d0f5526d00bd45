//! Secrets in block scalars of YAML, inside a text: the lines below a key that ends in `|` or `>`, as far as they are
//! indented deeper than it.
//!
//! Line breaks may be spelled out, as in JSON that could not be read. Not here: what the names of keys say (see `names`),
//! and Kubernetes Secrets, whose values go whatever they are called (see `manifest`).

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::kind::{MARKERS, mark};
use super::{RedactionCounts, SecretKind};

/// What is in every header of a block: its indicator after white space.
pub(super) const NEEDLES: &[&str] = &[" |", " >", "\t|", "\t>"];

/// A key whose value is a block, to the end of its line. What spells a line break has more backslashes the deeper it is
/// nested in strings.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?P<key>[A-Za-z0-9_.-]+)["'\\]*[ \t]*:[ \t]+(?:[!&][^\s\\]*[ \t]+)*"#,
        r"(?P<block>[|>][0-9+-]{0,2})(?:[ \t]+#[^\n\\]*|[ \t]*)(?:\r?\n|(?:\\+r)?(?P<escapes>\\+)n)",
    ))
    .expect("constant expression")
});

/// Replaces the blocks under keys that tell of a secret. `None` if there are none.
pub(super) fn replace(
    text: &str,
    kind_of: impl Fn(&str) -> Option<SecretKind>,
    keeps: impl Fn(&str) -> bool,
    counts: &mut RedactionCounts,
) -> Option<String> {
    if !text.contains('\n') && !text.contains("\\n") {
        return None;
    }
    let (mut out, mut copied) = (String::new(), 0);
    for header in HEADER.captures_iter(text) {
        let Some(block) = Block::of(text, &header).filter(|block| block.start >= copied) else { continue };
        let Some(kind) = kind_of(block.key) else { continue };
        let Some(end) = block.end(text) else { continue };
        let content = &text[block.lines..end];
        // What is a marker already, by its own shape, stays that.
        if MARKERS.replace_all(content, "").trim().is_empty() || keeps(content.trim()) {
            continue;
        }
        out.push_str(&text[copied..block.start]);
        mark(kind.name(), &mut out);
        counts.one(kind.name());
        copied = end;
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// Whether a value is no more than what a block begins with.
pub(super) fn is_indicator(value: &str) -> bool {
    let rest = value.strip_prefix(['|', '>']);
    rest.is_some_and(|rest| rest.len() <= 2 && rest.bytes().all(|b| matches!(b, b'+' | b'-' | b'0'..=b'9')))
}

/// A block that a header begins.
struct Block<'t> {
    key: &'t str,
    /// Where the key begins.
    key_start: usize,
    /// Where the value begins: with its indicator.
    start: usize,
    /// Where its lines begin.
    lines: usize,
    /// Backslashes of a line break; none if it is a real one.
    escapes: usize,
}

impl<'t> Block<'t> {
    fn of(text: &'t str, header: &Captures<'t>) -> Option<Self> {
        let (all, key, indicator) = (header.get(0)?, header.name("key")?, header.name("block")?);
        Some(Self {
            key: text.get(key.range())?,
            key_start: key.start(),
            start: indicator.start(),
            lines: all.end(),
            escapes: header.name("escapes").map_or(0, |escapes| escapes.len()),
        })
    }

    /// Where the last of its lines ends that is not empty; `None` if it has none.
    fn end(&self, text: &str) -> Option<usize> {
        let indent = self.indent(text);
        let (mut at, mut end) = (self.lines, None);
        while let Some(rest) = text.get(at..) {
            let (length, next) = self.line(rest);
            let line = rest[..length].trim_end_matches('\r');
            let body = line.trim_start_matches([' ', '\t']);
            if !body.trim().is_empty() {
                if line.len() - body.len() <= indent {
                    break;
                }
                end = Some(at + line.len());
            }
            at += next.unwrap_or(rest.len() + 1);
        }
        end
    }

    /// How long the line is that begins here, and where the next one does.
    fn line(&self, rest: &str) -> (usize, Option<usize>) {
        if self.escapes == 0 {
            return rest.find('\n').map_or((rest.len(), None), |end| (end, Some(end + 1)));
        }
        let mut backslashes = 0;
        for (at, byte) in rest.bytes().enumerate() {
            match byte {
                b'\\' => {
                    backslashes += 1;
                    continue;
                }
                b'n' if backslashes == self.escapes => return (at - backslashes, Some(at + 1)),
                // The string ends that the lines are in.
                b'"' if backslashes < self.escapes => return (at - backslashes, None),
                b'\n' => return (at, None),
                _ => {}
            }
            backslashes = 0;
        }
        (rest.len(), None)
    }

    /// How deep the key is indented; the marks of a list are part of it.
    fn indent(&self, text: &str) -> usize {
        let before = text[..self.key_start].trim_end_matches(['"', '\'', '\\']);
        let before = match self.escapes {
            0 => before,
            _ => {
                let line = before.rfind("\\n").map_or(before, |at| &before[at + 2..]);
                line.rsplit('"').next().unwrap_or(line)
            }
        };
        let before = before.rsplit('\n').next().unwrap_or(before);
        match before.bytes().all(|b| matches!(b, b' ' | b'\t' | b'-')) {
            true => before.len(),
            // Words before the document: `echo "password: |`.
            false => before.len() - before.trim_start_matches([' ', '\t']).len(),
        }
    }
}

#[cfg(test)]
mod tests;
