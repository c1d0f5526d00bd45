//! Text as Sigma compares it: case folding, and patterns of literals and wildcards.
//!
//! Not here: which values are compared with which patterns (see [`crate::predicate`]).

use std::borrow::Cow;

/// Whether upper and lower case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Case {
    /// Sigma's default: compare folded text.
    Folded,
    /// The `cased` modifier: compare text as it is.
    Exact,
}

impl Case {
    /// The text as this case compares it.
    pub(crate) fn of<'t>(self, text: &'t str) -> Cow<'t, str> {
        match self {
            Case::Exact => Cow::Borrowed(text),
            Case::Folded => fold(text),
        }
    }
}

/// Folds one character to one character, so that `?` counts the same before and after: `ß` stays, `ẞ` becomes `ß`, both
/// sigmas become one.
pub(crate) fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    // Lowering the upper case joins characters that only share an upper case (ς and σ); dotless i must not join i.
    if c == 'ı' {
        return c;
    }
    let mut upper = c.to_uppercase();
    let c = match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    };
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Folds text; borrows when nothing changes.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    Cow::Owned(out)
}

/// Folds text into a buffer, which is emptied first.
pub(crate) fn fold_into(text: &str, out: &mut String) {
    out.clear();
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.extend(text.chars().map(fold_char));
    }
}

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any text, also none.
    Any,
    /// Any of the dashes that Windows programs take for an option.
    Dash,
}

/// The dashes of `windash`.
pub(crate) const DASHES: [char; 5] = ['-', '/', '–', '—', '―'];

impl Step {
    fn takes(self, c: char) -> bool {
        match self {
            Step::Char(own) => own == c,
            Step::One => true,
            Step::Dash => DASHES.contains(&c),
            Step::Any => false,
        }
    }
}

/// A pattern with wildcards over a whole text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Glob(pub(crate) Vec<Step>);

impl Glob {
    /// Whether the whole text fits.
    ///
    /// Remembers only the last `*`: when the steps after it fail, it takes one character more. No recursion, so that
    /// a hostile text costs at most its length times the pattern's.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let steps = &self.0;
        let (mut at, mut step) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            if steps.get(step) == Some(&Step::Any) {
                step += 1;
                if step == steps.len() {
                    return true;
                }
                retry = Some((at, step));
                continue;
            }
            let next = text[at..].chars().next();
            match (next, steps.get(step)) {
                (None, None) => return true,
                (Some(c), Some(own)) if own.takes(c) => {
                    at += c.len_utf8();
                    step += 1;
                }
                _ => {
                    let Some((start, after)) = retry else { return false };
                    let Some(skipped) = text[start..].chars().next() else { return false };
                    at = start + skipped.len_utf8();
                    step = after;
                    retry = Some((at, after));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_the_number_of_characters() {
        for (text, folded) in
            [("AbC", "abc"), ("CONTRASEÑA", "contraseña"), ("STRAẞE", "straße"), ("ΣΑΣ ς", "σασ σ"), ("İıK", "İık")]
        {
            assert_eq!(fold(text), folded);
            assert_eq!(text.chars().count(), folded.chars().count());
        }
    }

    fn glob(text: &str) -> Glob {
        Glob(
            text.chars()
                .map(|c| match c {
                    '*' => Step::Any,
                    '?' => Step::One,
                    '-' => Step::Dash,
                    c => Step::Char(c),
                })
                .collect(),
        )
    }

    #[test]
    fn wildcards_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcd", false),
            ("a?c", "a€c", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab ab", true),
            ("*ab?d*", "ab abcd", true),
            ("", "", true),
            ("", "a", false),
            ("?*", "", false),
            ("*-x", "a ―x", true),
        ] {
            assert_eq!(glob(pattern).fits(text), fits, "{pattern} on {text}");
        }
    }
}
