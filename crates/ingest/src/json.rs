//! JSON payloads as a simd-json tape, and the one walk that fills columns and raw fields together.
//!
//! Not here: which key belongs in which column; formats say that through [`Columns`].

use palisade_events::EventBuilder;
use palisade_events::fields::{FieldRef, FieldTree, FieldsBuilder};
use simd_json::{Buffers, Node, StaticNode, Tape};

/// Deepest nesting that is ever walked, whatever the configuration says: the walk is recursive.
const DEPTH_CEILING: usize = 256;

/// Why a payload is no usable JSON.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Not JSON; what the parser said.
    NotJson(String),
    /// Nested deeper than the bound.
    TooDeep,
}

impl Fault {
    /// The reason of a reject.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "not_json",
            Self::TooDeep => "too_deep",
        }
    }

    /// What exactly was wrong.
    pub(crate) fn detail(self) -> String {
        match self {
            Self::NotJson(why) => why,
            Self::TooDeep => "nested too deep".into(),
        }
    }
}

/// A parser with its buffers, which are reused from payload to payload.
pub(crate) struct Parser {
    buffers: Buffers,
    tape: Tape<'static>,
    scratch: Vec<u8>,
    open: Vec<usize>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { buffers: Buffers::default(), tape: Tape(Vec::new()), scratch: Vec::new(), open: Vec::new() }
    }
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Parser {
    /// Parses a copy of `payload`, which simd-json overwrites, and hands its root to `read`.
    pub(crate) fn parse<R>(
        &mut self,
        payload: &[u8],
        depth_max: usize,
        read: impl FnOnce(Value<'_, '_>) -> R,
    ) -> Result<R, Fault> {
        self.scratch.clear();
        self.scratch.extend_from_slice(payload);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = simd_json::fill_tape(&mut self.scratch, &mut self.buffers, &mut tape);
        let result = match parsed {
            Err(e) => Err(Fault::NotJson(format!("{:?} at byte {}", e.error(), e.index()))),
            Ok(()) if is_deeper(&tape.0, depth_max.min(DEPTH_CEILING), &mut self.open) => Err(Fault::TooDeep),
            Ok(()) => Ok(read(Value { nodes: &tape.0, at: 0 })),
        };
        self.tape = tape.reset();
        result
    }
}

/// Whether containers nest deeper than `max`: one pass over the tape, with the ends of the open containers.
fn is_deeper(nodes: &[Node<'_>], max: usize, open: &mut Vec<usize>) -> bool {
    open.clear();
    for (at, node) in nodes.iter().enumerate() {
        let (Node::Object { count, .. } | Node::Array { count, .. }) = node else { continue };
        while open.last().is_some_and(|&end| at > end) {
            open.pop();
        }
        open.push(at + count);
        if open.len() > max {
            return true;
        }
    }
    false
}

/// One value on the tape.
#[derive(Clone, Copy)]
pub(crate) struct Value<'t, 'i> {
    nodes: &'t [Node<'i>],
    at: usize,
}

impl<'t, 'i> Value<'t, 'i> {
    fn node(self) -> Node<'i> {
        self.nodes.get(self.at).copied().unwrap_or(Node::Static(StaticNode::Null))
    }

    fn next_at(self) -> usize {
        match self.node() {
            Node::Object { count, .. } | Node::Array { count, .. } => self.at + 1 + count,
            _ => self.at + 1,
        }
    }

    pub(crate) fn str(self) -> Option<&'i str> {
        match self.node() {
            Node::String(s) => Some(s),
            _ => None,
        }
    }

    /// Text that is not empty.
    pub(crate) fn text(self) -> Option<&'i str> {
        self.str().filter(|s| !s.is_empty())
    }

    /// An integer, written as a number or as text: writers differ between versions.
    pub(crate) fn int(self) -> Option<i64> {
        match self.node() {
            Node::Static(StaticNode::I64(n)) => Some(n),
            Node::Static(StaticNode::U64(n)) => i64::try_from(n).ok(),
            Node::String(s) => s.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self.node(), Node::Object { .. })
    }

    pub(crate) fn is_array(self) -> bool {
        matches!(self.node(), Node::Array { .. })
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    pub(crate) fn scalar(self) -> FieldRef<'i> {
        match self.node() {
            Node::String(s) => FieldRef::Str(s),
            Node::Object { .. } | Node::Array { .. } => FieldRef::Object,
            Node::Static(StaticNode::I64(n)) => FieldRef::Int(n),
            Node::Static(StaticNode::U64(n)) => i64::try_from(n).map_or(FieldRef::UInt(n), FieldRef::Int),
            Node::Static(StaticNode::F64(n)) => FieldRef::Float(n),
            Node::Static(StaticNode::Bool(b)) => FieldRef::Bool(b),
            Node::Static(StaticNode::Null) => FieldRef::Null,
        }
    }

    /// Keys and values of an object; nothing for other values.
    pub(crate) fn entries(self) -> impl Iterator<Item = (&'i str, Value<'t, 'i>)> + use<'t, 'i> {
        let mut left = match self.node() {
            Node::Object { len, .. } => len,
            _ => 0,
        };
        let mut at = self.at + 1;
        let nodes = self.nodes;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            left -= 1;
            let key = Value { nodes, at }.str()?;
            let value = Value { nodes, at: at + 1 };
            at = value.next_at();
            Some((key, value))
        })
    }

    /// Members of an array; nothing for other values.
    pub(crate) fn items(self) -> impl Iterator<Item = Value<'t, 'i>> + use<'t, 'i> {
        let mut left = match self.node() {
            Node::Array { len, .. } => len,
            _ => 0,
        };
        let mut at = self.at + 1;
        let nodes = self.nodes;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            left -= 1;
            let value = Value { nodes, at };
            at = value.next_at();
            Some(value)
        })
    }

    /// The first value under a key.
    pub(crate) fn get(self, key: &str) -> Option<Value<'t, 'i>> {
        self.entries().find(|(k, _)| *k == key).map(|(_, value)| value)
    }
}

/// What a format knows of its payload's shape: at each place, what a key means.
pub(crate) trait Columns<'i> {
    /// A kind of object in the payload.
    type Place: Copy;

    /// Takes what `key` at `place` holds, and says what kind of object lies beneath, if anything there matters.
    fn key(
        &mut self,
        place: Self::Place,
        key: &'i str,
        value: Value<'_, 'i>,
        row: &mut EventBuilder,
    ) -> Option<Self::Place>;
}

/// Walks a payload once. Subtrees that neither the columns nor the planned fields ask for are stepped over.
#[derive(Debug)]
pub(crate) struct Walk<'p> {
    tree: &'p FieldTree,
    /// Values that may still be put into the row.
    left: usize,
    /// Paths that a key spelled with dots holds in an object that is being walked: it wins over the nested spelling.
    claimed: Vec<usize>,
}

impl<'p> Walk<'p> {
    pub(crate) fn new(tree: &'p FieldTree, values_max: usize) -> Self {
        Self { tree, left: values_max, claimed: Vec::new() }
    }

    /// Whether the bound on values cut something off.
    pub(crate) fn is_cut(&self) -> bool {
        self.left == 0
    }

    /// Walks `value`: its objects are of kind `place`, and its keys are looked up at `node` of the field tree.
    pub(crate) fn value<'i, C: Columns<'i>>(
        &mut self,
        value: Value<'_, 'i>,
        place: Option<C::Place>,
        node: Option<usize>,
        columns: &mut C,
        row: &mut EventBuilder,
    ) {
        if value.is_object() {
            self.object(value, place, node, columns, row);
        } else {
            for item in value.items() {
                self.value(item, place, node, columns, row);
            }
        }
    }

    fn object<'i, C: Columns<'i>>(
        &mut self,
        object: Value<'_, 'i>,
        place: Option<C::Place>,
        node: Option<usize>,
        columns: &mut C,
        row: &mut EventBuilder,
    ) {
        let outer = self.claimed.len();
        if let Some(node) = node {
            self.claim(object, node);
        }
        for (key, value) in object.entries() {
            let step = node.and_then(|node| self.tree.step(node, key));
            if let Some(step) = step {
                for &path in &step.leaves {
                    if !self.claimed[..outer].contains(&path) {
                        put(row.fields(), path, value, &mut self.left);
                    }
                }
            }
            let below = step.and_then(|step| step.child);
            let place = place.and_then(|place| columns.key(place, key, value, row));
            if place.is_some() || below.is_some() {
                self.value(value, place, below, columns, row);
            }
        }
        self.claimed.truncate(outer);
    }

    fn claim(&mut self, object: Value<'_, '_>, node: usize) {
        for (key, _) in object.entries() {
            if key.contains('.')
                && let Some(step) = self.tree.step(node, key)
            {
                self.claimed.extend_from_slice(&step.leaves);
            }
        }
    }
}

/// Puts a value into a raw field: each member of an array, null for an empty one.
pub(crate) fn put(fields: &mut FieldsBuilder, path: usize, value: Value<'_, '_>, left: &mut usize) {
    if *left == 0 {
        return;
    }
    if !value.is_array() {
        *left -= 1;
        return fields.put(path, value.scalar());
    }
    let mut empty = true;
    for item in value.items() {
        put(fields, path, item, left);
        empty = false;
    }
    if empty {
        *left -= 1;
        fields.put(path, FieldRef::Null);
    }
}

/// Where the members of the array under `key` of the root object lie in `text`, which is valid JSON.
pub(crate) fn member_spans(text: &str, key: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut spans = Vec::new();
    let (mut at, mut depth) = (0, 0usize);
    let mut last_string = (0, 0);
    // Depth 1 is the root object; the members lie at depth 2, inside the wanted array.
    let (mut inside, mut start) = (false, None);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let from = at + 1;
                at = string_end(bytes, from);
                last_string = (from, at);
                if inside && depth == 2 && start.is_none() {
                    start = Some(from - 1);
                }
            }
            open @ (b'{' | b'[') => {
                if inside && depth == 2 && start.is_none() {
                    start = Some(at);
                }
                let named = text.get(last_string.0..last_string.1) == Some(key);
                inside = inside || (depth == 1 && open == b'[' && named);
                depth += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if inside && depth == 1 {
                    spans.extend(start.map(|start| (start, at)));
                    return spans;
                }
            }
            b',' if inside && depth == 2 => spans.extend(start.take().map(|start| (start, at))),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ if inside && depth == 2 && start.is_none() => start = Some(at),
            _ => {}
        }
        at += 1;
    }
    spans
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_list_are_found_in_the_text() {
        let text = r#"{"a":["x"],"kind":"EventList","items": [ {"b":[1,2,"]"]} , 7,"s,\"", [1,[2]] ],"z":[9]}"#;
        let members: Vec<&str> = member_spans(text, "items").iter().map(|&(s, e)| text[s..e].trim()).collect();
        assert_eq!(members, [r#"{"b":[1,2,"]"]}"#, "7", r#""s,\"""#, "[1,[2]]"]);
        assert!(member_spans(r#"{"items":[]}"#, "items").is_empty());
    }

    #[test]
    fn depth_is_bounded() {
        let mut parser = Parser::default();
        for (depth, fits) in [(64, true), (65, false), (100_000, false)] {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            let result = parser.parse(text.as_bytes(), 64, |_| ());
            assert_eq!(result.is_ok(), fits, "{depth}");
        }
        assert!(parser.parse(br#"[{"a":[1]},{"a":[1]},[[]]]"#, 3, |_| ()).is_ok());
    }

    #[test]
    fn large_integers_are_exact() {
        let seen = Parser::default().parse(br#"{"t":1709283154832049033,"u":18446744073709551615}"#, 9, |root| {
            (root.get("t").and_then(Value::int), root.get("u").map(|u| u.scalar() == FieldRef::UInt(u64::MAX)))
        });
        assert_eq!(seen.unwrap(), (Some(1_709_283_154_832_049_033), Some(true)));
    }
}
