//! The one scan that clean payloads cost: which bytes could be the sign of a secret.
//!
//! It may suspect too much, never too little: what it calls clean is not looked at again.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind, packed};

use super::command::{Program, Programs};

/// What a fragment at its place means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Nothing.
    Clean,
    /// Look closely at once.
    Certain,
    /// The document may hold a Kubernetes Secret; matters together with [`Sign::Data`].
    Secret,
    /// The document holds a map of values; matters together with [`Sign::Secret`].
    Data,
    /// The document names a program; matters together with an option by which the program takes a secret, which may
    /// stand on either side of its name.
    Names(Program),
}

use Sign::{Certain, Clean, Data, Names, Secret};

/// Says what a fragment means, given the bytes as they were written, and the fragment's begin and end.
type Judge = fn(&[u8], usize, usize) -> Sign;

/// Lower-case fragments of the words that give secrets away. Each begins with the three bytes of its words that audit
/// events hold least often, because those are what the search compares. None begins with another. The search deals them out
/// to its buckets in their order, so that another order takes another time: measure before changing it. With more than 32
/// of them the search steps over half as many bytes at a time.
const SIGNS: &[(&str, Judge)] = &[
    ("asia", |bytes, at, end| certain(is_aws_key(bytes, end) && !is_identifier(bytes, at))),
    // "cookie", as the name of a header. Numbers are cookies of sockets.
    ("kie", |bytes, at, end| {
        let rest = &bytes[end..];
        certain(follows(bytes, at, b"coo") && (names_value(rest) || names_text(rest)))
    }),
    ("ghs_", |_, _, _| Certain),
    // "private key", plain, and in queries.
    ("vate", |bytes, _, end| certain(goes_on(bytes, end, &[" key", "+key", "%20key"]))),
    // "pass_word" and its kin, "DB_PASS", "sshpass".
    ("pass", |bytes, at, end| {
        let joint = bytes.get(end).is_some_and(|b| matches!(b, b'_' | b'-' | b'.'));
        let is_split = joint && goes_on(bytes, end + 1, &["word", "wd", "phrase"]);
        certain(is_split || follows(bytes, at, b"ssh") || (follows(bytes, at, b"_") && is_variable(&bytes[end..])))
    }),
    // "://", percent-encoded.
    ("%2f%2f", |bytes, at, _| certain(follows(bytes, at, b"%3a"))),
    ("ghr_", |_, _, _| Certain),
    ("ata", data),
    // "api_key" and its spellings, and names of other keys where a value follows.
    ("key", |bytes, at, end| certain(is_key(bytes, at, end))),
    ("gho_", |_, _, _| Certain),
    ("ghp_", |_, _, _| Certain),
    // "authorization"
    ("zation", |bytes, at, end| certain(follows(bytes, at, b"authori") && is_announced(bytes, end))),
    // "auths", the key of docker's logins.
    ("ths", |bytes, at, end| certain(follows(bytes, at, b"au") && matches!(bytes.get(end), Some(b'"' | b'\\')))),
    // "password" and "passwd", however their letters are joined.
    ("ssw", |bytes, _, end| certain(goes_on(bytes, end, &["o", "d"]))),
    // Not as clients and libraries tell their version.
    ("curl", |bytes, _, end| match bytes.get(end) {
        Some(b'/' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => Clean,
        _ => Names(Program::Curl),
    }),
    // "sk_live_" and "rk_live_"
    ("k_live_", |_, _, _| Certain),
    ("bearer", |bytes, _, end| {
        let next = bytes.get(end);
        certain(next.is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'\\' | b'+' | b'%')))
    }),
    // "token"
    ("oken", |bytes, at, end| certain(follows(bytes, at, b"t") && is_assigned(bytes, end))),
    ("ghu_", |_, _, _| Certain),
    // "DB_PWD"
    ("_pwd", |bytes, _, end| certain(is_variable(&bytes[end..]))),
    ("://", |bytes, _, end| certain(has_userinfo(bytes, end))),
    ("\\u00", |bytes, _, end| certain(is_needless_escape(bytes, end))),
    ("eyj", |bytes, _, end| certain(is_jwt(bytes, end))),
    // "github_pat_"
    ("b_pat_", |_, _, _| Certain),
    ("akia", |bytes, at, end| certain(is_aws_key(bytes, end) && !is_identifier(bytes, at))),
    ("mariad", |_, _, _| Names(Program::Mysql)),
    ("mysql", |_, _, _| Names(Program::Mysql)),
    (":\\/", |_, _, _| Certain),
    // "xoxb-" and its kin.
    ("xox", |bytes, _, end| certain(bytes.get(end + 1) == Some(&b'-'))),
    ("ssphr", |_, _, _| Certain),
    ("ecret", secret),
    // "redis-cli"
    ("is-cl", |bytes, at, _| if follows(bytes, at, b"red") { Names(Program::RedisCli) } else { Clean }),
];

fn certain(holds: bool) -> Sign {
    if holds { Certain } else { Clean }
}

/// Whether the text from a place on begins with one of the words, in whatever case.
fn goes_on(bytes: &[u8], end: usize, words: &[&str]) -> bool {
    words
        .iter()
        .any(|word| bytes.get(end..end + word.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(word.as_bytes())))
}

/// Whether the text before a place ends in a word, in whatever case.
fn follows(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    at.checked_sub(word.len()).is_some_and(|from| bytes[from..at].eq_ignore_ascii_case(word))
}

/// At "ecret": a Secret, a key that names one, or a variable whose value follows.
fn secret(bytes: &[u8], at: usize, end: usize) -> Sign {
    if !follows(bytes, at, b"s") {
        return Clean;
    }
    let (word, rest) = (at - 1, &bytes[end..]);
    // Keys are known however their words are joined.
    let before = bytes[..word].strip_suffix(b"_").or(bytes[..word].strip_suffix(b"-"));
    let before = before.or(bytes[..word].strip_suffix(b".")).unwrap_or(&bytes[..word]);
    let is_key = ["aws", "client"].iter().any(|w| follows(before, before.len(), w.as_bytes()));
    let joined = rest.iter().filter(|b| !matches!(b, b'_' | b'-' | b'.')).map(u8::to_ascii_lowercase);
    if is_key || joined.take(9).eq(*b"accesskey") || is_variable(rest) {
        return Certain;
    }
    match rest.first() {
        _ if bytes[..word].last() != Some(&b'"') => {
            if is_yaml_kind(&bytes[..word]) {
                Secret
            } else {
                Clean
            }
        }
        Some(b'_' | b'-' | b'a' | b'A') => Certain,
        _ => Secret,
    }
}

/// At "ata": a key of a map of values, in JSON or in YAML, or a path into one.
fn data(bytes: &[u8], at: usize, end: usize) -> Sign {
    if follows(bytes, at, b"/d") || follows(bytes, at, b"/stringd") {
        return Data;
    }
    let begins: &[&[u8]] = match bytes.get(end) {
        Some(b'"' | b'\\') => &[b"\""],
        // Of YAML, plain and in queries: at the begin of a line or of what seems to be one.
        Some(b':') => YAML_BEGINS,
        Some(b'%') if bytes.get(end + 1..end + 3).is_some_and(|code| code.eq_ignore_ascii_case(b"3a")) => YAML_BEGINS,
        _ => return Clean,
    };
    let is_map = [&b"d"[..], b"stringd", b"binaryd"].iter().any(|word| {
        let before = &bytes[..at.saturating_sub(word.len())];
        let stands = || begins.iter().any(|begin| follows(before, before.len(), begin));
        follows(bytes, at, word) && (stands() || (before.is_empty() && begins.len() > 1))
    });
    if is_map { Data } else { Clean }
}

const YAML_BEGINS: &[&[u8]] = &[b" ", b"\n", b"\\n", b"\\t", b"\"", b"'", b"+", b"%0a", b"%20"];

/// Before "Secret": whether it is the kind of an object in YAML, plain or in a query.
fn is_yaml_kind(before: &[u8]) -> bool {
    const GAPS: [&[u8]; 7] = [b" ", b"+", b"'", b"%20", b"\\", b"%22", b"%27"];
    let mut before = before;
    for _ in 0..16 {
        let Some(gap) = GAPS.into_iter().find(|gap| before.ends_with(gap)) else { break };
        before = &before[..before.len() - gap.len()];
    }
    follows(before, before.len(), b"kind:") || follows(before, before.len(), b"kind%3a")
}

/// All fragments at once, over text in lower case.
static NEEDLES: LazyLock<Needles> = LazyLock::new(Needles::new);

enum Needles {
    /// Vector instructions compare three bytes of every fragment at sixteen or thirty-two places at a time.
    Packed(packed::Searcher),
    /// Where a processor has none: an automaton, a table lookup a byte.
    Automaton(AhoCorasick),
}

impl Needles {
    fn new() -> Self {
        let needles = SIGNS.iter().map(|(fragment, _)| fragment);
        let packed = packed::Config::new().heuristic_pattern_limits(false).builder().extend(needles).build();
        packed.map_or_else(Self::automaton, Self::Packed)
    }

    fn automaton() -> Self {
        let needles = SIGNS.iter().map(|(needle, _)| needle);
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostFirst).kind(Some(AhoCorasickKind::DFA)).prefilter(false);
        Self::Automaton(builder.build(needles).expect("constant needles"))
    }

    /// The first fragment from a place on: which one, and where.
    fn find(&self, folded: &[u8], from: usize) -> Option<(usize, usize, usize)> {
        let found = match self {
            Self::Packed(searcher) => searcher.find_in(folded, (from..folded.len()).into()),
            Self::Automaton(automaton) => automaton.find(Input::new(folded).range(from..)),
        };
        found.map(|found| (found.pattern().as_usize(), found.start(), found.end()))
    }

    fn suspect(&self, bytes: &[u8], folded: &[u8]) -> bool {
        let (mut secret, mut data, mut from) = (false, false, 0);
        let mut named = Programs::default();
        while let Some((fragment, at, end)) = self.find(folded, from) {
            match SIGNS[fragment].1(bytes, at, end) {
                Clean => {}
                Certain => return true,
                Secret => secret = true,
                Data => data = true,
                Names(program) if named.has(program) => {}
                // Once for each program, however often it is named.
                Names(program) if has_option(bytes, program) => return true,
                Names(program) => named.add(program),
            }
            if secret && data {
                return true;
            }
            // Fragments may overlap.
            from = at + 1;
        }
        false
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
        folded.extend(bytes.iter().map(u8::to_ascii_lowercase));
        NEEDLES.suspect(bytes, folded)
    })
}

/// Where the first map of values starts in a text that is no JSON: past the key's colon.
pub(super) fn data_key(bytes: &[u8]) -> Option<usize> {
    static KEYS: LazyLock<regex::bytes::Regex> = LazyLock::new(|| {
        regex::bytes::Regex::new(
            r#"(?i)(?:"|^|\n|\\n|%0a)[ \t]*(?:- +)?(?:data|stringdata|binarydata)(?:\\*"\s*)?:|/(?:data|stringdata)[^"]*","value"\s*:"#,
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

/// Bytes between a name and the key of its value; most of them are the indentation of a document for people.
const GAP_MAX: usize = 256;

/// At the end of a name: whether the value that it names follows, in JSON or in JSON inside a string.
fn names_value(rest: &[u8]) -> bool {
    let is_between = |b: &&u8| matches!(**b, b'"' | b'\\' | b',') || b.is_ascii_whitespace();
    let skipped = rest.iter().take(GAP_MAX).take_while(is_between).count();
    skipped > 0 && rest[skipped..].starts_with(b"value") && matches!(rest.get(skipped + 5), Some(b'"' | b'\\'))
}

/// At the end of a name: whether it is a key of JSON that holds text, or a list that may hold some.
fn names_text(rest: &[u8]) -> bool {
    let quote = |bytes: &[u8]| {
        let escapes = bytes.iter().take(8).take_while(|b| **b == b'\\').count();
        (bytes.get(escapes) == Some(&b'"')).then_some(escapes + 1)
    };
    let Some(value) = quote(rest).and_then(|end| rest[end..].trim_ascii_start().strip_prefix(b":")) else {
        return false;
    };
    let value = value.trim_ascii_start();
    quote(value).is_some() || is_filled_list(value)
}

/// Whether a list begins here that has members.
fn is_filled_list(value: &[u8]) -> bool {
    value.strip_prefix(b"[").is_some_and(|rest| !rest.trim_ascii_start().starts_with(b"]"))
}

/// At "key": an API key, or the name of another one where its value follows.
fn is_key(bytes: &[u8], at: usize, end: usize) -> bool {
    let rest = &bytes[end..];
    match rest.first() {
        _ if is_api(&bytes[..at]) => true,
        Some(b'"' | b'\\') => {
            names_value(rest) || (is_secret_key(&bytes[..at]) && (names_text(rest) || begins_block(rest)))
        }
        Some(b'=' | b'%') => is_equals(rest) && is_secret_key(&bytes[..at]),
        _ => begins_block(rest) && is_secret_key(&bytes[..at]),
    }
}

/// At the end of a variable's name: whether its value follows, in one of the ways that variables are written.
fn is_variable(rest: &[u8]) -> bool {
    names_value(rest) || names_text(rest) || is_equals(rest) || begins_block(rest)
}

/// At the end of a name: whether it is a key of YAML whose value is a block, plain or in a query.
fn begins_block(rest: &[u8]) -> bool {
    let quotes = rest.iter().take(GAP_MAX).take_while(|b| matches!(b, b'"' | b'\'' | b'\\' | b' ')).count();
    let encoded = |text: &[u8], code: &[u8]| text.get(..3).is_some_and(|sign| sign.eq_ignore_ascii_case(code));
    let Some(mut value) = rest.get(quotes..).and_then(|rest| match rest.strip_prefix(b":") {
        None if encoded(rest, b"%3a") => rest.get(3..),
        value => value,
    }) else {
        return false;
    };
    for _ in 0..GAP_MAX {
        value = match value {
            [b' ' | b'\t' | b'+', rest @ ..] => rest,
            [b'\\', b't', rest @ ..] | [b'%', b'2', b'0', rest @ ..] => rest,
            _ => break,
        };
    }
    // A tag or an anchor may stand before the sign of a block.
    let is_sign = |b: &u8| matches!(b, b'|' | b'>' | b'!' | b'&');
    value.first().is_some_and(is_sign)
        || [b"%7c", b"%3e", b"%21", b"%26"].iter().any(|code| encoded(value, *code))
        || value.starts_with(b"\\u003e")
        || value.starts_with(b"\\u0026")
}

/// Before "key": whether it is one of an API.
fn is_api(before: &[u8]) -> bool {
    let before =
        before.strip_suffix(b"_").or(before.strip_suffix(b"-")).or(before.strip_suffix(b".")).unwrap_or(before);
    follows(before, before.len(), b"api")
}

/// Before "key": whether it is one that is to be kept secret.
fn is_secret_key(before: &[u8]) -> bool {
    let joint = before.last().is_some_and(|b| matches!(b, b'_' | b'-' | b'.'));
    let before = &before[..before.len() - usize::from(joint)];
    ["secret", "access", "private"].iter().any(|word| follows(before, before.len(), word.as_bytes()))
}

/// Whether an equals sign follows, perhaps percent-encoded.
fn is_equals(rest: &[u8]) -> bool {
    rest.starts_with(b"=") || rest.get(..3).is_some_and(|sign| sign.eq_ignore_ascii_case(b"%3d"))
}

/// The needle is folded to lower case, the key is not; and a token goes on with a second part.
fn is_jwt(bytes: &[u8], end: usize) -> bool {
    let rest = &bytes[end..];
    if !bytes[..end].ends_with(b"eyJ") {
        return false;
    }
    // Longer first parts are looked at closely once, instead of again at every place that begins like a token.
    let part = rest.iter().take(JWT_PART_MAX).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let part = part.count();
    part == JWT_PART_MAX || (part >= 5 && rest.get(part) == Some(&b'.'))
}

/// Bytes of a token's first part that are scanned for its end.
const JWT_PART_MAX: usize = 8192;

fn is_aws_key(bytes: &[u8], end: usize) -> bool {
    bytes[end - 4].is_ascii_uppercase()
        && bytes[end..].iter().take(16).filter(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count() == 16
}

/// After a word such as `token`: an equals sign, perhaps percent-encoded, the end of an option, or a key whose value is
/// text.
fn is_assigned(bytes: &[u8], end: usize) -> bool {
    let rest = bytes[end..].trim_ascii_start();
    let after_quote = rest.strip_prefix(b"\"").map(<[u8]>::trim_ascii_start);
    let value = after_quote.and_then(|rest| rest.strip_prefix(b":")).map(<[u8]>::trim_ascii_start);
    // What a key of JSON holds that is no text is no secret.
    let is_no_text = |value: &[u8]| {
        let literal = |word: &&[u8]| {
            value.strip_prefix(*word).is_some_and(|rest| rest.first().is_none_or(|b| !b.is_ascii_alphanumeric()))
        };
        let is_container = matches!(value.first(), Some(b'{' | b'[')) && !is_filled_list(value);
        is_container || [&b"true"[..], b"false", b"null"].iter().any(literal)
    };
    is_announced(bytes, end) && !value.is_some_and(is_no_text)
}

/// After a word that announces a secret: something that parts it from what it announces.
fn is_announced(bytes: &[u8], end: usize) -> bool {
    let is_between = |b: &u8| matches!(b, b'"' | b'\'' | b'\\') || b.is_ascii_whitespace();
    let mut rest = bytes[end..].iter().copied().skip_while(is_between);
    match rest.next() {
        // A comma: a member of an array, as in ["--token","…"], or a name beside its value.
        Some(b'=' | b':' | b',') => true,
        // Go writes the `&` of a query as an escape.
        _ => matches!(bytes.get(end), Some(b' ' | b'&' | b'%' | b'+')) || bytes[end..].starts_with(b"\\u0026"),
    }
}

fn has_userinfo(bytes: &[u8], end: usize) -> bool {
    let part = bytes[end..].iter().take(512).take_while(|b| !matches!(b, b'/' | b'"' | b' ' | b'\n'));
    part.clone().any(|b| *b == b'@') || part.clone().any(|b| *b == b'\\')
}

/// Whether an option by which a program takes a secret stands anywhere.
fn has_option(bytes: &[u8], program: Program) -> bool {
    memchr::memchr_iter(b'-', bytes).any(|at| begins_argument(&bytes[..at]) && takes_secret(&bytes[at + 1..], program))
}

/// Whether an argument may begin after these bytes, plain, percent-encoded, or after an escape of JSON.
fn begins_argument(before: &[u8]) -> bool {
    match before {
        [.., b'-'] => false,
        [.., b'%', _, _] | [.., b'\\', b'n' | b'r' | b't' | b'f'] | [.., b'\\', b'u', _, _, _, _] => true,
        [.., last] => !last.is_ascii_alphanumeric(),
        [] => true,
    }
}

/// After a dash: whether it begins an option by which a program takes a secret.
fn takes_secret(option: &[u8], program: Program) -> bool {
    match program {
        Program::Sshpass => true,
        Program::Mysql => {
            matches!(option, [b'p', value, ..] if !matches!(value, b' ' | b'+' | b',' | b'&' | b'"'))
        }
        Program::RedisCli => {
            option.starts_with(b"-pass")
                || matches!(option, [b'a', rest @ ..] if !rest.first().is_some_and(u8::is_ascii_alphanumeric))
        }
        Program::Curl => match option {
            [b'-', rest @ ..] => rest.starts_with(b"user") || rest.starts_with(b"proxy-user"),
            _ => {
                let mut letters = option.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'#');
                letters.any(|b| matches!(b, b'u' | b'U'))
            }
        },
    }
}

/// Bytes on either side of an access key in which its object says whose it is.
const IDENTITY_BYTES_MAX: usize = 512;

/// At the begin of an access key's number: whether it tells who it was, as `tree` has it, in the plainest spelling.
fn is_identifier(bytes: &[u8], at: usize) -> bool {
    const PRINCIPAL: &[u8] = br#""principalId":"#;
    // Quotes of a string within a string are escaped.
    let has_principal =
        |part: &[u8]| part.windows(PRINCIPAL.len() + 1).any(|w| w.ends_with(PRINCIPAL) && w.first() != Some(&b'\\'));
    let is_brace = |b: &u8| matches!(b, b'{' | b'}');
    let before = &bytes[at.saturating_sub(IDENTITY_BYTES_MAX)..at];
    let Some(before) = before.strip_suffix(br#""accessKeyId":""#).filter(|before| before.last() != Some(&b'\\')) else {
        return false;
    };
    let after = &bytes[at..bytes.len().min(at + IDENTITY_BYTES_MAX)];
    has_principal(before.iter().rposition(is_brace).map_or(before, |brace| &before[brace..]))
        || has_principal(after.iter().position(is_brace).map_or(after, |brace| &after[..brace]))
}

/// Escapes of printable characters hide needles from the scan; Go's writers make only those of `&`, `<`, `>`.
fn is_needless_escape(bytes: &[u8], end: usize) -> bool {
    let code = bytes
        .get(end..end + 2)
        .and_then(|hex| std::str::from_utf8(hex).ok())
        .and_then(|hex| u8::from_str_radix(hex, 16).ok());
    code.is_some_and(|code| (b' '..0x7f).contains(&code) && !matches!(code, b'&' | b'<' | b'>'))
}

#[cfg(test)]
mod tests;
