//! JSON payloads: one pass over the text checks it and notes where its values are, and one walk over what somebody asked
//! for fills columns and raw fields together. No tree is built, and no text is copied but that of escapes.
//!
//! Not here: which key belongs in which column; formats say that through [`Columns`].

use palisade_events::EventBuilder;
use palisade_events::fields::{FieldRef, FieldTree, FieldsBuilder};

use self::index::Index;
use self::value::Indexed;
pub(crate) use self::value::Value;

mod scan;
mod escape;
mod index;
mod value;

/// Deepest nesting that is ever walked, whatever the configuration says: the walk is recursive, and what reads stored payloads
/// later takes deeper ones for no JSON.
const DEPTH_CEILING: usize = 127;

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
#[derive(Default)]
pub(crate) struct Parser {
    index: Index,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Parser {
    /// Checks all of `payload`, then hands its root to `read`: what `read` sees is valid JSON to the last byte.
    ///
    /// # Errors
    /// Whichever comes first in the text: a fault of its grammar, or a container that nests deeper than `depth_max`.
    pub(crate) fn parse<R>(
        &mut self,
        payload: &str,
        depth_max: usize,
        read: impl FnOnce(Value<'_, '_>) -> R,
    ) -> Result<R, Fault> {
        self.index.fill(payload, depth_max.min(DEPTH_CEILING))?;
        Ok(read(Value::root(&Indexed { text: payload, index: &self.index })))
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

    /// Values that may still be put.
    pub(crate) fn left(&self) -> usize {
        self.left
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
        let mut may_claim = true;
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
            if let Some(node) = node.filter(|_| may_claim && below.is_some()) {
                // Only for what lies deeper does it matter what is spelled with dots here.
                self.claim(object, node);
                may_claim = false;
            }
            if place.is_some() || below.is_some() {
                self.value(value, place, below, columns, row);
            }
        }
        self.claimed.truncate(outer);
    }

    fn claim(&mut self, object: Value<'_, '_>, node: usize) {
        for (key, _) in object.entries() {
            let Some(step) = self.tree.step(node, key).filter(|_| key.contains('.')) else { continue };
            for path in &step.leaves {
                // Once each, however often the key stands there: every value beneath looks through all of them.
                if !self.claimed.contains(path) {
                    self.claimed.push(*path);
                }
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
        return fields.put(path, value.field());
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

#[cfg(test)]
mod tests;
