//! Opening a file whatever it is packed with, and cutting its content into lines.
//!
//! Not here: which lines make a record ([`super::records`]), and which file is which.

use std::fs::File;
use std::io::{self, Chain, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::framing::{BYTE_ORDER_MARK, is_white};

/// How a file is packed, recognised by its first bytes and never by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Plain text.
    None,
    /// gzip, of one or many members.
    Gzip,
    /// Zstandard, of one or many frames.
    Zstd,
}

impl Compression {
    /// The name as stored in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Finds a compression by its stored name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd].into_iter().find(|c| c.name() == name)
    }
}

/// The decompressed content of a file, from its beginning.
pub(super) type Content = Box<dyn Read + Send>;

/// Opens a file and looks at its first bytes.
pub(super) fn open(path: &Path) -> io::Result<(Content, Compression)> {
    let mut file = File::open(path)?;
    let mut magic = Vec::with_capacity(6);
    (&mut file).take(6).read_to_end(&mut magic)?;
    let compression = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => return Err(unsupported("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(unsupported("xz")),
        [b'P', b'K', 3, 4, ..] => return Err(unsupported("zip")),
        _ => Compression::None,
    };
    let whole: Chain<Cursor<Vec<u8>>, File> = Cursor::new(magic).chain(file);
    let content: Content = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(whole)?),
    };
    Ok((content, compression))
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what} is not supported; gzip and zstd are"))
}

/// Decompressed bytes held at once.
const BUFFER_BYTES: usize = 256 << 10;

/// White space that is looked through for what comes next; must fit the buffer. Behind more of it nothing is found,
/// whichever way the content happens to come in.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// The lines of a content, with a running hash of everything consumed.
pub(super) struct Lines {
    content: Content,
    buffer: Box<[u8]>,
    /// The next byte to consume, the end of what was read, and how far the hash has come.
    position: usize,
    end: usize,
    hashed: usize,
    hasher: blake3::Hasher,
    bytes: u64,
    lines: i64,
    begun: Begun,
    /// Why the content cannot be read further, while that was not yet told.
    fault: Option<io::Error>,
}

/// The place to come back to should the content break.
#[derive(Default)]
struct Begun {
    bytes: u64,
    lines: i64,
    /// The hash up to there, taken only when the buffer is about to forget it.
    hasher: Option<blake3::Hasher>,
}

/// One line, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Bytes in the file, the newline included.
    pub(super) bytes: u64,
    /// Bytes of its line end, `\n` or `\r\n`; 0 if the content ends here and more of the line may come.
    pub(super) end_bytes: u64,
}

impl Lines {
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            position: 0,
            end: 0,
            hashed: 0,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            lines: 0,
            begun: Begun::default(),
            fault: None,
        }
    }

    /// Bytes consumed.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines consumed.
    pub(super) fn lines(&self) -> i64 {
        self.lines
    }

    /// The hash of everything consumed.
    pub(super) fn hash(&mut self) -> [u8; 32] {
        self.absorb(self.position);
        *self.hasher.finalize().as_bytes()
    }

    /// Makes this the place that [`revert`](Self::revert) comes back to.
    pub(super) fn begin(&mut self) {
        self.begun = Begun { bytes: self.bytes, lines: self.lines, hasher: None };
    }

    /// After an error, counts nothing as consumed that was read since [`begin`](Self::begin). There is no reading on.
    pub(super) fn revert(&mut self) {
        if let Some(hasher) = self.begun.hasher.take() {
            self.hasher = hasher;
        }
        (self.bytes, self.lines) = (self.begun.bytes, self.begun.lines);
        (self.position, self.end, self.hashed) = (0, 0, 0);
    }

    /// Keeps an error back until something is asked for that cannot be read because of it.
    pub(super) fn postpone(&mut self, fault: io::Error) {
        self.fault = Some(fault);
    }

    /// Reads the next line and appends at most `kept_max` bytes of it to `into`, without its line end and without the
    /// byte order mark of the content. `None` at the end. After an error the caller reverts.
    pub(super) fn next(&mut self, into: &mut Vec<u8>, kept_max: usize) -> io::Result<Option<Line>> {
        let start = into.len();
        // Room for a mark and a carriage return beyond what is kept, since both are taken off again.
        let room = kept_max.saturating_add(BYTE_ORDER_MARK.len() + 1);
        let mut bytes = 0u64;
        let whole = loop {
            if self.position == self.end && !self.more()? {
                break false;
            }
            let rest = &self.buffer[self.position..self.end];
            let newline = memchr::memchr(b'\n', rest);
            let text = &rest[..newline.unwrap_or(rest.len())];
            let kept = text.len().min(room.saturating_sub(into.len() - start));
            into.extend_from_slice(&text[..kept]);
            let taken = text.len() + usize::from(newline.is_some());
            self.position += taken;
            self.bytes += taken as u64;
            bytes += taken as u64;
            if newline.is_some() {
                break true;
            }
        };
        if bytes == 0 {
            return Ok(None);
        }
        if self.lines == 0 && into[start..].starts_with(BYTE_ORDER_MARK) {
            into.drain(start..start + BYTE_ORDER_MARK.len());
        }
        self.lines += 1;
        let mut end_bytes = u64::from(whole);
        if whole && into.len() > start && into.ends_with(b"\r") {
            into.pop();
            end_bytes = 2;
        }
        into.truncate(start.saturating_add(kept_max).min(into.len()));
        Ok(Some(Line { bytes, end_bytes }))
    }

    /// Looks at the next byte that is not white space, over line ends. `None` if there is none before the content's end
    /// or the bound.
    pub(super) fn ahead(&mut self) -> io::Result<Option<u8>> {
        let mut looked = 0;
        loop {
            let rest = &self.buffer[self.position..self.end];
            let window = &rest[looked..rest.len().min(AHEAD_BYTES_MAX)];
            if let Some(byte) = window.iter().find(|byte| !is_white(**byte)) {
                return Ok(Some(*byte));
            }
            looked += window.len();
            if looked == AHEAD_BYTES_MAX || !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Consumes up to `count` bytes that were read in an earlier run; tells how many there were.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        loop {
            self.begin();
            if left == 0 || self.position == self.end && !self.more()? {
                return Ok(count - left);
            }
            let taken = (self.end - self.position).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.position += taken;
            self.bytes += taken as u64;
            left -= taken as u64;
        }
    }

    /// Hashes the buffer up to a place in it.
    fn absorb(&mut self, to: usize) {
        if self.hashed < to {
            self.hasher.update(&self.buffer[self.hashed..to]);
            self.hashed = to;
        }
    }

    /// Reads behind what is not yet consumed, which must not fill the buffer; tells whether anything came.
    fn more(&mut self) -> io::Result<bool> {
        if self.begun.hasher.is_none() {
            self.absorb(self.position - (self.bytes - self.begun.bytes) as usize);
            self.begun.hasher = Some(self.hasher.clone());
        }
        self.absorb(self.position);
        self.buffer.copy_within(self.position..self.end, 0);
        (self.position, self.end, self.hashed) = (0, self.end - self.position, 0);
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        loop {
            match self.content.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("bytes", &self.bytes).field("lines", &self.lines).finish_non_exhaustive()
    }
}
