//! Reading rule files: folders, documents, and what is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};

use rsigma_parser::parse_sigma_yaml;
use serde_yaml_ng::Value;

use crate::pack::{PackInfo, Problem, Reading};
use crate::rule::Rule;
use crate::{Error, Result};

/// Loads a file or a folder into `rules`, in the order of the paths.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn path(
    path: &Path,
    pack: &PackInfo,
    reading: Reading,
    rules: &mut Vec<(PathBuf, Rule)>,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let unread = |why: std::io::Error| Error::Unread { path: path.to_owned(), why };
    if !fs::metadata(path).map_err(unread)?.is_dir() {
        let bytes = fs::read(path).map_err(unread)?;
        let Ok(text) = String::from_utf8(bytes) else {
            problems.push(Problem { path: path.into(), rule: None, why: "text that is not UTF-8".into(), fatal: true });
            return Ok(());
        };
        let (own, wrong) = documents(path, &text, pack, reading);
        rules.extend(own.into_iter().map(|rule| (path.to_owned(), rule)));
        problems.extend(wrong);
        return Ok(());
    }
    let described = path.join("pack.toml");
    if described.is_file() {
        let text = fs::read_to_string(&described).map_err(unread)?;
        return match toml::from_str::<PackInfo>(&text) {
            Ok(own) => self::path(&path.join("rules"), &own, reading, rules, problems),
            Err(e) => {
                problems.push(Problem { path: described, rule: None, why: e.to_string(), fatal: true });
                Ok(())
            }
        };
    }
    let mut entries = fs::read_dir(path)
        .map_err(unread)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unread)?;
    entries.sort_unstable();
    for entry in entries {
        if entry.is_dir() || entry.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            self::path(&entry, pack, reading, rules, problems)?;
        }
    }
    Ok(())
}

/// Reads the documents of one file.
pub(crate) fn documents(path: &Path, text: &str, pack: &PackInfo, reading: Reading) -> (Vec<Rule>, Vec<Problem>) {
    let mut rules = Vec::new();
    let mut problems = Vec::new();
    for document in split(text) {
        let title = title(document);
        let mut wrong = |why: String, rule: Option<String>, fatal: bool| {
            problems.push(Problem { path: path.into(), rule, why, fatal });
        };
        if let Err(why) = check(document) {
            wrong(why, title, true);
            continue;
        }
        let parsed = match parse_sigma_yaml(document) {
            Ok(parsed) => parsed,
            Err(e) => {
                wrong(e.to_string(), title, true);
                continue;
            }
        };
        // The parser reports both refusals and remarks here; only a refusal leaves the document without a result.
        let is_read = !(parsed.rules.is_empty() && parsed.correlations.is_empty() && parsed.filters.is_empty());
        for error in parsed.errors {
            wrong(error, title.clone(), !is_read);
        }
        for correlation in parsed.correlations {
            wrong("a correlation, which is not a rule over one event".into(), Some(correlation.title), false);
        }
        for filter in parsed.filters {
            wrong("`filter` documents".into(), Some(filter.title), true);
        }
        for sigma in parsed.rules {
            let title = sigma.title.clone();
            match Rule::new(sigma, document, pack, reading) {
                Ok(rule) => rules.push(rule),
                Err(why) => wrong(why, Some(title), true),
            }
        }
    }
    (rules, problems)
}

/// Cuts a file at its `---` lines, so that each document's problems name its rule. Files with collection actions, where
/// one document changes the next, stay whole.
fn split(text: &str) -> Vec<&str> {
    let mut cuts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("action:") {
            return vec![text];
        }
        if line.trim_end() == "---" {
            cuts.push(at + line.len());
        }
        at += line.len();
    }
    cuts.push(text.len());
    let documents = cuts.windows(2).filter_map(|cut| text.get(cut[0]..cut[1]));
    let documents = documents.map(|document| document.trim_end().strip_suffix("\n---").unwrap_or(document));
    documents.filter(|document| !is_blank(document)).collect()
}

fn is_blank(document: &str) -> bool {
    document.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#'))
}

fn title(document: &str) -> Option<String> {
    let line = document.lines().find_map(|line| line.strip_prefix("title:"))?;
    Some(line.trim().trim_matches(['\'', '"']).to_owned())
}

/// Refuses shapes of `detection` that the parser would read as something else: keys that are no text, values that are
/// no scalars, and whole numbers beyond 64 bits.
fn check(document: &str) -> Result<(), String> {
    use serde::Deserialize;
    for part in serde_yaml_ng::Deserializer::from_str(document) {
        let value = Value::deserialize(part).map_err(|e| e.to_string())?;
        let Some(detection) = value.get("detection").and_then(Value::as_mapping) else { continue };
        for (name, selection) in detection {
            match name.as_str() {
                None => return Err("a selection whose name is no text".into()),
                Some("condition" | "timeframe") => {}
                Some(name) => check_selection(selection).map_err(|why| format!("selection `{name}`: {why}"))?,
            }
        }
    }
    Ok(())
}

fn check_selection(selection: &Value) -> Result<(), String> {
    match selection {
        Value::Sequence(parts) => parts.iter().try_for_each(check_selection),
        Value::Mapping(items) => items.iter().try_for_each(|(key, value)| {
            let key = key.as_str().ok_or("a field whose name is no text")?;
            let at = |why| format!("field `{key}`: {why}");
            match value {
                Value::Sequence(values) => values.iter().try_for_each(check_scalar).map_err(at),
                value => check_scalar(value).map_err(at),
            }
        }),
        scalar => check_scalar(scalar),
    }
}

fn check_scalar(value: &Value) -> Result<(), String> {
    match value {
        Value::Mapping(_) | Value::Sequence(_) => Err("a list or mapping as a value".into()),
        Value::Tagged(_) => Err("a tagged value".into()),
        Value::Number(n) if n.is_u64() && !n.is_i64() => Err(format!("the number {n}, which is beyond 64 bits")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: A\nlogsource: {product: test}\ndetection:\n  s: {F: x}\n  condition: s\n";

    fn load(text: &str) -> (usize, Vec<(Option<String>, String, bool)>) {
        let (rules, problems) = documents(Path::new("r.yml"), text, &PackInfo::default(), Reading::Taxonomy);
        (rules.len(), problems.into_iter().map(|p| (p.rule, p.why, p.fatal)).collect())
    }

    #[test]
    fn documents_of_one_file_fail_apart() {
        let broken = RULE.replace("title: A", "title: B").replace("condition: s", "condition: s | count() > 5");
        let (rules, problems) = load(&format!("# head\n---\n{RULE}---\n{broken}---\n{}", RULE.replace("A", "C")));
        assert_eq!(rules, 2);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!((problems[0].0.as_deref(), problems[0].2), (Some("B"), true));
    }

    #[test]
    fn shapes_that_would_be_misread_are_refused() {
        for (from, to, part) in [
            ("{F: x}", "{F: {a: b}}", "mapping as a value"),
            ("{F: x}", "{F: [[a]]}", "mapping as a value"),
            ("{F: x}", "{1: x}", "no text"),
            ("{F: x}", "{F: 18446744073709551615}", "64 bits"),
            ("{F: x}", "{}", "no items"),
            ("{F: x}", "{F: []}", "empty list"),
            ("condition: s", "condition: s\n  timeframe: 5m", "timeframe"),
            ("condition: s", "condition: t", "no selection"),
            ("condition: s", "condition: 2 of them", "1 are selected"),
            ("product: test", "definition: x", "logsource"),
            ("title: A", "title: A\npalisade: {entity: planet}", "palisade"),
            ("title: A", "title: A\nsigma-version: 9", "sigma-version"),
            ("title: A", "titel: A", "title"),
            ("title: A", "title: A\ntitle: B", "duplicate"),
        ] {
            let (rules, problems) = load(&RULE.replace(from, to));
            assert_eq!(rules, 0, "{to}");
            assert!(problems[0].1.contains(part) && problems[0].2, "{to}: {problems:?}");
        }
        let v3 = RULE.replace("title: A", "title: A\nsigma-version: 3").replace("{F: x}", "{'F[any].x': x}");
        assert!(load(&v3).1[0].1.contains("array matching"));
    }

    #[test]
    fn remarks_leave_the_rule_loaded() {
        let (rules, problems) = load(&format!("{RULE}level: dreadful\n"));
        assert_eq!(rules, 1);
        assert_eq!((problems.len(), problems[0].2), (1, false));
    }
}
