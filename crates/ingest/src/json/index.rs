//! The one pass over a JSON text: it checks all of the grammar (RFC 8259), and notes where each value begins and ends, so
//! that a subtree is stepped over at once.
//!
//! Not here: what values are; numbers and escapes are checked, but read only when somebody asks.

use std::cell::OnceCell;

use super::Fault;
use super::escape::{self, Spare};
use super::scan::{space_stop, string_stop};

/// Longer texts are refused: places are 31 bits.
const BYTES_MAX: usize = (1 << 31) - 1;

/// Tokens whose room is kept for the next text; an event has some hundred.
const TOKENS_KEPT: usize = 64 << 10;

/// Numbers with fewer characters and no exponent are finite.
const FINITE_CHARS: usize = 300;

/// Marks the start of an object or array, and in [`Index::open`] an object; the end of a string with escapes.
const FLAG: u32 = 1 << 31;

/// One value, key, or closing bracket. Members of containers follow their container, keys precede their values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    start: u32,
    end: u32,
}

impl Token {
    /// Where the first character is: a string's quote, a container's bracket.
    #[inline(always)]
    pub(super) fn start(self) -> usize {
        (self.start & !FLAG) as usize
    }

    /// Past the last character of a literal or number; the closing quote of a string without escapes.
    #[inline(always)]
    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    /// For an object or array, the token after all that is in it. The one before that is its closing bracket.
    #[inline(always)]
    pub(super) fn after(self) -> Option<usize> {
        (self.start & FLAG != 0).then_some(self.end as usize)
    }

    /// For a string with escapes, its number among those.
    #[inline(always)]
    pub(super) fn escaped(self) -> Option<usize> {
        (self.start & FLAG == 0 && self.end & FLAG != 0).then_some((self.end & !FLAG) as usize)
    }
}

/// The innermost container that is open.
#[derive(Clone, Copy)]
enum Inside {
    Object,
    Array,
    Nothing,
}

impl Inside {
    fn of(open: u32) -> Self {
        if open & FLAG != 0 { Self::Object } else { Self::Array }
    }
}

/// A string with escapes, and what it reads as once somebody asked.
#[derive(Debug)]
pub(super) struct Escaped {
    /// Its closing quote.
    pub(super) end: usize,
    pub(super) text: OnceCell<String>,
}

/// What was noted of one text. All of it is linear in the text.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) tokens: Vec<Token>,
    pub(super) escaped: Vec<Escaped>,
    pub(super) spare: Spare,
    /// Tokens of the containers that are open.
    open: Vec<u32>,
}

impl Index {
    /// Notes the values of a text, of which containers nest at most `depth_max` deep.
    pub(super) fn fill(&mut self, text: &str, depth_max: usize) -> Result<(), Fault> {
        self.clear();
        let bytes = text.as_bytes();
        if bytes.len() > BYTES_MAX {
            return Err(Fault::NotJson("longer than 2 GiB".to_owned()));
        }
        let mut at = space_stop(bytes, 0);
        let mut inside = Inside::Nothing;
        loop {
            // A value begins. Strings stand apart from the others, because most values are strings.
            let first = byte(bytes, at);
            if first == b'"' {
                at = self.string(bytes, at)?;
            } else if first == b'{' {
                inside = self.open(at, FLAG, depth_max)?;
                at = space_stop(bytes, at + 1);
                if byte(bytes, at) != b'}' {
                    at = self.key(bytes, at)?;
                    continue;
                }
            } else if first == b'[' {
                inside = self.open(at, 0, depth_max)?;
                at = space_stop(bytes, at + 1);
                if byte(bytes, at) != b']' {
                    continue;
                }
            } else {
                let end = match first {
                    b'-' | b'0'..=b'9' => number(text, at)?,
                    b't' => literal(bytes, at, b"true")?,
                    b'f' => literal(bytes, at, b"false")?,
                    b'n' => literal(bytes, at, b"null")?,
                    _ => return Err(unexpected("a value", at)),
                };
                self.tokens.push(Token { start: at as u32, end: end as u32 });
                at = end;
            }
            // A value has ended, or a container is empty: what closes here?
            loop {
                at = space_stop(bytes, at);
                match (byte(bytes, at), inside) {
                    (b',', Inside::Object) => {
                        at = self.key(bytes, space_stop(bytes, at + 1))?;
                        break;
                    }
                    (b',', Inside::Array) => {
                        at = space_stop(bytes, at + 1);
                        break;
                    }
                    (b'}', Inside::Object) | (b']', Inside::Array) => {
                        inside = self.close(at);
                        at += 1;
                    }
                    (_, Inside::Nothing) if at == bytes.len() => return Ok(()),
                    (_, Inside::Nothing) => return Err(unexpected("the end", at)),
                    (_, Inside::Object) => return Err(unexpected("a comma or a brace", at)),
                    (_, Inside::Array) => return Err(unexpected("a comma or a bracket", at)),
                }
            }
        }
    }

    fn clear(&mut self) {
        for Escaped { text, .. } in self.escaped.drain(..) {
            self.spare.give(text);
        }
        self.open.clear();
        self.tokens.clear();
        self.tokens.shrink_to(TOKENS_KEPT);
        self.escaped.shrink_to(TOKENS_KEPT);
    }

    /// A key and its colon; returns where its value begins.
    #[inline(always)]
    fn key(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fault> {
        if byte(bytes, at) != b'"' {
            return Err(unexpected("a key", at));
        }
        let colon = space_stop(bytes, self.string(bytes, at)?);
        if byte(bytes, colon) != b':' {
            return Err(unexpected("a colon", colon));
        }
        Ok(space_stop(bytes, colon + 1))
    }

    /// A string whose quote is at `at`; returns the place after it.
    #[inline(always)]
    fn string(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fault> {
        let end = string_stop(bytes, at + 1);
        if byte(bytes, end) == b'"' {
            self.tokens.push(Token { start: at as u32, end: end as u32 });
            return Ok(end + 1);
        }
        self.escaped_string(bytes, at, end)
    }

    #[inline(never)]
    fn escaped_string(&mut self, bytes: &[u8], at: usize, mut end: usize) -> Result<usize, Fault> {
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let after = escape::check(bytes, end).ok_or_else(|| unexpected("an escape", end))?;
                    end = string_stop(bytes, after);
                }
                Some(_) => return Err(unexpected("no control character", end)),
                None => return Err(unexpected("a closing quote", end)),
            }
        }
        self.tokens.push(Token { start: at as u32, end: self.escaped.len() as u32 | FLAG });
        self.escaped.push(Escaped { end, text: OnceCell::new() });
        Ok(end + 1)
    }

    #[inline(always)]
    fn open(&mut self, at: usize, flag: u32, depth_max: usize) -> Result<Inside, Fault> {
        if self.open.len() >= depth_max {
            return Err(Fault::TooDeep);
        }
        self.open.push(self.tokens.len() as u32 | flag);
        self.tokens.push(Token { start: at as u32 | FLAG, end: 0 });
        Ok(Inside::of(flag))
    }

    /// Closes the innermost container with the bracket at `at`; returns what that is in.
    #[inline(always)]
    fn close(&mut self, at: usize) -> Inside {
        self.tokens.push(Token { start: at as u32, end: at as u32 + 1 });
        let after = self.tokens.len() as u32;
        if let Some(token) = self.open.pop().and_then(|open| self.tokens.get_mut((open & !FLAG) as usize)) {
            token.end = after;
        }
        self.open.last().map_or(Inside::Nothing, |open| Inside::of(*open))
    }
}

/// The byte at a place, or one that is no JSON past the end.
#[inline(always)]
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Fault> {
    let end = at + word.len();
    if bytes.get(at..end) == Some(word) { Ok(end) } else { Err(unexpected("a value", at)) }
}

/// Where the number that begins at `start` ends. One that no float can hold is refused, as other readers do.
fn number(text: &str, start: usize) -> Result<usize, Fault> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 { Err(unexpected("a digit", from)) } else { Ok(from + count) }
    };
    let whole = start + usize::from(byte(bytes, start) == b'-');
    let mut end = if byte(bytes, whole) == b'0' { whole + 1 } else { digits(whole)? };
    if byte(bytes, end) == b'.' {
        end = digits(end + 1)?;
    }
    let has_exponent = matches!(byte(bytes, end), b'e' | b'E');
    if has_exponent {
        end = digits(end + 1 + usize::from(matches!(byte(bytes, end + 1), b'+' | b'-')))?;
    }
    if has_exponent || end - start >= FINITE_CHARS {
        let value = text.get(start..end).and_then(|number| number.parse().ok());
        if !value.is_some_and(f64::is_finite) {
            return Err(Fault::NotJson(format!("number out of range at byte {start}")));
        }
    }
    Ok(end)
}

#[cold]
fn unexpected(wanted: &str, at: usize) -> Fault {
    Fault::NotJson(format!("expected {wanted} at byte {at}"))
}
