//! The one scan that clean payloads cost: which bytes could be the sign of a secret.
//!
//! It may suspect too much, never too little: what it calls clean is not looked at again.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, packed};

/// What finding a needle means.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// Look closely at once.
    Certain,
    /// Look closely if what follows fits.
    If(fn(&[u8], usize) -> bool),
    /// The document may hold a Kubernetes Secret; matters together with [`Sign::Data`].
    Secret,
    /// The document holds a map of values; matters together with [`Sign::Secret`].
    Data,
}

/// Lower-case needles. A check is given the bytes, as they were written, and the place after the needle.
///
/// Matches do not overlap and the leftmost wins, so a needle that another one swallows must be that one's concern.
const SIGNS: &[(&str, Sign)] = &[
    ("private key", Sign::Certain),
    ("private+key", Sign::Certain),
    ("private%20key", Sign::Certain),
    ("eyj", Sign::If(is_jwt)),
    ("ghp_", Sign::Certain),
    ("gho_", Sign::Certain),
    ("ghu_", Sign::Certain),
    ("ghs_", Sign::Certain),
    ("ghr_", Sign::Certain),
    ("github_pat_", Sign::Certain),
    ("xoxa-", Sign::Certain),
    ("xoxb-", Sign::Certain),
    ("xoxe-", Sign::Certain),
    ("xoxo-", Sign::Certain),
    ("xoxp-", Sign::Certain),
    ("xoxr-", Sign::Certain),
    ("xoxs-", Sign::Certain),
    ("akia", Sign::If(is_aws_key)),
    ("asia", Sign::If(is_aws_key)),
    ("aws_secret", Sign::Certain),
    ("aws-secret", Sign::Certain),
    ("awssecret", Sign::Certain),
    ("secret_access_key", Sign::Certain),
    ("secretaccesskey", Sign::Certain),
    ("authorization", Sign::If(is_assigned)),
    (
        "bearer",
        Sign::If(|bytes, at| {
            bytes.get(at).is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'\\' | b'+' | b'%'))
        }),
    ),
    ("://", Sign::If(has_userinfo)),
    (":\\/", Sign::Certain),
    ("%3a%2f%2f", Sign::Certain),
    ("password", Sign::Certain),
    ("passwd", Sign::Certain),
    ("passphrase", Sign::Certain),
    ("mysql", Sign::If(|bytes, at| has_option(bytes, at, b"-p"))),
    ("mariadb", Sign::If(|bytes, at| has_option(bytes, at, b"-p"))),
    ("sshpass", Sign::Certain),
    ("curl ", Sign::If(|bytes, at| has_option(bytes, at, b"u"))),
    ("curl+", Sign::Certain),
    ("curl%", Sign::Certain),
    ("token", Sign::If(is_assigned)),
    ("api_key", Sign::Certain),
    ("apikey", Sign::Certain),
    ("api-key", Sign::Certain),
    ("client_secret", Sign::Certain),
    ("clientsecret", Sign::Certain),
    ("client-secret", Sign::Certain),
    ("secret\",\"value\"", Sign::Certain),
    ("key\",\"value\"", Sign::Certain),
    ("\\u00", Sign::If(is_needless_escape)),
    ("\"secret", Sign::Secret),
    ("\"data\"", Sign::Data),
    ("\"data\\", Sign::Data),
    ("\"stringdata", Sign::Data),
    ("\"binarydata", Sign::Data),
    ("/data", Sign::Data),
    ("/stringdata", Sign::Data),
];

/// All needles at once, over text in lower case.
static NEEDLES: LazyLock<Needles> = LazyLock::new(Needles::new);

enum Needles {
    /// Vector instructions compare three bytes of every needle at sixteen or thirty-two places at a time.
    Packed(packed::Searcher),
    /// Where a processor has none: an automaton, a table lookup a byte.
    Automaton(AhoCorasick),
}

impl Needles {
    fn new() -> Self {
        let needles = || SIGNS.iter().map(|(needle, _)| needle);
        let packed = packed::Config::new().heuristic_pattern_limits(false).builder().extend(needles()).build();
        packed.map_or_else(Self::automaton, Self::Packed)
    }

    fn automaton() -> Self {
        let needles = SIGNS.iter().map(|(needle, _)| needle);
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostFirst).kind(Some(AhoCorasickKind::DFA)).prefilter(false);
        Self::Automaton(builder.build(needles).expect("constant needles"))
    }

    fn suspect(&self, bytes: &[u8], folded: &[u8]) -> bool {
        match self {
            Self::Packed(searcher) => suspect(bytes, searcher.find_iter(folded)),
            Self::Automaton(automaton) => suspect(bytes, automaton.find_iter(folded)),
        }
    }
}

/// Whether a JSON text could hold a secret.
pub(super) fn is_suspicious(bytes: &[u8]) -> bool {
    thread_local! {
        /// The text in lower case: folding it first is much cheaper than searching for two cases.
        static FOLDED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    FOLDED.with_borrow_mut(|folded| {
        folded.clear();
        folded.extend_from_slice(bytes);
        folded.make_ascii_lowercase();
        NEEDLES.suspect(bytes, folded)
    })
}

fn suspect(bytes: &[u8], found: impl Iterator<Item = aho_corasick::Match>) -> bool {
    let (mut secret, mut data) = (false, false);
    for found in found {
        match SIGNS[found.pattern().as_usize()].1 {
            Sign::Certain => return true,
            Sign::If(fits) if fits(bytes, found.end()) => return true,
            Sign::If(_) => {}
            Sign::Secret if is_secret_itself(bytes, found.end()) => return true,
            Sign::Secret => secret = true,
            Sign::Data => data = true,
        }
        if secret && data {
            return true;
        }
    }
    false
}

/// After `"secret`: a key that names a secret, or the name of a variable whose value follows.
fn is_secret_itself(bytes: &[u8], end: usize) -> bool {
    let next = bytes[end..].first();
    next.is_some_and(|b| matches!(b, b'_' | b'-' | b'a' | b'A')) || bytes[end..].starts_with(b"\",\"value\"")
}

/// Where the first map of values starts in a text that is no JSON: past the key's colon.
pub(super) fn data_key(bytes: &[u8]) -> Option<usize> {
    static KEYS: LazyLock<regex::bytes::Regex> = LazyLock::new(|| {
        regex::bytes::Regex::new(
            r#"(?i)"(?:data|stringdata|binarydata)\\*"\s*:|/(?:data|stringdata)[^"]*","value"\s*:"#,
        )
        .expect("constant expression")
    });
    KEYS.find(bytes).map(|found| found.end())
}

/// Replaces escapes of printable characters, which no ordinary writer makes, in a text that could not be parsed.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u00") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u00") {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 4..at + 6).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|c| (b' '..0x7f).contains(c)) {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 6..];
            }
            None => {
                out.push_str("\\u00");
                rest = &rest[at + 4..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The needle is folded to lower case, the key is not; and a token goes on with a second part.
fn is_jwt(bytes: &[u8], end: usize) -> bool {
    let rest = &bytes[end..];
    let part = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
    bytes[..end].ends_with(b"eyJ") && part >= 5 && rest.get(part) == Some(&b'.')
}

fn is_aws_key(bytes: &[u8], end: usize) -> bool {
    bytes[end - 4].is_ascii_uppercase()
        && bytes[end..].iter().take(16).filter(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count() == 16
}

/// After a word such as `token`: an equals sign, perhaps percent-encoded, the end of an option, or a key whose value is
/// text.
fn is_assigned(bytes: &[u8], end: usize) -> bool {
    let mut rest = bytes[end..].iter().copied().skip_while(|b| matches!(b, b'"' | b'\'' | b'\\' | b' '));
    match rest.next() {
        Some(b'=') => true,
        Some(b':') => {
            rest.find(|b| !b.is_ascii_whitespace()).is_none_or(|b| !matches!(b, b't' | b'f' | b'n' | b'{' | b'['))
        }
        // A member of an array, as in ["--token","…"], or a name beside its value.
        Some(b',') => true,
        _ => matches!(bytes.get(end), Some(b' ' | b'&' | b'%' | b'+')),
    }
}

fn has_userinfo(bytes: &[u8], end: usize) -> bool {
    let part = bytes[end..].iter().take(512).take_while(|b| !matches!(b, b'/' | b'"' | b' ' | b'\n'));
    part.clone().any(|b| *b == b'@') || part.clone().any(|b| *b == b'\\')
}

fn has_option(bytes: &[u8], end: usize, option: &[u8]) -> bool {
    let near = &bytes[end..bytes.len().min(end + 1100)];
    // A percent-encoded space ends in a digit.
    near.windows(option.len() + 1).any(|w| {
        if option == b"u" {
            w[1] == b'u' && (w[0] == b'-' || w[0].is_ascii_alphabetic())
        } else {
            &w[1..] == option && (!w[0].is_ascii_alphanumeric() || w[0] == b'0')
        }
    })
}

/// Escapes of printable characters hide needles from the scan; Go's writers make only those of `&`, `<`, `>`.
fn is_needless_escape(bytes: &[u8], end: usize) -> bool {
    let code = bytes
        .get(end..end + 2)
        .and_then(|hex| std::str::from_utf8(hex).ok())
        .and_then(|hex| u8::from_str_radix(hex, 16).ok());
    code.is_some_and(|code| (b' '..0x7f).contains(&code) && !matches!(code, b'&' | b'<' | b'>' | b'\'' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_searches_suspect_the_same() {
        let automaton = Needles::automaton();
        let texts = SIGNS.iter().flat_map(|(needle, _)| {
            [
                format!(r#"{{"a":"x {needle} y"}}"#),
                format!(r#"{{"{needle}":"kept","b":"{}=v1"}}"#, needle.to_uppercase()),
                format!(r#"{{"secret":{{"data":"{needle}"}}}}"#),
                format!("{needle}{needle}"),
            ]
        });
        let mut suspected = 0;
        for text in texts {
            let folded = text.to_ascii_lowercase();
            let both = [&*NEEDLES, &automaton].map(|n| n.suspect(text.as_bytes(), folded.as_bytes()));
            assert_eq!(both[0], both[1], "{text}");
            assert_eq!(is_suspicious(text.as_bytes()), both[1]);
            suspected += usize::from(both[0]);
        }
        assert!(suspected > SIGNS.len(), "{suspected}");
    }
}
