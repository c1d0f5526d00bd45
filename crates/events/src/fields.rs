//! Raw fields: values that loaded rules name but the event schema has no column for.
//!
//! A [`FieldPlan`] says which dotted paths are wanted; decoders walk the original payload once, following the plan's
//! [`FieldTree`], and leave the values beside the columns of the batch. They are not stored: a hunt takes the same
//! fields from `raw` through the same plan, so that a rule sees the same values live and over history.
//!
//! Path semantics are Sigma's: `a.b` names a key `b` under `a`, or a key spelled `a.b`; arrays on the way contribute each
//! member; an empty array reads as null; a missing key leaves no value at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::build::Outline;

/// The paths that decoders extract, in a fixed order. Shared by all decoders of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPlan {
    paths: Vec<Box<str>>,
    index: BTreeMap<Box<str>, usize>,
    whole: Option<usize>,
    tree: FieldTree,
}

impl FieldPlan {
    /// Plans the given paths; repeated ones count once.
    pub fn new<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> Self {
        let mut sorted: Vec<Box<str>> = paths.into_iter().map(|p| p.as_ref().into()).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let index = sorted.iter().enumerate().map(|(i, p)| (p.clone(), i)).collect();
        let whole = sorted.iter().position(|path| path.is_empty());
        let tree = FieldTree::new(&sorted);
        Self { paths: sorted, index, whole, tree }
    }

    /// The planned paths; a path's place here is its number.
    pub fn paths(&self) -> &[Box<str>] {
        &self.paths
    }

    /// The number of a path, if it is planned. The empty path is none of a field: see [`whole`](Self::whole).
    pub fn number(&self, path: &str) -> Option<usize> {
        self.index.get(path).copied().filter(|_| !path.is_empty())
    }

    /// The number of the payload as a whole, if it is planned as the empty path: its value is an [object](FieldRef::Object)
    /// in rows whose payload was read as JSON. No key leads to it; whoever reads a payload puts it.
    pub fn whole(&self) -> Option<usize> {
        self.whole
    }

    /// The tree that decoders of nested payloads walk.
    pub fn tree(&self) -> &FieldTree {
        &self.tree
    }
}

/// A decision tree over object keys: at each node, what a key of the current object means to the planned paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldTree {
    nodes: Vec<FieldNode>,
}

/// The keys that matter in one kind of object, ordered by their marks. Most keys of a payload have the mark of none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldNode {
    keys: Vec<(Box<str>, FieldStep)>,
    /// Where the keys of each mark end.
    ends: [u32; MARKS],
}

const MARKS: usize = 64;

/// What is told of a key at a glance.
#[inline(always)]
fn mark(key: &str) -> usize {
    let bytes = key.as_bytes();
    let [first, last] = [bytes.first(), bytes.last()].map(|byte| byte.copied().map_or(0, usize::from));
    (first ^ (last << 2) ^ (bytes.len() << 3)) % MARKS
}

impl FieldNode {
    fn new(steps: BTreeMap<&str, FieldStep>) -> Self {
        let mut keys: Vec<(Box<str>, FieldStep)> = steps.into_iter().map(|(key, step)| (key.into(), step)).collect();
        keys.sort_by_key(|(key, _)| mark(key));
        let ends = std::array::from_fn(|of| keys.partition_point(|(key, _)| mark(key) <= of) as u32);
        Self { keys, ends }
    }

    #[inline]
    fn step(&self, key: &str) -> Option<&FieldStep> {
        let mark = mark(key);
        let start = if mark == 0 { 0 } else { self.ends[mark - 1] };
        let alike = self.keys.get(start as usize..self.ends[mark] as usize)?;
        alike.iter().find(|(known, _)| **known == *key).map(|(_, step)| step)
    }
}

/// What a key means at a node of a [`FieldTree`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldStep {
    /// Numbers of the paths that end at this key.
    pub leaves: Vec<usize>,
    /// The node for the object under this key, if longer paths lead through it.
    pub child: Option<usize>,
}

/// What a key stands for while a tree grows: paths that end at it, and remainders of those that go on below it.
#[derive(Default)]
struct Split<'p> {
    leaves: Vec<usize>,
    deeper: Vec<(usize, &'p str)>,
}

impl FieldTree {
    /// The root node's number. An empty tree has none.
    pub fn root(&self) -> Option<usize> {
        (!self.nodes.is_empty()).then_some(0)
    }

    /// What `key` means at `node`.
    #[inline]
    pub fn step(&self, node: usize, key: &str) -> Option<&FieldStep> {
        self.nodes.get(node)?.step(key)
    }

    fn new(paths: &[Box<str>]) -> Self {
        let mut tree = Self::default();
        let wanted: Vec<(usize, &str)> =
            paths.iter().enumerate().filter(|(_, path)| !path.is_empty()).map(|(i, p)| (i, p.as_ref())).collect();
        if !wanted.is_empty() {
            tree.grow(wanted, &mut BTreeMap::new());
        }
        tree
    }

    /// Adds the node for these path remainders: each may be cut at any dot, since keys may hold dots themselves. Remainders
    /// that meet again share a node, without which a path of n dots would make 2^n of them.
    fn grow<'p>(&mut self, wanted: Vec<(usize, &'p str)>, known: &mut BTreeMap<Vec<(usize, &'p str)>, usize>) -> usize {
        if let Some(node) = known.get(&wanted) {
            return *node;
        }
        let node = self.nodes.len();
        self.nodes.push(FieldNode::new(BTreeMap::new()));
        let mut keys: BTreeMap<&str, Split<'_>> = BTreeMap::new();
        for &(path, rest) in &wanted {
            keys.entry(rest).or_default().leaves.push(path);
            for (dot, _) in rest.match_indices('.') {
                if dot > 0 && dot + 1 < rest.len() {
                    keys.entry(&rest[..dot]).or_default().deeper.push((path, &rest[dot + 1..]));
                }
            }
        }
        known.insert(wanted, node);
        let steps = keys.into_iter().map(|(key, Split { leaves, deeper })| {
            let child = (!deeper.is_empty()).then(|| self.grow(deeper, known));
            (key, FieldStep { leaves, child })
        });
        let steps = steps.collect();
        self.nodes[node] = FieldNode::new(steps);
        node
    }
}

/// One scalar of a payload, typed as the payload typed it.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// JSON null, or an empty array.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits 64 bits with sign.
    Int(i64),
    /// A larger unsigned integer.
    UInt(u64),
    /// A number that is no whole one as it is written.
    Float(f64),
    /// Text, or the digits of a whole number beyond 64 bits.
    Str(Box<str>),
    /// An object: present, but not comparable.
    Object,
}

/// A borrowed [`FieldValue`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum FieldRef<'v> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Str(&'v str),
    Object,
}

impl FieldRef<'_> {
    fn to_value(self) -> FieldValue {
        match self {
            Self::Null => FieldValue::Null,
            Self::Bool(b) => FieldValue::Bool(b),
            Self::Int(i) => FieldValue::Int(i),
            Self::UInt(u) => FieldValue::UInt(u),
            Self::Float(f) => FieldValue::Float(f),
            Self::Str(s) => FieldValue::Str(s.into()),
            Self::Object => FieldValue::Object,
        }
    }

    fn hash(self, hasher: &RandomState) -> u64 {
        match self {
            Self::Null => hasher.hash_one(0u8),
            Self::Bool(b) => hasher.hash_one((1u8, b)),
            Self::Int(i) => hasher.hash_one((2u8, i)),
            Self::UInt(u) => hasher.hash_one((3u8, u)),
            Self::Float(f) => hasher.hash_one((4u8, f.to_bits())),
            Self::Str(s) => hasher.hash_one((5u8, s)),
            Self::Object => hasher.hash_one(6u8),
        }
    }
}

impl FieldValue {
    /// Borrows the value.
    pub fn as_ref(&self) -> FieldRef<'_> {
        match self {
            Self::Null => FieldRef::Null,
            Self::Bool(b) => FieldRef::Bool(*b),
            Self::Int(i) => FieldRef::Int(*i),
            Self::UInt(u) => FieldRef::UInt(*u),
            Self::Float(f) => FieldRef::Float(*f),
            Self::Str(s) => FieldRef::Str(s),
            Self::Object => FieldRef::Object,
        }
    }
}

/// One planned path over all rows of a batch: any number of values a row, as codes into the distinct values.
///
/// No codes for a row means that the path is missing there; a null is a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldColumn {
    values: Vec<FieldValue>,
    ends: Vec<u32>,
    codes: Vec<u32>,
    /// The plan of the path, and its number there.
    path: Option<(Arc<FieldPlan>, usize)>,
}

impl FieldColumn {
    /// Whether these are the values of path number `number` of a plan, be it of that plan or of another with the same path
    /// at the same place.
    pub fn is_of(&self, plan: &Arc<FieldPlan>, number: usize) -> bool {
        self.path.as_ref().is_some_and(|(own, place)| {
            *place == number
                && (Arc::ptr_eq(own, plan)
                    || own.paths.get(number).is_some_and(|path| plan.paths.get(number) == Some(path)))
        })
    }

    /// The distinct values of the batch, in order of first appearance.
    pub fn values(&self) -> &[FieldValue] {
        &self.values
    }

    /// The codes of a row's values; empty if the path is missing in the row.
    pub fn codes(&self, row: usize) -> &[u32] {
        // Rows past the last value were never padded: they are missing.
        let end = |row: usize| self.ends.get(row).map_or(self.codes.len(), |&e| e as usize);
        let start = if row == 0 { 0 } else { end(row - 1) };
        &self.codes[start..end(row)]
    }

    /// The same column for rows `start..start + len` of the batch.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        let mut codes = Vec::new();
        let mut ends = Vec::with_capacity(len);
        for row in start..start + len {
            codes.extend_from_slice(self.codes(row));
            ends.push(codes.len() as u32);
        }
        Self { values: self.values.clone(), ends, codes, path: self.path.clone() }
    }
}

/// Collects raw fields row by row, beside an [`crate::EventBuilder`].
#[derive(Debug)]
pub struct FieldsBuilder {
    plan: Arc<FieldPlan>,
    rows: usize,
    columns: Vec<FieldBuilder>,
}

#[derive(Debug)]
struct FieldBuilder {
    column: FieldColumn,
    table: HashTable<u32>,
    hasher: RandomState,
    /// Texts that are found without hashing: one more than their codes, in the slots that their outlines lead to.
    recent: [u32; Outline::SLOTS],
    /// The last row that brought distinct values, and how many there were before it.
    grew: Option<(usize, usize)>,
}

impl FieldBuilder {
    /// Forgets the distinct values past the first `known` ones.
    fn forget(&mut self, known: usize) {
        let Self { column: FieldColumn { values, .. }, table, hasher, recent, .. } = self;
        while values.len() > known
            && let Some(value) = values.pop()
        {
            let code = values.len() as u32;
            if let Ok(entry) = table.find_entry(value.as_ref().hash(hasher), |&other| other == code) {
                entry.remove();
            }
        }
        for slot in recent.iter_mut().filter(|slot| **slot as usize > known) {
            *slot = 0;
        }
    }

    /// The code of a value, given on first sight.
    fn code(&mut self, value: FieldRef<'_>) -> u32 {
        let FieldRef::Str(text) = value else { return self.hashed(value) };
        let slot = Outline::of(text.as_bytes()).slot();
        let recent = self.recent[slot].wrapping_sub(1);
        if self.column.values.get(recent as usize).is_some_and(|known| known.as_ref() == value) {
            return recent;
        }
        let code = self.hashed(value);
        self.recent[slot] = code + 1;
        code
    }

    fn hashed(&mut self, value: FieldRef<'_>) -> u32 {
        let Self { column: FieldColumn { values, .. }, table, hasher, .. } = self;
        let hash = value.hash(hasher);
        if let Some(code) = table.find(hash, |&code| values[code as usize].as_ref() == value) {
            return *code;
        }
        let code = values.len() as u32;
        values.push(value.to_value());
        table.insert_unique(hash, code, |&code| values[code as usize].as_ref().hash(hasher));
        code
    }
}

impl FieldsBuilder {
    /// Starts with no rows. An [`crate::EventBuilder`] has its own; another is for fields of a batch that exists
    /// already, to be put beside it by [`crate::EventBatch::with_fields`].
    pub fn new(plan: Arc<FieldPlan>) -> Self {
        let columns = plan
            .paths
            .iter()
            .map(|_| FieldBuilder {
                column: FieldColumn::default(),
                table: HashTable::new(),
                hasher: RandomState::new(),
                recent: [0; Outline::SLOTS],
                grew: None,
            })
            .collect();
        Self { plan, rows: 0, columns }
    }

    /// The plan that numbers the paths.
    pub fn plan(&self) -> &Arc<FieldPlan> {
        &self.plan
    }

    /// Adds one value of path number `path` to the current row.
    pub fn put(&mut self, path: usize, value: FieldRef<'_>) {
        let Some(builder) = self.columns.get_mut(path) else { return };
        let known = builder.column.values.len();
        let code = builder.code(value);
        if builder.column.values.len() > known && builder.grew.is_none_or(|(row, _)| row != self.rows) {
            builder.grew = Some((self.rows, known));
        }
        let FieldColumn { ends, codes, .. } = &mut builder.column;
        // Where the row of the last value ended, and each row after it without one.
        if ends.len() < self.rows {
            ends.resize(self.rows, codes.len() as u32);
        }
        codes.push(code);
    }

    /// Notes that the payload of the current row was read as JSON, if that is [planned](FieldPlan::whole).
    #[inline]
    pub fn put_whole(&mut self) {
        if let Some(path) = self.plan.whole {
            self.put(path, FieldRef::Object);
        }
    }

    /// Finishes the current row; an [`crate::EventBuilder`] does so for its own.
    pub fn end_row(&mut self) {
        self.rows += 1;
    }

    pub(crate) fn abandon_row(&mut self) {
        for builder in &mut self.columns {
            let column = &mut builder.column;
            if column.ends.len() >= self.rows {
                column.codes.truncate(column.ends.last().copied().unwrap_or(0) as usize);
            }
            if let Some((_, known)) = builder.grew.take_if(|(row, _)| *row == self.rows) {
                builder.forget(known);
            }
        }
    }

    /// Hands over the columns, for so many rows, and starts anew.
    pub fn finish(&mut self, rows: usize) -> Vec<FieldColumn> {
        self.rows = 0;
        self.columns
            .iter_mut()
            .enumerate()
            .map(|(number, builder)| {
                builder.table.clear();
                builder.recent = [0; Outline::SLOTS];
                builder.grew = None;
                let mut column = std::mem::take(&mut builder.column);
                column.ends.resize(rows, column.codes.len() as u32);
                column.path = Some((Arc::clone(&self.plan), number));
                column
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
