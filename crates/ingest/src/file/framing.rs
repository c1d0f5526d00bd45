//! Where a JSON document ends that lies over several lines.
//!
//! This is lexical: it knows brackets, strings and what may stand next to each other, so that a document is told from
//! the one after it even if it breaks off. Whether the document means anything is the decoder's affair.
//!
//! Not here: reading lines.

/// Containers within each other that are followed: far more than any decoder takes. What is deeper counts as broken.
const DEPTH_MAX: usize = 1024;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a byte is white space between the words of JSON.
pub(super) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a line begins as a JSON object or array does.
pub(super) fn opens(line: &[u8]) -> bool {
    let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    matches!(text.iter().find(|byte| !is_white(**byte)), Some(b'{' | b'['))
}

/// Whether a line ends as a JSON object or array does.
pub(super) fn closes(line: &[u8]) -> bool {
    matches!(line.iter().rfind(|byte| !is_white(**byte)), Some(b'}' | b']'))
}

/// Whether a document can go on with this byte after a container that was closed.
pub(super) fn follows_container(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']')
}

/// Whether a document ends with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// It is complete, or broken: a further line is none of it.
    Ends,
    /// Something is open that a further line may complete.
    GoesOn,
}

/// A document as far as it was seen, a line at a time.
#[derive(Debug)]
pub(super) struct Document {
    /// A bit for each open container, the outermost first: set for an object.
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
    next: Next,
}

/// What may stand next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The document's outermost container.
    Root,
    /// A value, and nothing else.
    Value,
    /// The first value of an array, or its end.
    ValueOrEnd,
    /// The name of a member, and nothing else.
    Name,
    /// The name of an object's first member, or its end.
    NameOrEnd,
    /// What parts a name from its value.
    Colon,
    /// After a value: a further one, or the container's end.
    CommaOrEnd,
    /// Nothing: the document is complete or broken.
    Nothing,
}

impl Document {
    pub(super) fn new() -> Self {
        Self { objects: [0; DEPTH_MAX / 64], depth: 0, next: Next::Root }
    }

    /// Takes the next line, without its line end.
    pub(super) fn line(&mut self, line: &[u8]) -> LineEnd {
        let mut rest = match self.next {
            Next::Root => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            _ => line,
        };
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if is_white(byte) {
                continue;
            }
            // Also where text follows a complete document: what that means is not for this module to say.
            if !self.can_go_on_with(byte) {
                self.next = Next::Nothing;
                break;
            }
            match self.word(byte, rest) {
                Some(after) => rest = after,
                None => {
                    self.next = Next::Nothing;
                    break;
                }
            }
        }
        if self.next == Next::Nothing { LineEnd::Ends } else { LineEnd::GoesOn }
    }

    /// Whether the first byte of a further line that is not white space can belong to the document.
    pub(super) fn can_go_on_with(&self, byte: u8) -> bool {
        let value = matches!(byte, b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
        match self.next {
            Next::Root => matches!(byte, b'{' | b'['),
            Next::Value => value,
            Next::ValueOrEnd => value || byte == b']',
            Next::Name => byte == b'"',
            Next::NameOrEnd => matches!(byte, b'"' | b'}'),
            Next::Colon => byte == b':',
            Next::CommaOrEnd => byte == b',' || byte == if self.in_object() { b'}' } else { b']' },
            Next::Nothing => false,
        }
    }

    /// Takes the word that begins with a byte that may stand here; gives what comes after it. `None` if it is broken,
    /// as a string is that does not end with the line.
    fn word<'l>(&mut self, byte: u8, rest: &'l [u8]) -> Option<&'l [u8]> {
        let after = match byte {
            b'{' | b'[' => {
                self.open(byte == b'{')?;
                return Some(rest);
            }
            b'}' | b']' => {
                self.depth -= 1;
                rest
            }
            b':' => {
                self.next = Next::Value;
                return Some(rest);
            }
            b',' => {
                self.next = if self.in_object() { Next::Name } else { Next::Value };
                return Some(rest);
            }
            b'"' if matches!(self.next, Next::Name | Next::NameOrEnd) => {
                self.next = Next::Colon;
                return after_string(rest);
            }
            b'"' => after_string(rest)?,
            b't' => rest.strip_prefix(b"rue")?,
            b'f' => rest.strip_prefix(b"alse")?,
            b'n' => rest.strip_prefix(b"ull")?,
            _ => after_number(rest),
        };
        self.next = if self.depth == 0 { Next::Nothing } else { Next::CommaOrEnd };
        Some(after)
    }

    fn open(&mut self, object: bool) -> Option<()> {
        let word = self.objects.get_mut(self.depth / 64)?;
        let bit = 1 << (self.depth % 64);
        if object {
            *word |= bit;
            self.next = Next::NameOrEnd;
        } else {
            *word &= !bit;
            self.next = Next::ValueOrEnd;
        }
        self.depth += 1;
        Some(())
    }

    fn in_object(&self) -> bool {
        let Some(last) = self.depth.checked_sub(1) else { return false };
        self.objects.get(last / 64).is_some_and(|word| word >> (last % 64) & 1 == 1)
    }
}

/// What comes after a string whose opening quote was taken.
fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        if rest.get(at) == Some(&b'"') {
            return rest.get(at + 1..);
        }
        rest = rest.get(at + 2..)?;
    }
}

fn after_number(rest: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    let length = rest.iter().take_while(|byte| is_part(byte)).count();
    rest.get(length..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
