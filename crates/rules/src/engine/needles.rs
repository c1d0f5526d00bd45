//! Literals that a text must hold if a costly pattern is to fit it: sought with all others of the field, so that most
//! texts are never given to the pattern.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::predicate::Predicate;
use crate::text::{Case, Step, fold, fold_char};

/// More alternatives than this are worth less than they cost.
const ALTERNATIVES_MAX: usize = 64;
/// Shorter literals are in too many texts to tell anything.
const LENGTH_MIN: usize = 2;

/// Folded literals, one of which every text that passes a test has in its folded form; `None` if there are none that
/// would tell.
pub(crate) fn needles(test: &Predicate) -> Option<Vec<String>> {
    let all = match test {
        Predicate::Glob(_, glob) => {
            let runs = glob.0.split(|step| !matches!(step, Step::Char(_)));
            let texts = runs.map(|run| {
                let chars = run.iter().filter_map(|step| match step {
                    Step::Char(c) => Some(*c),
                    _ => None,
                });
                chars.map(fold_char).collect::<String>()
            });
            vec![texts.max_by_key(String::len)?]
        }
        Predicate::Regex(regex) => {
            let parsed = ParserBuilder::new().build().parse(regex.as_str()).ok()?;
            of_hir(&parsed)?
        }
        _ => return None,
    };
    (worth(&all) >= LENGTH_MIN).then_some(all)
}

/// The tests that demand one of the literals.
pub(crate) fn demanded(needles: Vec<String>) -> impl Iterator<Item = Predicate> {
    needles.into_iter().map(|text| Predicate::Contains(Case::Folded, text.into()))
}

/// What a set of alternatives tells: as much as its shortest.
fn worth(all: &[String]) -> usize {
    all.iter().map(String::len).min().unwrap_or(0)
}

fn of_hir(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Concat(parts) => best(parts),
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => of_hir(&repeated.sub),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(of_hir(part)?);
            }
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        _ => spelled(hir),
    }
}

/// The most telling of the literals that a sequence demands: runs of what is spelled out count as one.
fn best(parts: &[Hir]) -> Option<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut run: Option<Vec<String>> = None;
    for part in parts {
        let own = spelled(part);
        run = match (run.take(), own) {
            (Some(run), Some(own)) if run.len() * own.len() <= ALTERNATIVES_MAX => {
                Some(run.iter().flat_map(|head| own.iter().map(move |tail| format!("{head}{tail}"))).collect())
            }
            (run, own) => {
                found.extend(run);
                if own.is_none() {
                    found.extend(of_hir(part));
                }
                own
            }
        };
    }
    found.extend(run);
    found.into_iter().max_by_key(|all| (worth(all), std::cmp::Reverse(all.len())))
}

/// All texts that a part fits, folded, if they are few.
fn spelled(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![fold(std::str::from_utf8(&literal.0).ok()?).into_owned()]),
        HirKind::Class(Class::Unicode(class)) => {
            let mut chars: Vec<char> = Vec::new();
            for range in class.ranges() {
                for c in range.start()..=range.end() {
                    let c = fold_char(c);
                    if !chars.contains(&c) {
                        chars.push(c);
                    }
                    if chars.len() > 4 {
                        return None;
                    }
                }
            }
            Some(chars.into_iter().map(String::from).collect())
        }
        HirKind::Capture(capture) => spelled(&capture.sub),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(spelled(part)?);
            }
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Concat(parts) => {
            let mut all = vec![String::new()];
            for part in parts {
                let own = spelled(part)?;
                if all.len() * own.len() > ALTERNATIVES_MAX {
                    return None;
                }
                all = all.iter().flat_map(|head| own.iter().map(move |tail| format!("{head}{tail}"))).collect();
            }
            Some(all)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn patterns_demand_what_every_fitting_text_has() {
        for (pattern, expected) in [
            ("abc", Some(vec!["abc"])),
            ("(?i)AbC.*xy", Some(vec!["abc"])),
            ("a.{0,3}", None),
            ("^(?:cmd|PowerShell)\\.exe$", Some(vec!["cmd.exe", "powershell.exe"])),
            ("(?:foo.*|bar)+x?", Some(vec!["foo", "bar"])),
            ("(?:foo)?b", None),
            ("(?:foo)?bar", Some(vec!["bar"])),
            ("a(?:|b)c", Some(vec!["ac", "abc"])),
            ("(?:foo){2,}", Some(vec!["foo"])),
            ("[a-z]{5}", None),
            ("x[ab]y", Some(vec!["xay", "xby"])),
            ("(?i)ſk", Some(vec!["sk"])),
            ("a||b", None),
        ] {
            let found = needles(&Predicate::Regex(Regex::new(pattern).unwrap()));
            assert_eq!(found, expected.map(|all| all.into_iter().map(str::to_owned).collect()), "{pattern}");
        }
    }
}
