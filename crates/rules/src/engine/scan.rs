//! All literals of a field that may stand anywhere in a text, in one pass.
//!
//! Each literal is known by four bytes of it, its window. The pass asks of every four bytes of a text whether they may be
//! a window, which one bit tells; no step waits for the step before it, as those of an automaton do, and a table of bits
//! stays in the nearest cache where an automaton's states for thousands of literals do not. Windows are chosen rare, and
//! so that few literals share one, which bounds what a hostile text can cost.

use ahash::HashMap;

use super::program::Hits;

/// Words of the table of windows: 16 KiB.
const WORDS: usize = 2048;
const BITS: u32 = 17;
const LENGTH: usize = 4;

/// The literals of a field.
#[derive(Debug)]
pub(crate) struct Scan {
    table: Box<[u64; WORDS]>,
    windows: HashMap<u32, Vec<Needle>>,
    short: Option<Short>,
}

/// Literals with less than a window.
#[derive(Debug)]
struct Short {
    /// A bit for every two bytes that a literal begins with.
    table: Box<[u64; 1024]>,
    pairs: HashMap<u16, Vec<Needle>>,
    bytes: Vec<(u8, Vec<u32>)>,
    /// Atoms of the empty literal, which is in every text.
    empty: Vec<u32>,
}

#[derive(Debug)]
struct Needle {
    text: Box<[u8]>,
    /// Where in it the window is.
    window: usize,
    atoms: Vec<u32>,
}

impl Needle {
    /// Whether the literal stands in a text that has its window at a place.
    #[inline]
    fn is_at(&self, text: &[u8], place: usize) -> bool {
        let whole = place.checked_sub(self.window).and_then(|start| text.get(start..));
        whole.is_some_and(|rest| rest.starts_with(&self.text))
    }
}

#[inline(always)]
fn slot(window: u32) -> usize {
    (window.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

impl Scan {
    /// Adds the atoms of all literals that are in a text.
    pub(crate) fn hits(&self, text: &[u8], hits: &mut Hits) {
        self.hits_where(text, |_| true, hits);
    }

    /// Adds the atoms of all literals that are in a text at a place that counts, which is told by where they end.
    pub(crate) fn hits_where(&self, text: &[u8], counts: impl Fn(usize) -> bool, hits: &mut Hits) {
        for (place, window) in text.windows(LENGTH).enumerate() {
            let Ok(window) = window.try_into().map(u32::from_le_bytes) else { continue };
            let slot = slot(window);
            if self.table[slot / 64 % WORDS] >> (slot % 64) & 1 == 1 {
                self.verify(window, text, place, &counts, hits);
            }
        }
        if let Some(short) = &self.short {
            short.hits(text, &counts, hits);
        }
    }

    #[inline(never)]
    fn verify(&self, window: u32, text: &[u8], place: usize, counts: &impl Fn(usize) -> bool, hits: &mut Hits) {
        for needle in self.windows.get(&window).into_iter().flatten() {
            if needle.is_at(text, place) && counts(place - needle.window + needle.text.len()) {
                hits.add(&needle.atoms);
            }
        }
    }
}

impl Short {
    fn hits(&self, text: &[u8], counts: &impl Fn(usize) -> bool, hits: &mut Hits) {
        hits.add(&self.empty);
        for (byte, atoms) in &self.bytes {
            if text.contains(byte) {
                hits.add(atoms);
            }
        }
        if self.pairs.is_empty() {
            return;
        }
        for (place, pair) in text.windows(2).enumerate() {
            let Ok(pair) = pair.try_into().map(u16::from_le_bytes) else { continue };
            if self.table[usize::from(pair / 64)] >> (pair % 64) & 1 == 1 {
                for needle in self.pairs.get(&pair).into_iter().flatten() {
                    if needle.is_at(text, place) && counts(place + needle.text.len()) {
                        hits.add(&needle.atoms);
                    }
                }
            }
        }
    }
}

/// Literals on their way into a scan, each once.
#[derive(Debug, Default)]
pub(crate) struct ScanDraft {
    places: HashMap<Box<str>, usize>,
    literals: Vec<(Box<str>, Vec<u32>)>,
}

impl ScanDraft {
    pub(crate) fn add(&mut self, text: &str, atom: u32) {
        let number = *self.places.entry(text.into()).or_insert_with(|| {
            self.literals.push((text.into(), Vec::new()));
            self.literals.len() - 1
        });
        self.literals[number].1.push(atom);
    }

    /// The scan; `None` without literals.
    pub(crate) fn compile(self) -> Option<Scan> {
        if self.literals.is_empty() {
            return None;
        }
        let mut scan = Scan { table: Box::new([0; WORDS]), windows: HashMap::default(), short: None };
        for (text, atoms) in self.literals {
            let text: Box<[u8]> = text.into_boxed_bytes();
            let candidates = text.windows(LENGTH).enumerate().filter_map(|(at, window)| {
                let value = u32::from_le_bytes(window.try_into().ok()?);
                let shared = scan.windows.get(&value).map_or(0, |needles: &Vec<Needle>| needles.len() as u32);
                Some((shared * 4 + window.iter().map(|byte| commonness(*byte)).sum::<u32>(), at, value))
            });
            match candidates.min() {
                Some((_, window, value)) => {
                    let slot = slot(value);
                    scan.table[slot / 64 % WORDS] |= 1 << (slot % 64);
                    scan.windows.entry(value).or_default().push(Needle { text, window, atoms });
                }
                None => scan.short.get_or_insert_with(Short::new).add(text, atoms),
            }
        }
        Some(scan)
    }
}

impl Short {
    fn new() -> Self {
        Self { table: Box::new([0; 1024]), pairs: HashMap::default(), bytes: Vec::new(), empty: Vec::new() }
    }

    fn add(&mut self, text: Box<[u8]>, atoms: Vec<u32>) {
        match *text {
            [] => self.empty = atoms,
            [byte] => self.bytes.push((byte, atoms)),
            [one, two, ..] => {
                let pair = u16::from_le_bytes([one, two]);
                self.table[usize::from(pair / 64)] |= 1 << (pair % 64);
                self.pairs.entry(pair).or_default().push(Needle { text, window: 0, atoms });
            }
        }
    }
}

/// How common a byte is in folded telemetry, roughly.
fn commonness(byte: u8) -> u32 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b' ' => 4,
        b'c' | b'd' | b'l' | b'm' | b'p' | b'u' | b'0'..=b'9' | b'-' | b'.' | b'/' | b'\\' | b'"' | b':' => 3,
        b'b' | b'f' | b'g' | b'h' | b'v' | b'w' | b'k' | b'y' | b',' | b'_' | b'=' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_every_length_are_found_where_they_stand() {
        let literals = ["", "a", "-t", "-en", "-enc", "encoded", "encodedcommand", "é", "日本語", "dcom", " -enc "];
        let mut draft = ScanDraft::default();
        for (atom, literal) in literals.iter().enumerate() {
            draft.add(literal, atom as u32);
        }
        let scan = draft.compile().unwrap();
        let mut hits = Hits::default();
        for text in
            ["", "a", "-", "-t", "x-enc", "-encodedcommand", "é", "日本語 -t", "x -enc y", "ncodedcomman", "日本"]
        {
            hits.begin(literals.len());
            scan.hits(text.as_bytes(), &mut hits);
            let mut found = hits.atoms.clone();
            found.sort_unstable();
            let expected = (0u32..).zip(literals).filter(|(_, l)| text.contains(l)).map(|(atom, _)| atom);
            assert_eq!(found, expected.collect::<Vec<_>>(), "{text}");
        }
    }
}
