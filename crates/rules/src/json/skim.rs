//! Planned fields of a payload, read in one walk over its bytes that checks the rest of it and keeps none of it.
//!
//! Only for JSON of the plain kind: a payload with escapes in its keys, with keys that come twice, that is nested deeply, or
//! that is no JSON is given up, and read by [`super::lines`] instead, which says what any payload means.

use palisade_events::fields::{FieldRef, FieldStep, FieldTree, FieldsBuilder};
use serde_json::Value;

use super::digits::is_beyond_64_bits;
use super::plain::plain_end;
use super::spellings::Spellings;

/// Deeper payloads are given up; it is less than what serde reads.
const DEPTH_MAX: usize = 100;

/// Scratch of a skimmer, used row after row.
#[derive(Debug, Default)]
pub(super) struct Skimmer {
    spellings: Spellings,
    found: Vec<(usize, Scalar)>,
    /// Texts that are not in the payload as they are.
    unescaped: String,
}

#[derive(Clone, Copy, Debug)]
enum Scalar {
    Plain(FieldRef<'static>),
    /// From and to where in the payload.
    Text(usize, usize),
    /// From and to where in the unescaped texts.
    Unescaped(usize, usize),
}

impl Skimmer {
    /// Puts the planned paths of a payload into the current row; `None`, and nothing is put, if it is given up.
    pub(super) fn put(&mut self, tree: &FieldTree, root: usize, fields: &mut FieldsBuilder, text: &str) -> Option<()> {
        self.spellings.clear();
        self.found.clear();
        self.unescaped.clear();
        let mut walk = Walk { tree, text, bytes: text.as_bytes(), at: 0, has_extremes: false, out: self };
        walk.space();
        if walk.peek()? != b'{' {
            return None;
        }
        walk.object(root, 0)?;
        walk.space();
        if walk.at != text.len() {
            return None;
        }
        if !walk.has_extremes {
            fields.put_whole();
        }
        for (path, value) in &self.found {
            let value = match *value {
                Scalar::Plain(value) => value,
                Scalar::Text(start, end) => FieldRef::Str(text.get(start..end).unwrap_or_default()),
                Scalar::Unescaped(start, end) => FieldRef::Str(self.unescaped.get(start..end).unwrap_or_default()),
            };
            fields.put(*path, value);
        }
        Some(())
    }
}

struct Walk<'w> {
    tree: &'w FieldTree,
    text: &'w str,
    bytes: &'w [u8],
    at: usize,
    /// Whether a number may be too large to be read.
    has_extremes: bool,
    out: &'w mut Skimmer,
}

/// Whether a payload is JSON of the plain kind, all of whose numbers can be read.
pub(crate) fn is_plain(text: &str) -> bool {
    let (tree, mut scratch) = (FieldTree::default(), Skimmer::default());
    let mut walk = Walk { tree: &tree, text, bytes: text.as_bytes(), at: 0, has_extremes: false, out: &mut scratch };
    walk.space();
    let is_value = walk.skip(0).is_some();
    walk.space();
    is_value && walk.at == text.len() && !walk.has_extremes
}

impl Walk<'_> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Steps into an object or a list, from its bracket on: `true` at its first member, `false` behind the end of an empty one.
    #[inline(always)]
    fn opens(&mut self, close: u8, depth: usize) -> Option<bool> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.at += 1;
        self.space();
        if self.peek()? == close {
            self.at += 1;
            return Some(false);
        }
        Some(true)
    }

    /// What follows a member: `true` for another, `false` for the end, which is `close`.
    #[inline(always)]
    fn goes_on(&mut self, close: u8) -> Option<bool> {
        self.space();
        let next = self.peek()?;
        self.at += 1;
        match next {
            b',' => {
                self.space();
                Some(true)
            }
            next if next == close => Some(false),
            _ => None,
        }
    }

    /// The members of an object whose keys are steps from a node, from its brace on.
    fn object(&mut self, node: usize, depth: usize) -> Option<()> {
        if !self.opens(b'}', depth)? {
            return Some(());
        }
        let tree = self.tree;
        let mut object = self.out.spellings.open();
        loop {
            let (start, end) = self.key()?;
            let key = self.text.get(start..end)?;
            match tree.step(node, key) {
                None => self.skip(depth + 1)?,
                Some(step) => {
                    if self.out.spellings.meet(&mut object, step, key.contains('.')) {
                        return None;
                    }
                    self.take(step, depth + 1)?;
                }
            }
            if !self.goes_on(b'}')? {
                break;
            }
        }
        self.out.spellings.close(&object);
        Some(())
    }

    /// A key without escapes and the colon behind it: from and to where it stands.
    #[inline(always)]
    fn key(&mut self) -> Option<(usize, usize)> {
        self.expect(b'"')?;
        let start = self.at;
        let end = plain_end(self.bytes, start);
        self.at = end;
        self.expect(b'"')?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some((start, end))
    }

    /// The value of a key that means something.
    fn take(&mut self, step: &FieldStep, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                let start = self.at;
                let end = plain_end(self.bytes, start);
                let found = if self.bytes.get(end) == Some(&b'"') {
                    self.at = end + 1;
                    Scalar::Text(start, end)
                } else {
                    self.string()?;
                    let text: String = serde_json::from_str(self.text.get(start - 1..self.at)?).ok()?;
                    let from = self.out.unescaped.len();
                    self.out.unescaped.push_str(&text);
                    Scalar::Unescaped(from, self.out.unescaped.len())
                };
                self.found(step, found);
            }
            b'{' => {
                self.found(step, Scalar::Plain(FieldRef::Object));
                match step.child {
                    Some(node) => self.object(node, depth)?,
                    None => self.skip(depth)?,
                }
            }
            b'[' => {
                if !self.opens(b']', depth)? {
                    self.found(step, Scalar::Plain(FieldRef::Null));
                    return Some(());
                }
                loop {
                    self.take(step, depth + 1)?;
                    if !self.goes_on(b']')? {
                        break;
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                self.number()?;
                let written = self.text.get(start..self.at)?;
                self.found(
                    step,
                    match is_beyond_64_bits(written) {
                        true => Scalar::Text(start, self.at),
                        false => Scalar::Plain(number(written)?),
                    },
                );
            }
            b't' => {
                self.word(b"true")?;
                self.found(step, Scalar::Plain(FieldRef::Bool(true)));
            }
            b'f' => {
                self.word(b"false")?;
                self.found(step, Scalar::Plain(FieldRef::Bool(false)));
            }
            b'n' => {
                self.word(b"null")?;
                self.found(step, Scalar::Plain(FieldRef::Null));
            }
            _ => return None,
        }
        Some(())
    }

    #[inline]
    fn found(&mut self, step: &FieldStep, value: Scalar) {
        // Nearly always one: pushing is faster than to extend.
        for path in &step.leaves {
            self.out.found.push((*path, value));
        }
    }

    /// A value that nothing asks for.
    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string()
            }
            b'{' => {
                if !self.opens(b'}', depth)? {
                    return Some(());
                }
                loop {
                    self.key()?;
                    self.skip(depth + 1)?;
                    if !self.goes_on(b'}')? {
                        return Some(());
                    }
                }
            }
            b'[' => {
                if !self.opens(b']', depth)? {
                    return Some(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if !self.goes_on(b']')? {
                        return Some(());
                    }
                }
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => None,
        }
    }

    /// The rest of a string, behind its first quote, up to behind its last.
    #[inline]
    fn string(&mut self) -> Option<()> {
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => match self.bytes.get(self.at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
                    b'u' => {
                        let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.at += 6;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        self.has_extremes |= self.at - start > 300;
        if let Some(b'e' | b'E') = self.peek() {
            self.has_extremes = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }
}

/// The number that a text writes, which is one in JSON.
fn number(text: &str) -> Option<FieldRef<'static>> {
    // Minus zero is a float.
    if text.len() < 18 && text != "-0" && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return text.parse().ok().map(FieldRef::Int);
    }
    let Ok(Value::Number(number)) = serde_json::from_str(text) else { return None };
    super::number_of(&number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_events::FieldPlan;

    use super::*;

    const PATHS: [&str; 6] = ["a", "a.b", "a.b.c", "d.e", "n", "x.k8s.io/y"];

    /// What the skimmer and the parser make of a payload; `None` if the skimmer gives it up.
    fn agrees(text: &str) -> Option<bool> {
        let plan = Arc::new(FieldPlan::new(PATHS));
        let (mut own, mut other) = (FieldsBuilder::new(Arc::clone(&plan)), FieldsBuilder::new(Arc::clone(&plan)));
        let root = plan.tree().root()?;
        Skimmer::default().put(plan.tree(), root, &mut own, text)?;
        let Ok(event) = serde_json::from_str(&super::super::digits::quoted(text)) else { return Some(false) };
        super::super::put_json(&mut other, &event);
        own.end_row();
        other.end_row();
        let sorted = |fields: &mut FieldsBuilder| -> Vec<String> {
            fields.finish(1).iter().map(|c| format!("{:?}", c.values())).collect()
        };
        Some(sorted(&mut own) == sorted(&mut other))
    }

    #[test]
    fn plain_payloads_are_read_as_the_parser_reads_them() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":"x","z":[1,{"q":"\u00e9\n"},-0.5e+3,true,false,null],"n":-0}"#,
            r#"{"a":{"b":{"c":[1,[2,"three"],[],null]}},"d":[{"e":"\"q\" \u00e9"},{"e":18446744073709551615}]}"#,
            r#"{"x.k8s.io/y":"allow","n":123456789012345678901234567890}"#,
            r#"{"x":{"k8s.io/y":1.5},"n":1e3,"a":[]}"#,
            "{\"a\" :\t\"long enough for two words é\" , \"n\":\r\n9223372036854775807}",
        ] {
            assert_eq!(agrees(text), Some(true), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_json_is_given_up() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(120), "}".repeat(120));
        for text in [
            "",
            "[]",
            "{",
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"z":1e}"#,
            r#"{"z":+1}"#,
            r#"{"z":"\x"}"#,
            r#"{"z":"\u12g4"}"#,
            "{\"z\":\"\t\"}",
            r#"{"a":"\ud800"}"#,
            r#"{"n":1e999}"#,
            r#"{"a":tru}"#,
            r#"{"a":1} x"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"\u0061":1}"#,
            "\u{c}{}",
            &deep,
        ] {
            assert_eq!(agrees(text), None, "{text}");
        }
    }
}
