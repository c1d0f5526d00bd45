//! All literals of a field that may stand anywhere in a text, in one pass or few.
//!
//! Each literal is known by runs of its bytes, its windows. A pass asks of every so manyth place of a text whether a
//! window may begin there, which one bit tells; no step waits for the step before it, as those of an automaton do, and a
//! table of bits stays in the nearest caches where an automaton's states for thousands of literals do not. A literal with
//! windows at as many neighbouring places as a pass steps over is met by it wherever it stands: long literals are sought at
//! every fourth byte only. Windows are chosen rare, and so that few literals share one, which bounds what a hostile text
//! can cost.

use ahash::HashMap;
use regex::bytes::Regex;

use super::program::Hits;

/// Bits of the smallest table of windows, as a power of two: 8 KiB.
const BITS_MIN: u32 = 16;
/// Bits of the largest: 128 KiB.
const BITS_MAX: u32 = 20;

/// Shorter texts are passed over before a pattern would have begun.
const GATED_MIN: usize = 256;
/// More literals than this are in most texts, or are not searched for by vectors.
const GATED_MAX: usize = 48;

/// The literals of a field.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    long: Option<Pass<4, 4>>,
    middle: Option<Pass<3, 2>>,
    threes: Option<Pass<2, 2>>,
    twos: Option<Pass<2, 1>>,
    bytes: Vec<(u8, Vec<u32>)>,
    /// Atoms of the empty literal, which is in every text.
    empty: Vec<u32>,
}

impl Scan {
    /// Adds the atoms of all literals that are in a text.
    pub(crate) fn hits(&self, text: &[u8], hits: &mut Hits) {
        self.hits_where(text, |_| true, hits);
    }

    /// Adds the atoms of all literals that are in a text at a place that counts, which is told by where they end.
    pub(crate) fn hits_where(&self, text: &[u8], counts: impl Fn(usize) -> bool, hits: &mut Hits) {
        if let Some(pass) = &self.long {
            pass.hits(text, &counts, hits);
        }
        if let Some(pass) = &self.middle {
            pass.hits(text, &counts, hits);
        }
        if let Some(pass) = &self.threes {
            pass.hits(text, &counts, hits);
        }
        if let Some(pass) = &self.twos {
            pass.hits(text, &counts, hits);
        }
        for (byte, atoms) in &self.bytes {
            if text.contains(byte) {
                hits.add(atoms);
            }
        }
        hits.add(&self.empty);
    }
}

/// The literals of at least `LENGTH + STEP - 1` bytes that are sought by windows of `LENGTH` bytes at every `STEP`th place.
#[derive(Debug)]
struct Pass<const LENGTH: usize, const STEP: usize> {
    table: Box<[u64]>,
    shift: u32,
    /// Where in `places` those of a window are.
    windows: HashMap<u32, (u32, u32)>,
    places: Vec<Place>,
    needles: Vec<Needle>,
    /// Tells of long texts, faster than a pass, that they have none of few short literals.
    gate: Option<Regex>,
}

/// A literal, and where in it a window is.
#[derive(Clone, Copy, Debug)]
struct Place {
    needle: u32,
    window: u32,
}

#[derive(Debug)]
struct Needle {
    text: Box<[u8]>,
    atoms: Vec<u32>,
}

#[inline(always)]
fn value_of<const LENGTH: usize>(window: [u8; LENGTH]) -> u32 {
    let mut bytes = [0; 4];
    bytes[..LENGTH].copy_from_slice(&window);
    u32::from_le_bytes(bytes)
}

#[inline(always)]
fn slot(window: u32, shift: u32) -> u32 {
    window.wrapping_mul(0x9e37_79b1) >> shift
}

/// A pattern of all the literals, if it is one that vectors search for.
fn gate(needles: &[Needle]) -> Option<Regex> {
    if needles.len() > GATED_MAX {
        return None;
    }
    let texts: Option<Vec<String>> =
        needles.iter().map(|needle| Some(regex::escape(std::str::from_utf8(&needle.text).ok()?))).collect();
    Regex::new(&texts?.join("|")).ok()
}

impl<const LENGTH: usize, const STEP: usize> Pass<LENGTH, STEP> {
    /// `None` without literals.
    fn new(needles: Vec<Needle>) -> Option<Self> {
        if needles.is_empty() {
            return None;
        }
        let mut windows: HashMap<u32, Vec<Place>> = HashMap::default();
        for (needle, Needle { text, .. }) in (0u32..).zip(&needles) {
            let all: Vec<u32> = text.array_windows().map(|window| value_of::<LENGTH>(*window)).collect();
            let cost = |value: &u32| {
                let shared = windows.get(value).map_or(0, |places| places.len() as u32);
                shared * 4 + value.to_le_bytes().iter().take(LENGTH).map(|byte| commonness(*byte)).sum::<u32>()
            };
            let groups = all.windows(STEP).enumerate();
            let Some((_, first)) = groups.map(|(at, group)| (group.iter().map(cost).sum::<u32>(), at)).min() else {
                continue;
            };
            for (window, value) in (0u32..).zip(&all).skip(first).take(STEP) {
                windows.entry(*value).or_default().push(Place { needle, window });
            }
        }
        // One bit in sixteen tells little falsely.
        let bits = (windows.len() * 16).next_power_of_two().ilog2().clamp(BITS_MIN, BITS_MAX);
        let mut pass = Self {
            table: vec![0; 1 << (bits - 6)].into(),
            shift: 32 - bits,
            windows: HashMap::default(),
            places: Vec::new(),
            gate: if LENGTH < 4 { gate(&needles) } else { None },
            needles,
        };
        let mut windows: Vec<(u32, Vec<Place>)> = windows.into_iter().collect();
        windows.sort_unstable_by_key(|(value, _)| *value);
        for (value, places) in windows {
            let slot = slot(value, pass.shift);
            pass.table[slot as usize / 64] |= 1 << (slot % 64);
            let start = pass.places.len() as u32;
            pass.places.extend(places);
            pass.windows.insert(value, (start, pass.places.len() as u32));
        }
        Some(pass)
    }

    #[inline]
    fn hits(&self, text: &[u8], counts: &impl Fn(usize) -> bool, hits: &mut Hits) {
        if text.len() >= GATED_MIN
            && let Some(gate) = &self.gate
            && !gate.is_match(text)
        {
            return;
        }
        for (place, window) in text.array_windows().enumerate().step_by(STEP) {
            let window = value_of::<LENGTH>(*window);
            let slot = slot(window, self.shift);
            if self.table.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1) {
                self.verify(window, text, place, counts, hits);
            }
        }
    }

    #[inline(never)]
    fn verify(&self, window: u32, text: &[u8], at: usize, counts: &impl Fn(usize) -> bool, hits: &mut Hits) {
        let Some((start, end)) = self.windows.get(&window) else { return };
        for place in self.places.get(*start as usize..*end as usize).unwrap_or_default() {
            let Some(needle) = self.needles.get(place.needle as usize) else { continue };
            let Some(begin) = at.checked_sub(place.window as usize) else { continue };
            let whole = text.get(begin..).is_some_and(|rest| rest.starts_with(&needle.text));
            if whole && counts(begin + needle.text.len()) {
                hits.add(&needle.atoms);
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
        let mut scan = Scan::default();
        let [mut long, mut middle, mut threes, mut twos] = [const { Vec::new() }; 4];
        for (text, atoms) in self.literals {
            let needle = Needle { text: text.into_boxed_bytes(), atoms };
            match *needle.text {
                [] => scan.empty = needle.atoms,
                [byte] => scan.bytes.push((byte, needle.atoms)),
                [_, _] => twos.push(needle),
                [_, _, _] => threes.push(needle),
                [_, _, _, _] | [_, _, _, _, _] | [_, _, _, _, _, _] => middle.push(needle),
                _ => long.push(needle),
            }
        }
        scan.long = Pass::new(long);
        scan.middle = Pass::new(middle);
        scan.threes = Pass::new(threes);
        scan.twos = Pass::new(twos);
        Some(scan)
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
