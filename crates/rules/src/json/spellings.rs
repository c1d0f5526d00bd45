//! Whether keys of a payload contest each other: a key came twice, of which the last counts, or a path may be met under two
//! spellings, of which the one with fewer steps counts.
//!
//! A walk that asks this as keys come may take values as it meets them, until it is told so; then only reading the payload
//! whole says what counts.

use palisade_events::fields::FieldStep;

/// The keys that were met in the objects that are open.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    /// Addresses of the steps, outermost object first.
    steps: Vec<usize>,
}

/// An object that is open.
#[derive(Debug)]
pub(super) struct Opened {
    at: usize,
    /// A key with a dot was a path by itself.
    spelled: bool,
    /// A key led further down.
    entered: bool,
}

impl Spellings {
    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }

    pub(super) fn open(&self) -> Opened {
        Opened { at: self.steps.len(), spelled: false, entered: false }
    }

    pub(super) fn close(&mut self, object: &Opened) {
        self.steps.truncate(object.at);
    }

    /// Notes the next key of an object; whether it contests another of the same object.
    #[inline]
    pub(super) fn meet(&mut self, object: &mut Opened, step: &FieldStep, has_dot: bool) -> bool {
        let address = std::ptr::from_ref(step) as usize;
        let is_again = self.steps.iter().skip(object.at).any(|met| *met == address);
        self.steps.push(address);
        let (spells, enters) = (has_dot && !step.leaves.is_empty(), step.child.is_some());
        let is_contested = is_again || (object.spelled && enters) || (spells && object.entered);
        object.spelled |= spells;
        object.entered |= enters;
        is_contested
    }
}
