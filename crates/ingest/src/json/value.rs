//! One value of a JSON text: what kind it is, what it holds, and the text that it is written as.

use std::ops::Range;

use palisade_events::fields::FieldRef;

use super::index::{Index, Token};

/// A text and its index.
#[derive(Clone, Copy)]
pub(super) struct Indexed<'i> {
    pub(super) text: &'i str,
    pub(super) index: &'i Index,
}

/// One value in an indexed text. What it lends for `'i` outlives the walk.
#[derive(Clone, Copy)]
pub(crate) struct Value<'t, 'i> {
    of: &'t Indexed<'i>,
    at: usize,
}

impl<'t, 'i> Value<'t, 'i> {
    pub(super) fn root(of: &'t Indexed<'i>) -> Self {
        Self { of, at: 0 }
    }

    #[inline(always)]
    fn token(self) -> Option<Token> {
        self.of.index.tokens.get(self.at).copied()
    }

    /// The token, and the first byte of what it stands for.
    #[inline(always)]
    fn look(self) -> Option<(Token, u8)> {
        let token = self.token()?;
        Some((token, *self.of.text.as_bytes().get(token.start())?))
    }

    fn kind(self) -> Option<u8> {
        self.look().map(|(_, first)| first)
    }

    #[inline(always)]
    fn next_at(self) -> usize {
        self.token().and_then(Token::after).unwrap_or(self.at + 1)
    }

    #[inline]
    pub(crate) fn str(self) -> Option<&'i str> {
        let (token, first) = self.look()?;
        if first == b'"' { Some(self.string(token)) } else { None }
    }

    #[inline(always)]
    fn string(self, token: Token) -> &'i str {
        let Indexed { text, index } = *self.of;
        match token.escaped() {
            None => text.get(token.start() + 1..token.end()).unwrap_or_default(),
            Some(number) => index.escaped.get(number).map_or("", |escaped| {
                let written = text.get(token.start() + 1..escaped.end).unwrap_or_default();
                escaped.text.get_or_init(|| index.spare.read(written))
            }),
        }
    }

    /// Text that is not empty.
    pub(crate) fn text(self) -> Option<&'i str> {
        self.str().filter(|s| !s.is_empty())
    }

    /// An integer, written as a number or as text: writers differ between versions.
    pub(crate) fn int(self) -> Option<i64> {
        match self.look()? {
            (token, b'"') => self.string(token).parse().ok(),
            (token, b'-' | b'0'..=b'9') => self.of.text.get(token.start()..token.end())?.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn is_object(self) -> bool {
        self.kind() == Some(b'{')
    }

    pub(crate) fn is_array(self) -> bool {
        self.kind() == Some(b'[')
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.kind(), Some(b'n') | None)
    }

    /// The value as a raw field holds it: as [`Self::scalar`], but whole numbers that no 64 bits hold are the text of their
    /// digits, so that rules compare all of them.
    pub(crate) fn field(self) -> FieldRef<'i> {
        match self.scalar() {
            FieldRef::Float(_) if is_whole(self.raw()) => FieldRef::Str(self.raw()),
            other => other,
        }
    }

    /// The value, if it is no container. Integers that no 64 bits hold are floats.
    pub(crate) fn scalar(self) -> FieldRef<'i> {
        match self.look() {
            Some((token, b'"')) => FieldRef::Str(self.string(token)),
            Some((_, b'{' | b'[')) => FieldRef::Object,
            Some((_, b't')) => FieldRef::Bool(true),
            Some((_, b'f')) => FieldRef::Bool(false),
            Some((token, b'-' | b'0'..=b'9')) => {
                let number = self.of.text.get(token.start()..token.end()).unwrap_or_default();
                let int = number.parse().map(FieldRef::Int);
                let int = int.or_else(|_| number.parse().map(FieldRef::UInt));
                int.unwrap_or_else(|_| number.parse().map_or(FieldRef::Null, FieldRef::Float))
            }
            _ => FieldRef::Null,
        }
    }

    /// Where in the text the value is.
    pub(crate) fn span(self) -> Range<usize> {
        let Some((token, first)) = self.look() else { return 0..0 };
        let Indexed { index, .. } = *self.of;
        let end = match (first, token.after(), token.escaped()) {
            (_, Some(after), _) => index.tokens.get(after.saturating_sub(1)).map(|close| close.end()),
            (_, _, Some(number)) => index.escaped.get(number).map(|escaped| escaped.end + 1),
            (b'"', ..) => Some(token.end() + 1),
            _ => Some(token.end()),
        };
        token.start()..end.unwrap_or(token.start())
    }

    /// The value exactly as the text holds it.
    pub(crate) fn raw(self) -> &'i str {
        self.of.text.get(self.span()).unwrap_or_default()
    }

    /// What is in a container that opens with `bracket`; nothing for other values.
    #[inline]
    fn members(self, bracket: u8) -> Members<'t, 'i> {
        let end = self.look().filter(|(_, first)| *first == bracket).and_then(|(token, _)| token.after());
        Members { of: self.of, at: self.at + 1, end: end.map_or(0, |after| after.saturating_sub(1)) }
    }

    /// Keys and values of an object; nothing for other values.
    #[inline]
    pub(crate) fn entries(self) -> impl Iterator<Item = (&'i str, Value<'t, 'i>)> + use<'t, 'i> {
        Entries(self.members(b'{'))
    }

    /// Members of an array; nothing for other values.
    #[inline]
    pub(crate) fn items(self) -> impl Iterator<Item = Value<'t, 'i>> + use<'t, 'i> {
        self.members(b'[')
    }

    /// The first value under a key.
    pub(crate) fn get(self, key: &str) -> Option<Value<'t, 'i>> {
        self.entries().find(|(k, _)| *k == key).map(|(_, value)| value)
    }
}

/// Steps from token to token of a container, over what is inside of each.
struct Members<'t, 'i> {
    of: &'t Indexed<'i>,
    at: usize,
    end: usize,
}

impl<'t, 'i> Iterator for Members<'t, 'i> {
    type Item = Value<'t, 'i>;

    #[inline(always)]
    fn next(&mut self) -> Option<Value<'t, 'i>> {
        if self.at >= self.end {
            return None;
        }
        let value = Value { of: self.of, at: self.at };
        self.at = value.next_at();
        Some(value)
    }
}

/// The same, by pairs.
struct Entries<'t, 'i>(Members<'t, 'i>);

impl<'t, 'i> Iterator for Entries<'t, 'i> {
    type Item = (&'i str, Value<'t, 'i>);

    #[inline(always)]
    fn next(&mut self) -> Option<(&'i str, Value<'t, 'i>)> {
        let Members { of, at, end } = self.0;
        if at >= end {
            return None;
        }
        let key = Value { of, at };
        self.0.at = at + 1;
        Some((key.string(key.token()?), self.0.next()?))
    }
}

/// Whether a number is written without a fraction and an exponent.
fn is_whole(number: &str) -> bool {
    number.strip_prefix('-').unwrap_or(number).bytes().all(|byte| byte.is_ascii_digit())
}
