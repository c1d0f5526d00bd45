//! Values and modifiers of one detection item, lowered to tests of a value.
//!
//! Modifiers apply in the order written. Whatever cannot be honoured exactly is refused with its name.
//! Not here: fields and conditions (see [`crate::lower`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use regex::RegexBuilder;
use rsigma_parser::{Modifier, SigmaString, SigmaValue, SpecialChar, StringPart};

use crate::expr::Relation;
use crate::predicate::{Comparison, Number, Predicate, TimePart};
use crate::text::{Case, DASHES, Glob, Step, fold_char};

/// What a detection item asks of its field.
#[derive(Debug)]
pub(crate) enum Demand {
    /// Each entry is one written value: the tests that it stands for, any of which may hold.
    Values { each: Vec<Wanted>, link: Link, negated: bool },
    /// `exists`.
    Existence(bool),
    /// `fieldref`: names of other fields.
    Fields { names: Vec<String>, relation: Relation, case: Case, link: Link, negated: bool },
}

/// One written value.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// No value: missing or null.
    Nothing,
    /// Any of these tests.
    Tests(Vec<Predicate>),
}

/// How the values of a list combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Any,
    All,
}

/// Whether an item has a field, or is a keyword over the whole event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Field,
    Event,
}

/// Alternatives of `windash` up to this many dashes become literals, which scan together; more stay one pattern.
const DASHES_EXPANDED_MAX: usize = 2;

/// Lowers the modifiers and values of an item.
///
/// # Errors
/// The construct that is not honoured, and why.
pub(crate) fn demand(modifiers: &[Modifier], values: &[SigmaValue], scope: Scope) -> Result<Demand, String> {
    if values.is_empty() {
        return Err("an empty list of values".into());
    }
    let has = |m: Modifier| modifiers.contains(&m);
    let case = if has(Modifier::Cased) { Case::Exact } else { Case::Folded };
    let link = if has(Modifier::All) { Link::All } else { Link::Any };
    let negated = has(Modifier::Neq);
    if negated && link == Link::All {
        return Err("`neq` together with `all`: the specification does not say which comes first".into());
    }
    if scope == Scope::Event
        && let Some(m) = modifiers.iter().find(|m| !fits_keywords(**m))
    {
        return Err(format!("modifier `{}` on keywords", name(*m)));
    }
    if has(Modifier::Exists) {
        return match (modifiers, values) {
            ([Modifier::Exists], [SigmaValue::Bool(wanted)]) => Ok(Demand::Existence(*wanted)),
            ([Modifier::Exists], _) => Err("`exists` with a value other than true or false".into()),
            _ => Err("`exists` together with other modifiers".into()),
        };
    }
    if has(Modifier::FieldRef) {
        return fields(modifiers, values, case, link, negated);
    }
    let each = values.iter().map(|value| wanted(modifiers, value, case, scope)).collect::<Result<_, _>>()?;
    Ok(Demand::Values { each, link, negated })
}

fn fields(
    modifiers: &[Modifier],
    values: &[SigmaValue],
    case: Case,
    link: Link,
    negated: bool,
) -> Result<Demand, String> {
    let mut relation = Relation::Equal;
    for modifier in modifiers {
        relation = match modifier {
            Modifier::Contains => Relation::Contains,
            Modifier::StartsWith => Relation::StartsWith,
            Modifier::EndsWith => Relation::EndsWith,
            Modifier::FieldRef | Modifier::Neq | Modifier::All | Modifier::Cased => relation,
            other => return Err(format!("`fieldref` together with `{}`", name(*other))),
        };
    }
    let names = values.iter().map(|value| match value {
        SigmaValue::String(s) if !s.original.is_empty() => Ok(s.original.clone()),
        other => Err(format!("`fieldref` to `{other}`, which is no field name")),
    });
    Ok(Demand::Fields { names: names.collect::<Result<_, _>>()?, relation, case, link, negated })
}

/// A value on its way through the modifiers.
#[derive(Clone, Debug)]
enum Draft {
    Pattern(Vec<Step>),
    Bytes(Vec<u8>),
    Whole(i64),
    Float(f64),
    Nothing,
    Done(Predicate),
}

fn wanted(modifiers: &[Modifier], value: &SigmaValue, case: Case, scope: Scope) -> Result<Wanted, String> {
    let mut drafts = vec![match value {
        SigmaValue::String(s) if modifiers.contains(&Modifier::Re) => Draft::Pattern(literal(&s.original)),
        SigmaValue::String(s) => Draft::Pattern(steps(s)),
        SigmaValue::Integer(n) => Draft::Whole(*n),
        SigmaValue::Float(n) => Draft::Float(*n),
        SigmaValue::Bool(b) => Draft::Pattern(literal(if *b { "true" } else { "false" })),
        SigmaValue::Null => Draft::Nothing,
    }];
    let mut flags = String::new();
    let mut modified: Option<Modifier> = None;
    for (place, &modifier) in modifiers.iter().enumerate() {
        if matches!(modifier, Modifier::All | Modifier::Neq | Modifier::Cased) {
            continue;
        }
        if let (Some(earlier), true) = (modified, wants_plain(modifier)) {
            return Err(format!("`{}` after `{}`", name(modifier), name(earlier)));
        }
        let mut next = Vec::new();
        for draft in drafts {
            if let Draft::Done(_) = draft
                && !matches!(modifier, Modifier::IgnoreCase | Modifier::Multiline | Modifier::DotAll)
            {
                let earlier = modifiers[..place].last().map_or("?", |m| name(*m));
                return Err(format!("`{}` after `{earlier}`", name(modifier)));
            }
            match modifier {
                Modifier::Contains | Modifier::StartsWith | Modifier::EndsWith => {
                    next.push(Draft::Pattern(affixed(pattern(draft, modifier)?, modifier)));
                }
                Modifier::WindAsh => next.push(Draft::Pattern(windash(&pattern(draft, modifier)?))),
                Modifier::Wide | Modifier::Utf16be | Modifier::Utf16 => {
                    next.push(Draft::Bytes(utf16(&plain(draft, modifier)?, modifier)));
                }
                Modifier::Base64 => next.push(Draft::Pattern(literal(&STANDARD.encode(bytes(draft, modifier)?)))),
                Modifier::Base64Offset => {
                    let bytes = bytes(draft, modifier)?;
                    next.extend((0..3).map(|offset| Draft::Pattern(literal(&base64_at(&bytes, offset)))));
                }
                Modifier::Re => {
                    let SigmaValue::String(own) = value else { return Err(format!("`re` with the value `{value}`")) };
                    next.push(Draft::Done(regex(&own.original, "", case)?));
                }
                Modifier::IgnoreCase | Modifier::Multiline | Modifier::DotAll => {
                    flags.push(match modifier {
                        Modifier::IgnoreCase => 'i',
                        Modifier::Multiline => 'm',
                        _ => 's',
                    });
                    let (Draft::Done(Predicate::Regex(_)), SigmaValue::String(own)) = (&draft, value) else {
                        return Err(format!("`{}` without `re`", name(modifier)));
                    };
                    next.push(Draft::Done(regex(&own.original, &flags, case)?));
                }
                Modifier::Cidr => next.push(Draft::Done(Predicate::Net(net(value)?))),
                Modifier::Gt | Modifier::Gte | Modifier::Lt | Modifier::Lte => {
                    let number = match draft {
                        Draft::Whole(n) => Number::Whole(n.into()),
                        Draft::Float(n) => Number::Float(n),
                        _ => return Err(format!("`{}` with `{value}`, which is no number", name(modifier))),
                    };
                    next.push(Draft::Done(Predicate::Compare(comparison(modifier), number)));
                }
                Modifier::Minute
                | Modifier::Hour
                | Modifier::Day
                | Modifier::Week
                | Modifier::Month
                | Modifier::Year => {
                    let Draft::Whole(n) = draft else {
                        return Err(format!("`{}` with `{value}`, which is no whole number", name(modifier)));
                    };
                    next.push(Draft::Done(Predicate::Part(part(modifier), n)));
                }
                Modifier::Expand => return Err(format!("`expand`: nothing fills the placeholder `{value}`")),
                other => return Err(format!("modifier `{}`", name(other))),
            }
        }
        drafts = next;
        modified = Some(modifier);
    }
    let mut tests = Vec::new();
    for draft in drafts {
        match draft {
            Draft::Nothing if scope == Scope::Field => return Ok(Wanted::Nothing),
            Draft::Nothing => return Err("null as a keyword".into()),
            Draft::Done(predicate) => tests.push(predicate),
            Draft::Whole(n) if scope == Scope::Field => tests.push(Predicate::Whole(n)),
            Draft::Float(n) if scope == Scope::Field => tests.push(Predicate::Float(n)),
            other => {
                let mut steps = pattern(other, Modifier::Contains)?;
                if scope == Scope::Event {
                    if steps.is_empty() {
                        return Err("an empty keyword".into());
                    }
                    steps = affixed(steps, Modifier::Contains);
                }
                tests.extend(predicates(steps, case));
            }
        }
    }
    Ok(Wanted::Tests(tests))
}

/// The specification allows these on unmodified values only.
fn wants_plain(modifier: Modifier) -> bool {
    use Modifier::*;
    matches!(modifier, Re | Cidr | Gt | Gte | Lt | Lte | Minute | Hour | Day | Week | Month | Year)
}

fn fits_keywords(modifier: Modifier) -> bool {
    use Modifier::*;
    matches!(
        modifier,
        All | Cased
            | Contains
            | Re
            | IgnoreCase
            | Multiline
            | DotAll
            | WindAsh
            | Wide
            | Utf16
            | Utf16be
            | Base64
            | Base64Offset
            | Expand
    )
}

fn steps(string: &SigmaString) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in &string.parts {
        match part {
            StringPart::Plain(text) => steps.extend(text.chars().map(Step::Char)),
            StringPart::Special(SpecialChar::WildcardMulti) => steps.push(Step::Any),
            StringPart::Special(SpecialChar::WildcardSingle) => steps.push(Step::One),
        }
    }
    steps
}

fn literal(text: &str) -> Vec<Step> {
    text.chars().map(Step::Char).collect()
}

fn pattern(draft: Draft, modifier: Modifier) -> Result<Vec<Step>, String> {
    match draft {
        Draft::Pattern(steps) => Ok(steps),
        Draft::Whole(n) => Ok(literal(&n.to_string())),
        Draft::Float(n) => Ok(literal(&format!("{n:?}"))),
        Draft::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(literal(&text)),
            Err(_) => Err("a UTF-16 encoding that is no text; `base64` or `base64offset` must follow".into()),
        },
        Draft::Nothing => Err(format!("`{}` of null", name(modifier))),
        Draft::Done(_) => Err(format!("`{}` of a finished test", name(modifier))),
    }
}

fn plain(draft: Draft, modifier: Modifier) -> Result<String, String> {
    pattern(draft, modifier)?
        .into_iter()
        .map(|step| match step {
            Step::Char(c) => Ok(c),
            _ => Err(format!("`{}` of a value with wildcards", name(modifier))),
        })
        .collect()
}

fn bytes(draft: Draft, modifier: Modifier) -> Result<Vec<u8>, String> {
    match draft {
        Draft::Bytes(bytes) => Ok(bytes),
        other => Ok(plain(other, modifier)?.into_bytes()),
    }
}

fn utf16(text: &str, modifier: Modifier) -> Vec<u8> {
    let units = text.encode_utf16();
    match modifier {
        Modifier::Utf16be => units.flat_map(u16::to_be_bytes).collect(),
        // `utf16` starts with a byte order mark, as pySigma writes it.
        Modifier::Utf16 => [0xFF, 0xFE].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect(),
        _ => units.flat_map(u16::to_le_bytes).collect(),
    }
}

/// The base64 of `bytes` when `offset` unknown bytes come before and unknown ones after: characters that mix known and
/// unknown bits are left out.
fn base64_at(bytes: &[u8], offset: usize) -> String {
    let mut padded = vec![b' '; offset];
    padded.extend_from_slice(bytes);
    let text = STANDARD.encode(&padded);
    let start = [0, 2, 3][offset];
    let cut = [0, 3, 2][padded.len() % 3];
    text.get(start..text.len() - cut).unwrap_or_default().to_owned()
}

fn affixed(mut steps: Vec<Step>, modifier: Modifier) -> Vec<Step> {
    if modifier != Modifier::StartsWith && steps.first() != Some(&Step::Any) {
        steps.insert(0, Step::Any);
    }
    if modifier != Modifier::EndsWith && steps.last() != Some(&Step::Any) {
        steps.push(Step::Any);
    }
    steps
}

/// Turns each `-` or `/` that begins a word into any dash: regex `\B[-/]\b`, within each literal part.
fn windash(steps: &[Step]) -> Vec<Step> {
    let is_word = |step: Option<&Step>| matches!(step, Some(Step::Char(c)) if c.is_alphanumeric() || *c == '_');
    steps
        .iter()
        .enumerate()
        .map(|(place, &step)| {
            let before = place.checked_sub(1).and_then(|p| steps.get(p));
            let begins = !is_word(before) && is_word(steps.get(place + 1));
            if matches!(step, Step::Char('-' | '/')) && begins { Step::Dash } else { step }
        })
        .collect()
}

/// The cheapest tests that say what a pattern says.
fn predicates(steps: Vec<Step>, case: Case) -> Vec<Predicate> {
    let mut folded: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::Any if folded.last() == Some(&Step::Any) => {}
            Step::Char(c) if case == Case::Folded => folded.push(Step::Char(fold_char(c))),
            other => folded.push(other),
        }
    }
    let dashes = folded.iter().filter(|s| **s == Step::Dash).count();
    if (1..=DASHES_EXPANDED_MAX).contains(&dashes) {
        let mut all = vec![folded];
        for _ in 0..dashes {
            all = all.into_iter().flat_map(expand_first_dash).collect();
        }
        return all.into_iter().map(|steps| predicate(steps, case)).collect();
    }
    vec![predicate(folded, case)]
}

fn expand_first_dash(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let Some(place) = steps.iter().position(|s| *s == Step::Dash) else { return vec![steps] };
    DASHES
        .iter()
        .map(|dash| {
            let mut steps = steps.clone();
            steps[place] = Step::Char(*dash);
            steps
        })
        .collect()
}

fn predicate(steps: Vec<Step>, case: Case) -> Predicate {
    let (open, rest) = match steps.split_first() {
        Some((Step::Any, rest)) => (true, rest),
        _ => (false, steps.as_slice()),
    };
    let (close, middle) = match rest.split_last() {
        Some((Step::Any, middle)) => (true, middle),
        _ => (false, rest),
    };
    let text: Option<String> = middle.iter().map(|s| if let Step::Char(c) = s { Some(*c) } else { None }).collect();
    match (text, open, close) {
        (Some(text), true, _) if text.is_empty() => Predicate::Present,
        (Some(text), true, true) => Predicate::Contains(case, text.into()),
        (Some(text), true, false) => Predicate::Suffix(case, text.into()),
        (Some(text), false, true) => Predicate::Prefix(case, text.into()),
        (Some(text), false, false) => Predicate::Equal(case, text.into()),
        (None, ..) => Predicate::Glob(case, Glob(steps)),
    }
}

/// Compiled with its flags inside the pattern, so that the text of the regex says all of it.
fn regex(own: &str, flags: &str, case: Case) -> Result<Predicate, String> {
    if case == Case::Exact {
        return Err("`cased` together with `re`, which minds case already".into());
    }
    let text = if flags.is_empty() { own.to_owned() } else { format!("(?{flags}){own}") };
    RegexBuilder::new(&text).build().map(Predicate::Regex).map_err(|e| format!("regular expression `{own}`: {e}"))
}

fn net(value: &SigmaValue) -> Result<IpNet, String> {
    let SigmaValue::String(s) = value else { return Err(format!("`cidr` with `{value}`")) };
    s.original
        .parse::<IpNet>()
        .or_else(|_| s.original.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`cidr` with `{value}`, which is no network"))
}

fn comparison(modifier: Modifier) -> Comparison {
    match modifier {
        Modifier::Gt => Comparison::Greater,
        Modifier::Gte => Comparison::GreaterOrEqual,
        Modifier::Lt => Comparison::Less,
        _ => Comparison::LessOrEqual,
    }
}

fn part(modifier: Modifier) -> TimePart {
    match modifier {
        Modifier::Minute => TimePart::Minute,
        Modifier::Hour => TimePart::Hour,
        Modifier::Day => TimePart::Day,
        Modifier::Week => TimePart::Week,
        Modifier::Month => TimePart::Month,
        _ => TimePart::Year,
    }
}

/// The modifier as rules write it.
fn name(modifier: Modifier) -> &'static str {
    use Modifier::*;
    match modifier {
        Contains => "contains",
        StartsWith => "startswith",
        EndsWith => "endswith",
        All => "all",
        Base64 => "base64",
        Base64Offset => "base64offset",
        Wide => "wide",
        Utf16be => "utf16be",
        Utf16 => "utf16",
        WindAsh => "windash",
        Re => "re",
        Cidr => "cidr",
        Cased => "cased",
        Exists => "exists",
        Expand => "expand",
        FieldRef => "fieldref",
        Gt => "gt",
        Gte => "gte",
        Lt => "lt",
        Lte => "lte",
        Neq => "neq",
        IgnoreCase => "i",
        Multiline => "m",
        DotAll => "s",
        Minute => "minute",
        Hour => "hour",
        Day => "day",
        Week => "week",
        Month => "month",
        Year => "year",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(modifiers: &[Modifier], value: SigmaValue) -> Result<Vec<String>, String> {
        match demand(modifiers, &[value], Scope::Field)? {
            Demand::Values { each, .. } => match each.into_iter().next() {
                Some(Wanted::Tests(tests)) => Ok(tests.iter().map(ToString::to_string).collect()),
                _ => Ok(Vec::new()),
            },
            other => Err(format!("{other:?}")),
        }
    }

    fn text(value: &str) -> SigmaValue {
        SigmaValue::String(SigmaString::new(value))
    }

    #[test]
    fn values_become_the_cheapest_test() {
        use Modifier::*;
        for (modifiers, value, tests) in [
            (&[][..], "AbC", "is `abc`"),
            (&[Cased], "AbC", "is `AbC`"),
            (&[], "*\\x", "ends with `\\x`"),
            (&[], "**", "is present"),
            (&[Contains], "", "is present"),
            (&[Contains], "a*b", "is like `*a*b*`"),
            (&[EndsWith], "\\", "ends with `\\`"),
            (&[Base64, Contains], "foobar", "contains `zm9vymfy`"),
            (&[Re, IgnoreCase, DotAll], "^a.b", "matches `(?is)^a.b`"),
        ] {
            assert_eq!(lower(modifiers, text(value)).unwrap(), [tests], "{value}");
        }
        assert_eq!(lower(&[WindAsh, Contains], text(" -a -b")).unwrap().len(), 25);
        assert_eq!(lower(&[WindAsh, Contains], text("-a -b -c")).unwrap(), ["is like `*-a -b -c*`"]);
        assert_eq!(
            lower(&[Base64Offset, Contains, Cased], text("/bin/sh")).unwrap(),
            ["contains `L2Jpbi9za`", "contains `9iaW4vc2`", "contains `vYmluL3No`"]
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        use Modifier::*;
        for (modifiers, value, part) in [
            (&[Expand][..], text("%users%"), "expand"),
            (&[Contains, Re], text("a"), "`re` after `contains`"),
            (&[Re, Contains], text("a"), "`contains` after `re`"),
            (&[Re], text("a(?=b)"), "regular expression"),
            (&[Gt], text("5"), "no number"),
            (&[Cidr], text("10.0.0.0/40"), "no network"),
            (&[Neq, All], text("a"), "neq"),
            (&[Contains, Base64], text("a"), "wildcards"),
            (&[Utf16], text("a"), "UTF-16"),
            (&[IgnoreCase], text("a"), "without `re`"),
            (&[Exists], text("yes"), "exists"),
            (&[Contains], SigmaValue::Null, "null"),
            (&[Hour], text("noon"), "hour"),
        ] {
            let why = lower(modifiers, value).unwrap_err();
            assert!(why.contains(part), "{modifiers:?}: {why}");
        }
    }
}
