//! Values of documents as columns hold them: types, spellings, times.
//!
//! Not here: which value belongs in which column.

use std::borrow::Cow;

use palisade_events::fields::FieldRef;
use palisade_events::schema::{AnyColumn, Word};
use palisade_events::time::{Micros, SECOND};
use palisade_events::{EventBuilder, col};

use crate::container;
use crate::decode::in_range;
use crate::json::Value;
use crate::zone::Zone;

/// A value that does not fit its column's type is left out; the original keeps it.
pub(super) fn put(column: AnyColumn, value: FieldRef<'_>, zone: Zone, row: &mut EventBuilder) {
    match column {
        AnyColumn::Text(column) => {
            if let Some(text) = spelled(value) {
                row.put_text(column, &text);
            }
        }
        AnyColumn::Word(column) => {
            if let Some(word) = spelled(value) {
                put_word(column, &word, row);
            }
        }
        AnyColumn::Long(column) => {
            if let Some(number) = integer(value) {
                row.put_long(column, number);
            }
        }
        AnyColumn::Int(column) => {
            if let Some(number) = integer(value).and_then(|number| i32::try_from(number).ok()) {
                row.put_int(column, number);
            }
        }
        AnyColumn::Flag(column) => match value {
            FieldRef::Bool(flag) => row.put_flag(column, flag),
            FieldRef::Str("true") => row.put_flag(column, true),
            FieldRef::Str("false") => row.put_flag(column, false),
            _ => {}
        },
        AnyColumn::Time(column) => {
            if let Some(time) = moment(value, zone) {
                row.put_time(column, time);
            }
        }
        AnyColumn::Words(_) => {}
    }
}

/// Words that other formats spell in one way are spelled so.
fn put_word(column: Word, word: &str, row: &mut EventBuilder) {
    if column == col::CONTAINER_UID {
        container::put(row, word);
    } else if column == col::HTTP_METHOD {
        row.put_word(column, &word.to_ascii_uppercase());
    } else if column == col::CLOUD_PROVIDER {
        let known = ["AWS", "Azure", "GCP"].into_iter().find(|name| word.eq_ignore_ascii_case(name));
        row.put_word(column, known.unwrap_or(word));
    } else if column == col::ACTOR_LOGIN_UID && matches!(word, "-1" | "4294967295" | "unset") {
        // The kernel's way to say that nobody logged in.
    } else {
        row.put_word(column, word);
    }
}

/// The first member of a list that says something; another value itself.
pub(crate) fn first<'i>(value: Value<'_, 'i>) -> FieldRef<'i> {
    if !value.is_array() {
        return value.scalar();
    }
    value.items().map(Value::scalar).find(|item| says_something(*item)).unwrap_or(FieldRef::Null)
}

pub(super) fn says_something(value: FieldRef<'_>) -> bool {
    !matches!(value, FieldRef::Null | FieldRef::Object | FieldRef::Str(""))
}

/// Text as it is, other values as they are spelled.
pub(super) fn spelled<'i>(value: FieldRef<'i>) -> Option<Cow<'i, str>> {
    match value {
        FieldRef::Str("") | FieldRef::Null | FieldRef::Object => None,
        FieldRef::Str(text) => Some(Cow::Borrowed(text)),
        FieldRef::Int(number) => Some(number.to_string().into()),
        FieldRef::UInt(number) => Some(number.to_string().into()),
        FieldRef::Float(number) => Some(number.to_string().into()),
        FieldRef::Bool(flag) => Some(if flag { "true" } else { "false" }.into()),
    }
}

/// An integer, written as a number or as text.
pub(super) fn integer(value: FieldRef<'_>) -> Option<i64> {
    match value {
        FieldRef::Int(number) => Some(number),
        FieldRef::Str(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A time: RFC 3339, or a number since 1970 whose size tells its unit. Milliseconds of that size begin in 1973; zero is
/// how writers say that they know none.
pub(crate) fn moment(value: FieldRef<'_>, zone: Zone) -> Option<Micros> {
    let time = match value {
        FieldRef::Int(number) => of_size(number)?,
        FieldRef::Float(number) => of_fraction(number)?,
        FieldRef::Str(text) => {
            let text = text.trim();
            match text.parse::<i64>() {
                Ok(number) => of_size(number)?,
                Err(_) => zone.parse(text).or_else(|| of_fraction(text.parse().ok()?))?,
            }
        }
        _ => return None,
    };
    in_range(time)
}

fn of_size(number: i64) -> Option<Micros> {
    Some(match number {
        ..=0 => return None,
        1..100_000_000_000 => number * SECOND,
        100_000_000_000..100_000_000_000_000 => number * 1000,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1000,
    })
}

fn of_fraction(number: f64) -> Option<Micros> {
    let micros = match number {
        n if n.is_nan() || n <= 0.0 => return None,
        n if n < 1e11 => n * 1e6,
        n if n < 1e14 => n * 1e3,
        n if n < 1e17 => n,
        _ => number / 1e3,
    };
    (micros < 9e18).then_some(micros.round() as Micros)
}

/// Which way a connection goes, in the words of the column.
pub(crate) fn direction(word: &str) -> Option<&'static str> {
    let is_any = |names: [&str; 2]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    if is_any(["inbound", "ingress"]) {
        Some("inbound")
    } else if is_any(["outbound", "egress"]) {
        Some("outbound")
    } else {
        None
    }
}
