//! From a parsed Sigma rule to an expression over fields.
//!
//! Everything that is not honoured exactly is an error that names the construct. Not here: reading files (see
//! [`crate::load`]) and the tests of single values (see [`crate::modifiers`]).

use std::collections::BTreeMap;

use rsigma_parser::fieldpath::{first_unescaped, unescape_brackets};
use rsigma_parser::{
    ArrayQuantifier, ConditionExpr, Detection, DetectionItem, Detections, FieldSpec, Modifier, Quantifier,
    SelectorPattern, SigmaString, SigmaValue,
};

use crate::expr::{Expr, Shown, Source};
use crate::modifiers::{Demand, Link, Scope, Wanted, demand};
use crate::predicate::Predicate;
use crate::taxonomy::Fields;
use crate::text::Step;

/// What a rule's `detection` means.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    pub(crate) expr: Expr,
    /// The fields that speak for a match: those of selections that the condition wants to hold.
    pub(crate) shown: Vec<Shown>,
    /// Selections that the condition does not use.
    pub(crate) dangling: Vec<String>,
}

/// Lowers a detection section.
///
/// # Errors
/// The construct that is not honoured, and where.
pub(crate) fn lower(detections: &Detections, fields: &Fields) -> Result<Lowered, String> {
    if detections.timeframe.is_some() {
        return Err("`timeframe`, which belongs to the obsolete aggregations".into());
    }
    let mut selections = BTreeMap::new();
    for (name, detection) in detections.named.iter().collect::<BTreeMap<_, _>>() {
        let mut shown = Vec::new();
        let expr = detection_expr(detection, fields, &mut shown).map_err(|why| format!("selection `{name}`: {why}"))?;
        selections.insert(name.as_str(), (expr, shown));
    }
    let mut used = BTreeMap::new();
    let mut conditions = Vec::new();
    for condition in &detections.conditions {
        conditions.push(condition_expr(condition, &selections, Sign::Wanted, &mut used)?);
    }
    let mut shown = Vec::new();
    let mut dangling = Vec::new();
    for (name, (_, own)) in &selections {
        match used.get(name) {
            Some(Sign::Wanted) => shown.extend(own.iter().cloned()),
            Some(Sign::Unwanted) => {}
            None => dangling.push((*name).to_owned()),
        }
    }
    match one_or(conditions, Expr::Or) {
        Some(expr) => Ok(Lowered { expr, shown, dangling }),
        None => Err("an empty list of conditions".into()),
    }
}

/// Whether a part of a condition is to hold or not to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Wanted,
    Unwanted,
}

/// The selections that a condition uses; wanted, if it wants them to hold anywhere.
type Used<'d> = BTreeMap<&'d str, Sign>;

type Selections<'d> = BTreeMap<&'d str, (Expr, Vec<Shown>)>;

fn condition_expr<'d>(
    condition: &ConditionExpr,
    selections: &Selections<'d>,
    sign: Sign,
    used: &mut Used<'d>,
) -> Result<Expr, String> {
    let mut use_of = |name: &'d str| {
        let known = used.entry(name).or_insert(sign);
        if sign == Sign::Wanted {
            *known = sign;
        }
    };
    Ok(match condition {
        ConditionExpr::Identifier(name) => {
            let (&name, (expr, _)) = selections
                .get_key_value(name.as_str())
                .ok_or_else(|| format!("the condition names `{name}`, which is no selection"))?;
            use_of(name);
            expr.clone()
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            let chosen: Vec<_> = selections.iter().filter(|(name, _)| selects(pattern, name)).collect();
            if chosen.is_empty() {
                return Err(format!("`{quantifier} of {pattern}` selects nothing"));
            }
            chosen.iter().for_each(|(name, _)| use_of(name));
            let all: Vec<Expr> = chosen.into_iter().map(|(_, (expr, _))| expr.clone()).collect();
            let count = all.len();
            let expr = match quantifier {
                Quantifier::Any => one_or(all, Expr::Or),
                Quantifier::All => one_or(all, Expr::And),
                Quantifier::Count(n) => match usize::try_from(*n) {
                    Ok(n) if (1..=count).contains(&n) => Some(Expr::AtLeast(n, all)),
                    _ => return Err(format!("`{n} of {pattern}`, where {count} are selected")),
                },
            };
            expr.ok_or_else(|| format!("`{quantifier} of {pattern}` selects nothing"))?
        }
        ConditionExpr::Not(inner) => {
            let sign = if sign == Sign::Wanted { Sign::Unwanted } else { Sign::Wanted };
            Expr::Not(Box::new(condition_expr(inner, selections, sign, used)?))
        }
        ConditionExpr::And(all) | ConditionExpr::Or(all) => {
            let parts = all.iter().map(|c| condition_expr(c, selections, sign, used));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            let join = if matches!(condition, ConditionExpr::And(_)) { Expr::And } else { Expr::Or };
            one_or(parts, join).ok_or("an empty condition")?
        }
    })
}

/// Names that begin with `_` are hidden from `them` and from patterns that do not begin so themselves.
fn selects(pattern: &SelectorPattern, name: &str) -> bool {
    match pattern {
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => {
            let steps = pattern.chars().map(|c| if c == '*' { Step::Any } else { Step::Char(c) }).collect();
            (pattern.starts_with('_') || !name.starts_with('_')) && crate::text::Glob(steps).fits(name)
        }
    }
}

fn detection_expr(detection: &Detection, fields: &Fields, shown: &mut Vec<Shown>) -> Result<Expr, String> {
    match detection {
        Detection::AllOf(items) => {
            let all = items.iter().map(|item| item_expr(item, fields, shown)).collect::<Result<_, _>>()?;
            one_or(all, Expr::And).ok_or_else(|| "no items".into())
        }
        Detection::AnyOf(parts) => {
            let any = parts.iter().map(|part| detection_expr(part, fields, shown)).collect::<Result<_, _>>()?;
            one_or(any, Expr::Or).ok_or_else(|| "no items".into())
        }
        Detection::Keywords(values) => {
            let item = DetectionItem { field: FieldSpec::new(None, Vec::new()), values: values.clone() };
            item_expr(&item, fields, shown)
        }
        Detection::ArrayMatch { field, quantifier, body } => {
            let instead = instead_of_match(field, quantifier, body);
            Err(format!("`{field}[{quantifier}]`: array matching of Sigma 3; {instead}"))
        }
        Detection::And(_) | Detection::Conditional { .. } => Err("array matching of Sigma 3".into()),
    }
}

/// What says the same as an array match without being one, if anything does: a path looks into every member on its way, so
/// that one positive item needs no match, while items side by side may be fulfilled by several members.
fn instead_of_match(field: &str, quantifier: &ArrayQuantifier, body: &Detection) -> String {
    match (quantifier, path_of_match(field, body)) {
        (ArrayQuantifier::Any, Some(path)) => format!("`{path}` means any member as it is"),
        (ArrayQuantifier::None, Some(path)) => {
            format!("`{path}` means any member as it is: give it a selection of its own that the condition negates")
        }
        (ArrayQuantifier::Any | ArrayQuantifier::None, None) => "nothing else asks all of it of one member".into(),
        (ArrayQuantifier::All | ArrayQuantifier::AllOrEmpty, _) => "nothing else asks it of every member".into(),
    }
}

/// The path of the one item that is asked of any member, if it is the same without the match.
fn path_of_match(field: &str, body: &Detection) -> Option<String> {
    match body {
        Detection::ArrayMatch { field: below, quantifier: ArrayQuantifier::Any, body } => {
            path_of_match(&format!("{field}.{below}"), body)
        }
        Detection::AllOf(items) => {
            let [DetectionItem { field: own, values }] = items.as_slice() else { return None };
            let is_negative = |m: &Modifier| matches!(m, Modifier::Neq | Modifier::Exists);
            let is_of_one = values.len() == 1 || !own.modifiers.contains(&Modifier::All);
            let is_same =
                is_of_one && !own.modifiers.iter().any(is_negative) && values.iter().all(|v| *v != SigmaValue::Null);
            is_same.then(|| own.name.as_ref().map_or_else(|| field.to_owned(), |name| format!("{field}.{name}")))
        }
        _ => None,
    }
}

/// A path without what is in brackets.
fn unbracketed(path: &str) -> String {
    let mut depth = 0usize;
    path.chars()
        .filter(|c| {
            let is_outside = depth == 0 && *c != '[';
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            is_outside
        })
        .collect()
}

fn item_expr(item: &DetectionItem, fields: &Fields, shown: &mut Vec<Shown>) -> Result<Expr, String> {
    let Some(field) = &item.field.name else {
        let wanted = demand(&item.field.modifiers, &item.values, Scope::Event).map_err(|w| format!("keywords: {w}"))?;
        return field_expr("", vec![Source::Event], wanted, fields, shown);
    };
    let at = |why: String| format!("field `{field}`: {why}");
    if first_unescaped(field, b'[').is_some() {
        return Err(at(format!("array positions of Sigma 3; without them, `{}` means any member", unbracketed(field))));
    }
    let field = &*unescape_brackets(field);
    let values = match fields.words(field) {
        None => item.values.clone(),
        Some(words) => in_words(words, &item.field.modifiers, &item.values).map_err(at)?,
    };
    let wanted = demand(&item.field.modifiers, &values, Scope::Field).map_err(at)?;
    let mut sources = fields.sources(field);
    if let (Some(column), true) = (fields.same(field), is_of_text(&wanted)) {
        sources = vec![column];
    }
    field_expr(field, sources, wanted, fields, shown).map_err(at)
}

/// Writes the rule's values in the words of the columns.
fn in_words(
    words: &BTreeMap<String, Vec<String>>,
    modifiers: &[Modifier],
    values: &[SigmaValue],
) -> Result<Vec<SigmaValue>, String> {
    if !modifiers.is_empty() {
        return Err("modifiers on a field whose values are translated".into());
    }
    let mut all = Vec::new();
    for value in values {
        let own = words.get(&value.to_string().to_lowercase());
        let own = own.ok_or_else(|| format!("the value `{value}` is not translated"))?;
        all.extend(own.iter().map(|word| SigmaValue::String(SigmaString::from_raw(word))));
    }
    Ok(all)
}

/// Whether only non-empty text can pass: then a column that drops nulls and empty text gives the same verdict.
fn is_of_text(demand: &Demand) -> bool {
    let is_text = |test: &Predicate| match test {
        Predicate::Equal(_, t) | Predicate::Contains(_, t) | Predicate::Prefix(_, t) | Predicate::Suffix(_, t) => {
            !t.is_empty()
        }
        Predicate::Glob(_, glob) => glob.0.iter().any(|step| *step != Step::Any),
        _ => false,
    };
    match demand {
        Demand::Values { each, .. } => {
            each.iter().all(|wanted| matches!(wanted, Wanted::Tests(tests) if tests.iter().all(is_text)))
        }
        _ => false,
    }
}

fn field_expr(
    field: &str,
    sources: Vec<Source>,
    demand: Demand,
    fields: &Fields,
    shown: &mut Vec<Shown>,
) -> Result<Expr, String> {
    let any = |test: Predicate| -> Vec<Expr> {
        sources.iter().map(|source| Expr::Any(source.clone(), vec![test.clone()])).collect()
    };
    let missing = || Expr::Not(Box::new(Expr::Or(any(Predicate::Exists))));
    let show = |shown: &mut Vec<Shown>, tests: Vec<Predicate>| {
        shown.push(Shown { field: field.into(), sources: sources.clone(), tests });
    };
    match demand {
        Demand::Existence(true) => {
            show(shown, vec![Predicate::Exists]);
            one_or(any(Predicate::Exists), Expr::Or).ok_or_else(|| "no source".into())
        }
        Demand::Existence(false) => Ok(missing()),
        Demand::Values { each, link, negated } => {
            // One test set for a whole list of alternatives: the engine looks a value up once for all of them.
            let mut groups: Vec<Wanted> = Vec::new();
            for wanted in each {
                match (wanted, groups.last_mut()) {
                    (Wanted::Tests(tests), Some(Wanted::Tests(group))) if link == Link::Any => group.extend(tests),
                    (wanted, _) => groups.push(wanted),
                }
            }
            let mut parts = Vec::new();
            for wanted in groups {
                parts.push(match wanted {
                    Wanted::Nothing => {
                        let mut nothing = any(Predicate::Null);
                        nothing.push(missing());
                        Expr::Or(nothing)
                    }
                    Wanted::Tests(tests) => {
                        let all = sources.iter().map(|s| Expr::Any(s.clone(), tests.clone())).collect();
                        if !negated {
                            show(shown, tests);
                        }
                        one_or(all, Expr::Or).ok_or("no source")?
                    }
                });
            }
            linked(parts, link, negated)
        }
        Demand::Fields { names, relation, case, link, negated } => {
            let mut parts = Vec::new();
            for name in &names {
                let targets = fields.sources(name);
                let pairs = sources.iter().flat_map(|left| {
                    targets.iter().map(move |right| Expr::Related(left.clone(), relation, case, right.clone()))
                });
                parts.push(one_or(pairs.collect(), Expr::Or).ok_or("no source")?);
            }
            if !negated {
                show(shown, vec![Predicate::Present]);
            }
            linked(parts, link, negated)
        }
    }
}

fn linked(parts: Vec<Expr>, link: Link, negated: bool) -> Result<Expr, String> {
    let join = if link == Link::All { Expr::And } else { Expr::Or };
    let expr = one_or(parts, join).ok_or("an empty list of values")?;
    Ok(if negated { Expr::Not(Box::new(expr)) } else { expr })
}

/// The only expression, or all of them joined; `None` for none.
fn one_or(mut all: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Option<Expr> {
    match all.len() {
        0 => None,
        1 => all.pop(),
        _ => Some(join(all)),
    }
}

#[cfg(test)]
mod tests {
    use crate::RuleSet;

    #[test]
    fn refused_array_matches_tell_what_says_the_same() {
        for (item, part) in [
            ("'c[any].x': v", "`c[any]`: array matching of Sigma 3; `c.x` means any member"),
            ("'c[any]': {x|endswith: v}", "`c.x` means any member"),
            ("'c[any].d[any].x': [v, w]", "`c.d.x` means any member"),
            ("'c[any]|contains': v", "`c` means any member"),
            ("'c[none].x': v", "`c.x` means any member as it is: give it a selection of its own"),
            ("'c[any]': {x: v, y: w}", "nothing else asks all of it of one member"),
            ("'c[any].x|contains|all': [v, w]", "nothing else asks all of it of one member"),
            ("'c[any].x': null", "nothing else"),
            ("'c[none].x|neq': v", "nothing else"),
            ("'c[any].d[all].x': v", "nothing else"),
            ("'c[all].x': v", "nothing else asks it of every member"),
            ("'c[all_or_empty].x': v", "nothing else asks it of every member"),
            ("'c[0].x': v", "array positions of Sigma 3; without them, `c.x` means any member"),
        ] {
            let text = format!(
                "title: t\nsigma-version: 3\nlogsource: {{product: test}}\ndetection:\n  s:\n    {item}\n  condition: s\n"
            );
            let (rules, problems) = RuleSet::parse("r.yml", &text);
            let [problem] = problems.as_slice() else { panic!("{item}: {problems:?}") };
            assert!(rules.rules().is_empty() && problem.fatal && problem.why.contains(part), "{item}: {}", problem.why);
        }
    }
}
