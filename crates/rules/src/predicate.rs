//! What one value of a field is tested for. The row-wise truth that the columnar engine must agree with.
//!
//! Not here: which field, and how tests combine (see [`crate::expr`]).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_events::fields::FieldRef;
use regex::Regex;

use crate::text::{Case, Glob, Step};

/// A test of one value. Literals are stored as their [`Case`] compares them.
#[derive(Clone, Debug)]
pub(crate) enum Predicate {
    /// There is a value, be it null.
    Exists,
    /// The value is null.
    Null,
    /// The value is anything but null.
    Present,
    Equal(Case, Box<str>),
    Contains(Case, Box<str>),
    Prefix(Case, Box<str>),
    Suffix(Case, Box<str>),
    /// An integer, or its text.
    Whole(i64),
    /// A number, or its text.
    Float(f64),
    Glob(Case, Glob),
    Regex(Regex),
    Net(IpNet),
    Compare(Comparison, Number),
    Part(TimePart, i64),
}

/// The numeric modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// The time modifiers: a part of a timestamp's text, in the zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePart {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// A number that compares exactly: 2^53 + 1 is not 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Whole(i128),
    Float(f64),
}

impl Predicate {
    /// Whether the test holds for a value.
    pub(crate) fn holds(&self, value: FieldRef<'_>) -> bool {
        match self {
            Self::Exists => true,
            Self::Null => value == FieldRef::Null,
            Self::Present => value != FieldRef::Null,
            Self::Equal(case, own) => text_of(value).is_some_and(|t| case.of(&t) == own.as_ref()),
            Self::Contains(case, own) => text_of(value).is_some_and(|t| case.of(&t).contains(own.as_ref())),
            Self::Prefix(case, own) => text_of(value).is_some_and(|t| case.of(&t).starts_with(own.as_ref())),
            Self::Suffix(case, own) => text_of(value).is_some_and(|t| case.of(&t).ends_with(own.as_ref())),
            Self::Whole(own) => match value {
                FieldRef::Int(i) => i == *own,
                FieldRef::Float(f) => Number::Float(f).cmp(Number::Whole((*own).into())) == Some(Ordering::Equal),
                FieldRef::Str(s) => s == own.to_string(),
                _ => false,
            },
            Self::Float(own) => match value {
                FieldRef::Str(s) => s == float_text(*own),
                FieldRef::Bool(_) => false,
                other => Number::of(other).and_then(|n| n.cmp(Number::Float(*own))) == Some(Ordering::Equal),
            },
            Self::Glob(case, glob) => text_of(value).is_some_and(|t| glob.fits(&case.of(&t))),
            Self::Regex(regex) => text_of(value).is_some_and(|t| regex.is_match(&t)),
            Self::Net(net) => match value {
                FieldRef::Str(s) => s.parse::<IpAddr>().is_ok_and(|ip| in_net(*net, ip)),
                _ => false,
            },
            Self::Compare(how, own) => {
                Number::of(value).and_then(|n| n.cmp(*own)).is_some_and(|order| how.allows(order))
            }
            Self::Part(part, own) => match value {
                FieldRef::Str(s) => part.of(s) == Some(*own),
                _ => false,
            },
        }
    }

    /// Whether the engine tests it together with others of its field, in one look-up or scan.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::Float(_) | Self::Glob(..) | Self::Regex(_) | Self::Compare(..) | Self::Part(..))
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("exists"),
            Self::Null => f.write_str("is null"),
            Self::Present => f.write_str("is present"),
            Self::Equal(_, t) => write!(f, "is `{t}`"),
            Self::Contains(_, t) => write!(f, "contains `{t}`"),
            Self::Prefix(_, t) => write!(f, "starts with `{t}`"),
            Self::Suffix(_, t) => write!(f, "ends with `{t}`"),
            Self::Whole(n) => write!(f, "is {n}"),
            Self::Float(n) => write!(f, "is {n}"),
            Self::Glob(_, glob) => {
                let text: String = glob
                    .0
                    .iter()
                    .map(|step| match step {
                        Step::Char(c) => *c,
                        Step::One => '?',
                        Step::Any => '*',
                        Step::Dash => '-',
                    })
                    .collect();
                write!(f, "is like `{text}`")
            }
            Self::Regex(regex) => write!(f, "matches `{regex}`"),
            Self::Net(net) => write!(f, "is in {net}"),
            Self::Compare(how, number) => write!(f, "{how} {number}"),
            Self::Part(part, n) => write!(f, "has {part:?} {n}"),
        }
    }
}

impl Comparison {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        })
    }
}

impl Number {
    /// The number that a value is, or that its text writes.
    pub(crate) fn of(value: FieldRef<'_>) -> Option<Self> {
        match value {
            FieldRef::Int(i) => Some(Self::Whole(i.into())),
            FieldRef::UInt(u) => Some(Self::Whole(u.into())),
            FieldRef::Float(f) => Some(Self::Float(f)),
            FieldRef::Str(s) => Self::parse(s),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        // Rust reads `inf` and `nan` as numbers; logs mean words by them.
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        text.parse().map(Self::Whole).ok().or_else(|| text.parse().map(Self::Float).ok())
    }

    pub(crate) fn cmp(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Whole(a), Self::Float(b)) => whole_to_float(a, b),
            (Self::Float(a), Self::Whole(b)) => whole_to_float(b, a).map(Ordering::reverse),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
        }
    }
}

/// Compares without rounding the whole number: against the float's floor first, then against its fraction.
fn whole_to_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Casting saturates, which would make larger floats equal to the outermost whole numbers.
    let beyond = 2f64.powi(127);
    if float >= beyond {
        return Some(Ordering::Less);
    }
    if float < -beyond {
        return Some(Ordering::Greater);
    }
    Some(whole.cmp(&(float.floor() as i128)).then(if float.fract() == 0.0 { Ordering::Equal } else { Ordering::Less }))
}

impl TimePart {
    /// Reads the part from `2025-03-04T03:22:18…` or the same with a space.
    fn of(self, text: &str) -> Option<i64> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = bytes.get(from..to)?;
            digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
        };
        if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let is_time = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
        match self {
            Self::Year => Some(year),
            Self::Month => Some(month),
            Self::Day => Some(day),
            Self::Week => Some(iso_week(year, month, day)),
            Self::Hour => is_time.then(|| number(11, 13)).flatten(),
            Self::Minute => is_time.then(|| number(14, 16)).flatten(),
        }
    }
}

/// ISO 8601 week number: the week of a date is the week of its Thursday.
fn iso_week(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let days_before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let of_year = days_before[(month - 1) as usize] + day + i64::from(month > 2 && leap(year));
    // Days since a Monday, counted from the first of the year 1, which was one.
    let before = |y: i64| (y - 1) * 365 + (y - 1).div_euclid(4) - (y - 1).div_euclid(100) + (y - 1).div_euclid(400);
    let weekday = (before(year) + of_year - 1).rem_euclid(7);
    let thursday = of_year - weekday + 3;
    let length = 365 + i64::from(leap(year));
    if thursday < 1 {
        let length = 365 + i64::from(leap(year - 1));
        (thursday + length - 1) / 7 + 1
    } else if thursday > length {
        1
    } else {
        (thursday - 1) / 7 + 1
    }
}

fn in_net(net: IpNet, ip: IpAddr) -> bool {
    // A dual-stack socket writes an IPv4 peer as ::ffff:10.0.0.1: the same host.
    match net {
        IpNet::V4(_) => net.contains(&ip.to_canonical()),
        IpNet::V6(_) => net.contains(&ip),
    }
}

/// The text of a value, as JSON writes it. Null and objects have none.
pub(crate) fn text_of(value: FieldRef<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        FieldRef::Str(s) => Cow::Borrowed(s),
        FieldRef::Int(i) => i.to_string().into(),
        FieldRef::UInt(u) => u.to_string().into(),
        FieldRef::Float(f) => float_text(f).into(),
        FieldRef::Bool(true) => Cow::Borrowed("true"),
        FieldRef::Bool(false) => Cow::Borrowed("false"),
        FieldRef::Null | FieldRef::Object => return None,
    })
}

fn float_text(float: f64) -> String {
    format!("{float:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_without_rounding() {
        let big = 9_007_199_254_740_993;
        assert_eq!(Number::Whole(big).cmp(Number::Float(9_007_199_254_740_992.0)), Some(Ordering::Greater));
        assert_eq!(Number::Float(1.5).cmp(Number::Whole(1)), Some(Ordering::Greater));
        assert_eq!(Number::Float(-1.5).cmp(Number::Whole(-1)), Some(Ordering::Less));
        assert_eq!(Number::Float(f64::NAN).cmp(Number::Whole(1)), None);
        assert_eq!(Number::Float(1e300).cmp(Number::Whole(i128::from(u64::MAX))), Some(Ordering::Greater));
        for (text, float, order) in [
            (i128::MAX.to_string(), 1e300, Ordering::Less),
            (i128::MIN.to_string(), -1e300, Ordering::Greater),
            (i128::MIN.to_string(), -(2f64.powi(127)), Ordering::Equal),
            ("18446744073709551617".into(), 18_446_744_073_709_551_616.0, Ordering::Greater),
            ("-9223372036854775809".into(), -9_223_372_036_854_775_808.0, Ordering::Less),
        ] {
            assert_eq!(Number::parse(&text).unwrap().cmp(Number::Float(float)), Some(order), "{text} and {float}");
        }
        assert_eq!(Number::parse("nan"), None);
        assert_eq!(Number::parse("-inf"), None);
    }

    #[test]
    fn parts_of_times_are_read_as_written() {
        for (text, part, expected) in [
            ("2025-03-04T03:22:18Z", TimePart::Hour, Some(3)),
            ("2025-03-04 03:22:18+09:00", TimePart::Minute, Some(22)),
            ("2025-03-04", TimePart::Hour, None),
            ("2025-03-04", TimePart::Day, Some(4)),
            ("2024-12-30", TimePart::Week, Some(1)),
            ("2021-01-03", TimePart::Week, Some(53)),
            ("2020-12-31", TimePart::Week, Some(53)),
            ("2023-01-01", TimePart::Week, Some(52)),
            ("2026-06-17", TimePart::Week, Some(25)),
            ("yesterday", TimePart::Year, None),
        ] {
            assert_eq!(part.of(text), expected, "{part:?} of {text}");
        }
    }
}
