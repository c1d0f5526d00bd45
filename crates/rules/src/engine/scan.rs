//! All literals of a field that may stand anywhere in a text, in one pass or few.
//!
//! Each literal is known by runs of its bytes, its windows. A pass asks of every so manyth place of a text whether a
//! window may begin there, which one bit tells; no step waits for the step before it, as those of an automaton do, and a
//! table of bits stays in the nearest caches where an automaton's states for thousands of literals do not. A literal with
//! windows at as many neighbouring places as a pass steps over is met by it wherever it stands: long literals are sought at
//! every fourth byte only. Windows are chosen rare, and so that few literals share one, which bounds what a hostile text
//! can cost.

use ahash::{HashMap, HashSet};
use regex::bytes::Regex;

use super::program::Hits;

/// Bits of the smallest table of windows, as a power of two: 16 KiB.
const BITS_MIN: u32 = 17;
/// Bits of the largest: 128 KiB.
const BITS_MAX: u32 = 20;

/// In shorter texts a pass is done before a pattern would have begun.
const FEW_FROM: usize = 256;
/// More literals than this are in most texts, or are not searched for by vectors.
const FEW: usize = 48;
/// Literals at more places are found faster by a pass.
const FEW_PLACES: usize = 6;

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
            if memchr::memchr(*byte, text).is_some() {
                hits.add(atoms);
            }
        }
        hits.add(&self.empty);
    }
}

/// The literals of at least `LENGTH + STEP - 1` bytes that are sought by windows of `LENGTH` bytes at every `STEP`th place.
#[derive(Debug)]
struct Pass<const LENGTH: usize, const STEP: usize> {
    /// A bit for each hash of a window.
    table: Box<[u64]>,
    shift: u32,
    /// By the first bits of the hash, where in `places` those of a window begin.
    starts: Box<[u32]>,
    starts_shift: u32,
    places: Box<[Place]>,
    needles: Vec<Needle>,
    /// Finds where a literal begins, if they are few.
    few: Option<Regex>,
}

/// A window, and where in a literal it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    window: u32,
    needle: u32,
    offset: u32,
    /// Bytes of the literal beside the window, which most texts that have the window do not have there: those of `mask`,
    /// from `near_from` on, counted from the window.
    near: u32,
    mask: u32,
    near_from: i32,
}

impl Place {
    fn new<const LENGTH: usize>(window: u32, needle: u32, offset: usize, text: &[u8]) -> Self {
        let (before, after) = (text.get(..offset).unwrap_or_default(), text.get(offset + LENGTH..).unwrap_or_default());
        let (mut near, mut mask) = ([0; 4], [0; 4]);
        let near_from = if after.len() >= before.len().min(4) {
            near.iter_mut().zip(after).for_each(|(own, byte)| *own = *byte);
            mask.iter_mut().zip(after).for_each(|(own, _)| *own = 0xff);
            LENGTH as i32
        } else {
            near.iter_mut().rev().zip(before.iter().rev()).for_each(|(own, byte)| *own = *byte);
            mask.iter_mut().rev().zip(before).for_each(|(own, _)| *own = 0xff);
            -4
        };
        let [near, mask] = [near, mask].map(u32::from_le_bytes);
        Self { window, needle, offset: offset as u32, near, mask, near_from }
    }

    /// Whether the bytes beside a window may be the literal's.
    #[inline(always)]
    fn is_near(&self, text: &[u8], at: usize) -> bool {
        let near = at.checked_add_signed(self.near_from as isize).and_then(|from| text.get(from..)?.first_chunk());
        near.is_none_or(|near| u32::from_le_bytes(*near) & self.mask == self.near)
    }
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
fn hash(window: u32) -> u32 {
    window.wrapping_mul(0x9e37_79b1)
}

/// Windows that are asked about in one go.
const ROUND: usize = 8;

/// A pattern of all the literals, if it is one that vectors search for.
fn few(needles: &[Needle]) -> Option<Regex> {
    if needles.len() > FEW {
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
        let common: HashSet<u32> = COMMON.array_windows().map(|window| value_of::<LENGTH>(*window)).collect();
        let mut shared: HashMap<u32, u32> = HashMap::default();
        let mut places = Vec::new();
        for (needle, Needle { text, .. }) in (0u32..).zip(&needles) {
            let all: Vec<u32> = text.array_windows().map(|window| value_of::<LENGTH>(*window)).collect();
            let cost = |value: &u32| {
                let shared = shared.get(value).copied().unwrap_or(0);
                let bytes = value.to_le_bytes().iter().take(LENGTH).map(|byte| commonness(*byte)).sum::<u32>();
                shared * 4 + bytes + u32::from(common.contains(value)) * 12
            };
            let groups = all.windows(STEP).enumerate();
            let Some((_, first)) = groups.map(|(at, group)| (group.iter().map(cost).sum::<u32>(), at)).min() else {
                continue;
            };
            for (offset, window) in all.iter().enumerate().skip(first).take(STEP) {
                *shared.entry(*window).or_default() += 1;
                places.push(Place::new::<LENGTH>(*window, needle, offset, text));
            }
        }
        // One bit in sixteen tells little falsely.
        let bits = (shared.len() * 16).next_power_of_two().ilog2().clamp(BITS_MIN, BITS_MAX);
        let starts_bits = places.len().next_power_of_two().ilog2().max(1);
        let mut pass = Self {
            table: vec![0; 1 << (bits - 6)].into(),
            shift: 32 - bits,
            starts: Box::default(),
            starts_shift: 32 - starts_bits,
            places: Box::default(),
            few: if LENGTH < 4 { few(&needles) } else { None },
            needles,
        };
        for place in &places {
            let slot = hash(place.window) >> pass.shift;
            pass.table[slot as usize / 64] |= 1 << (slot % 64);
        }
        let first_bits = |place: &Place| hash(place.window) >> pass.starts_shift;
        places.sort_by_key(first_bits);
        pass.starts =
            (0..=1 << starts_bits).map(|of| places.partition_point(|place| first_bits(place) < of) as u32).collect();
        pass.places = places.into();
        Some(pass)
    }

    #[inline]
    fn hits(&self, text: &[u8], counts: &impl Fn(usize) -> bool, hits: &mut Hits) {
        if text.len() >= FEW_FROM
            && let Some(few) = &self.few
            && self.are_few(few, text, counts, hits)
        {
            return;
        }
        let mut at = 0;
        // A round ends where its places do, so that the compiler knows that no window passes the end.
        while let Some(round) = text.get(at..at + (ROUND - 1) * STEP + LENGTH.max(4)) {
            for n in 0..ROUND {
                if self.may_be(Self::window(round, n * STEP)) {
                    self.verify(text, at + n * STEP, counts, hits);
                }
            }
            at += ROUND * STEP;
        }
        while at + LENGTH <= text.len() {
            if self.may_be(Self::window(text, at)) {
                self.verify(text, at, counts, hits);
            }
            at += STEP;
        }
    }

    /// Adds the atoms of few literals; `false` if they stand at too many places to be sought one after the other.
    fn are_few(&self, few: &Regex, text: &[u8], counts: &impl Fn(usize) -> bool, hits: &mut Hits) -> bool {
        let mut from = 0;
        for _ in 0..FEW_PLACES {
            let Some(found) = few.find_at(text, from) else { return true };
            let rest = text.get(found.start()..).unwrap_or_default();
            for needle in self.needles.iter().filter(|needle| rest.starts_with(&needle.text)) {
                if counts(found.start() + needle.text.len()) {
                    hits.add(&needle.atoms);
                }
            }
            from = found.start() + 1;
        }
        false
    }

    /// Whether a window may be one of a literal's.
    #[inline(always)]
    fn may_be(&self, window: u32) -> bool {
        let slot = hash(window) >> self.shift;
        self.table.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    #[inline(always)]
    fn window(text: &[u8], at: usize) -> u32 {
        let rest = text.get(at..).unwrap_or_default();
        match rest.first_chunk() {
            Some(four) => u32::from_le_bytes(*four) & (u32::MAX >> (32 - 8 * LENGTH)),
            None => rest.first_chunk().map_or(0, |window| value_of::<LENGTH>(*window)),
        }
    }

    #[inline(never)]
    fn verify(&self, text: &[u8], at: usize, counts: &impl Fn(usize) -> bool, hits: &mut Hits) {
        let window = Self::window(text, at);
        let first_bits = (hash(window) >> self.starts_shift) as usize;
        let (Some(start), Some(end)) = (self.starts.get(first_bits), self.starts.get(first_bits + 1)) else { return };
        for place in self.places.get(*start as usize..*end as usize).unwrap_or_default() {
            if place.window != window || !place.is_near(text, at) {
                continue;
            }
            let Some(needle) = self.needles.get(place.needle as usize) else { continue };
            let Some(begin) = at.checked_sub(place.offset as usize) else { continue };
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

/// Words that most telemetry is full of, in its keys or its values: windows of theirs tell little.
const COMMON: &[u8] = b" access account action address admission agent allow allowed annotations api application archive args \
    arguments attribute audit authentication authorization bash binary bin/ cache capabilities category client cluster code \
    command comm component config configuration connection container containers content controller count created data date \
    default deployment description destination device direction directory dns drop endpoint error etc/ event exec execve \
    exit exited false field file flags forwarded group groups handler hash header home host hostname http https image info \
    ingress input instance integrity internal ipv4 item job json kernel key kind kube kubernetes label labels layer length \
    level lib/ line linux list local location log logon management manager message metadata method microsoft mode module \
    monitor mount name namespace network node null object openat operation output owner package parameter parent password \
    path permission platform pod policies policy port privileged probe process processes product profile program programs \
    protocol provider python query reason record registry release remote replica report request requestor resource \
    resources response result return role root rule runtime schema script secret security select sensor serial server \
    service serviceaccount session set shell signature size socket source spec stage stat state status stream string \
    success syscall syslog system system32 target task template terminal time timestamp title tmp/ token trace traffic true \
    type unit update uri user username users usr/ uuid value values var/ verdict version volume watch windows work workload \
    workloads world write ";

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
mod tests;
