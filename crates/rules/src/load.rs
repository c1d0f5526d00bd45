//! Reading rule files: folders, packs, documents, and what is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::id;
use rsigma_parser::fieldpath::first_unescaped;
use rsigma_parser::parse_sigma_yaml;
use serde_yaml_ng::Value;

use crate::exception::{Exception, dangling};
use crate::pack::{Pack, PackInfo, Problem, Reading};
use crate::placeholders::Placeholders;
use crate::rule::Rule;
use crate::taxonomy::{self, Taxonomy};
use crate::{Error, Result};

/// What is the same for all documents of a pack or a folder.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) info: PackInfo,
    pub(crate) reading: Reading,
    pub(crate) folder: Folder,
    pub(crate) taxonomy: Arc<Taxonomy>,
    pub(crate) placeholders: Placeholders,
    /// Identifies the pack's own field map and placeholders; empty without.
    own: String,
}

/// Which folder of a pack documents are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    /// `rules`, or a folder that is no pack's.
    Rules,
    /// `exceptions`, which hold nothing else.
    Exceptions,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) rules: Vec<(PathBuf, Rule)>,
    pub(crate) exceptions: Vec<(PathBuf, Exception)>,
    pub(crate) packs: Vec<Pack>,
    pub(crate) problems: Vec<Problem>,
}

impl Context {
    /// The context of documents that are in no pack.
    ///
    /// # Errors
    /// When the built-in field map is damaged.
    pub(crate) fn new(reading: Reading) -> Result<Self> {
        let taxonomy = Taxonomy::built_in().map_err(Error::Pack)?;
        let (info, placeholders) = (PackInfo::default(), Placeholders::default());
        Ok(Self { info, reading, folder: Folder::Rules, taxonomy, placeholders, own: String::new() })
    }

    /// Identifies a document, with what fills and maps it.
    pub(crate) fn digest_of(&self, text: &str) -> String {
        id::content_hash("palisade.rule_text.v1", format!("{}{text}", self.own).as_bytes())
    }
}

/// Loads a file or a folder, in the order of the paths.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn path(path: &Path, context: &Context, loaded: &mut Loaded) -> Result<()> {
    if !fs::metadata(path).map_err(unread(path))?.is_dir() {
        if let Some(text) = text_of(path, loaded)? {
            documents(path, &text, context, loaded);
        }
        return Ok(());
    }
    if path.join("pack.toml").is_file() {
        return pack(path, context.reading, loaded);
    }
    for entry in entries(path)? {
        if entry.is_dir() || entry.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            self::path(&entry, context, loaded)?;
        }
    }
    Ok(())
}

/// Loads a folder with a `pack.toml`. A pack whose own files cannot be understood is left out whole: its rules would mean
/// something else without them.
fn pack(path: &Path, reading: Reading, loaded: &mut Loaded) -> Result<()> {
    let Some(mut context) = context_of_pack(path, reading, loaded)? else { return Ok(()) };
    let (mut correlations, tests) = (files(&path.join("correlations"))?, files(&path.join("tests"))?);
    correlations.retain(|file| {
        let is_read = file.extension().is_some_and(|e| e == "toml");
        if !is_read {
            let why = "not read: correlations are TOML files with a query".into();
            loaded.problems.push(Problem { path: file.clone(), rule: None, why, fatal: false });
        }
        is_read
    });
    loaded.packs.push(Pack { info: context.info.clone(), path: Some(path.into()), correlations, tests });
    for (name, folder) in [("rules", Folder::Rules), ("exceptions", Folder::Exceptions)] {
        let path = path.join(name);
        if path.is_dir() {
            context.folder = folder;
            self::path(&path, &context, loaded)?;
        }
    }
    Ok(())
}

/// What is the same for all documents of a pack; `None` if its own files cannot be understood, which is a problem then.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn context_of_pack(path: &Path, reading: Reading, loaded: &mut Loaded) -> Result<Option<Context>> {
    let mut context = Context::new(reading)?;
    let before = loaded.problems.len();
    if let Some(info) = read(&path.join("pack.toml"), loaded, PackInfo::parse)? {
        context.info = info;
    }
    for (name, own) in [("fields.toml", Own::Fields), ("placeholders.toml", Own::Placeholders)] {
        let path = path.join(name);
        if !path.is_file() {
            continue;
        }
        let filled = read(&path, loaded, |text| {
            match own {
                // The starter pack's field map is the built-in one.
                Own::Fields if text == taxonomy::text() => return Ok(()),
                Own::Fields => context.taxonomy = Arc::new(context.taxonomy.extended(text)?),
                Own::Placeholders => context.placeholders = Placeholders::parse(text)?,
            }
            context.own.push_str(&id::content_hash("palisade.pack_file.v1", text.as_bytes()));
            Ok(())
        });
        filled?;
    }
    Ok((loaded.problems.len() == before).then_some(context))
}

/// A pack's own file that changes what its rules mean.
#[derive(Clone, Copy, Debug)]
enum Own {
    Fields,
    Placeholders,
}

/// What a file holds; `None` if it cannot be understood, which is a problem then.
fn read<T>(path: &Path, loaded: &mut Loaded, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>> {
    let Some(text) = text_of(path, loaded)? else { return Ok(None) };
    match parse(&text) {
        Ok(held) => Ok(Some(held)),
        Err(why) => {
            loaded.problems.push(Problem { path: path.into(), rule: None, why, fatal: true });
            Ok(None)
        }
    }
}

fn text_of(path: &Path, loaded: &mut Loaded) -> Result<Option<String>> {
    let text = String::from_utf8(fs::read(path).map_err(unread(path))?).ok().map(|text| unmarked(&text).to_owned());
    if text.is_none() {
        let why = "text that is not UTF-8".into();
        loaded.problems.push(Problem { path: path.into(), rule: None, why, fatal: true });
    }
    Ok(text)
}

/// Text without the byte order mark that some editors begin files with.
pub(crate) fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn unread(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    |why| Error::Unread { path, why }
}

/// What loading looks at in a folder, in order: all but hidden entries. A mounted ConfigMap keeps its files in hidden folders,
/// and links to them.
///
/// # Errors
/// When it cannot be read.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(unread(folder))?.map(|entry| entry.map(|e| e.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(unread(folder))?;
    let is_hidden = |entry: &PathBuf| entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    entries.retain(|entry| !is_hidden(entry));
    entries.sort_unstable();
    Ok(entries)
}

/// The YAML and TOML files of a folder; none if it is not there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|e| e == "yml" || e == "yaml" || e == "toml");
    Ok(entries(folder)?.into_iter().filter(is_ours).collect())
}

/// Reads the documents of one file.
pub(crate) fn documents(path: &Path, text: &str, context: &Context, loaded: &mut Loaded) {
    let Loaded { rules, exceptions, problems, .. } = loaded;
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
            let title = filter.title.clone();
            match Exception::new(filter, document, path, context) {
                Ok(exception) => exceptions.push((path.to_owned(), exception)),
                Err(why) => wrong(why, Some(title), true),
            }
        }
        for sigma in parsed.rules {
            let title = sigma.title.clone();
            if context.folder == Folder::Exceptions {
                wrong("a rule among exceptions".into(), Some(title), true);
                continue;
            }
            match Rule::new(sigma, document, context) {
                Ok(rule) => {
                    rule.lowered.dangling.iter().for_each(|name| wrong(dangling(name), Some(title.clone()), false));
                    rules.push((path.to_owned(), rule));
                }
                Err(why) => wrong(why, Some(title), true),
            }
        }
    }
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

/// Whether a text says nothing: blank lines, marks between documents, comments.
pub(crate) fn is_blank(document: &str) -> bool {
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
        let value = Value::deserialize(part).map_err(|e| unread_yaml(&e.to_string()))?;
        let (detection, filter) = (value.get("detection"), value.get("filter"));
        let has_arrays = value.get("sigma-version").and_then(Value::as_u64) == Some(3);
        if let Some(filter) = filter {
            check_targets(filter.get("rules"))?;
        }
        for (name, selection) in [detection, filter].into_iter().flatten().filter_map(Value::as_mapping).flatten() {
            match name.as_str() {
                None => return Err("a selection whose name is no text".into()),
                Some("condition") => check_condition(selection)?,
                Some("timeframe") => {}
                Some("rules") if filter.is_some() => {}
                Some(name) => {
                    check_selection(selection, has_arrays).map_err(|why| format!("selection `{name}`: {why}"))?
                }
            }
        }
    }
    Ok(())
}

/// The parser takes a filter that names no rules as one for all of them.
fn check_targets(rules: Option<&Value>) -> Result<(), String> {
    match rules {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Sequence(all)) if !all.is_empty() && all.iter().all(Value::is_string) => Ok(()),
        _ => Err("a filter whose `rules` are neither names of rules nor `any`".into()),
    }
}

/// Negations and parentheses of a condition: it is read level by level, on a stack that ends.
const CONDITION_DEPTH_MAX: usize = 256;

/// Refuses conditions that may be nested beyond any sense.
fn check_condition(condition: &Value) -> Result<(), String> {
    let texts: Vec<&str> = match condition {
        Value::Sequence(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let depth = |text: &str| {
        let words = text.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
        words.filter(|word| word.eq_ignore_ascii_case("not")).count() + text.matches('(').count()
    };
    match texts.into_iter().map(depth).max() {
        Some(depth) if depth > CONDITION_DEPTH_MAX => {
            Err(format!("a condition with {depth} negations and parentheses; {CONDITION_DEPTH_MAX} are read"))
        }
        _ => Ok(()),
    }
}

/// `has_arrays` says that brackets in a field's name select members of arrays, as from version 3 on.
fn check_selection(selection: &Value, has_arrays: bool) -> Result<(), String> {
    match selection {
        Value::Sequence(parts) => parts.iter().try_for_each(|part| check_selection(part, has_arrays)),
        Value::Mapping(items) => items.iter().try_for_each(|(key, value)| {
            let key = key.as_str().ok_or("a field whose name is no text")?;
            let at = |why| format!("field `{key}`: {why}");
            match value {
                Value::Sequence(values) => values.iter().try_for_each(check_scalar).map_err(at),
                // An array match is refused later, where it is known what could be written instead.
                Value::Mapping(_) if has_arrays && first_unescaped(key, b'[').is_some() => Ok(()),
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
        Value::Number(n) if n.is_u64() && !n.is_i64() => Err(format!("the number {n}: {BEYOND_64_BITS}")),
        // So many digits are read as a float.
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|f| f.abs() >= 2f64.powi(127)) => {
            Err(format!("the number {n}: {BEYOND_64_BITS}"))
        }
        _ => Ok(()),
    }
}

/// Events do have such numbers: they are compared as the text of their digits.
const BEYOND_64_BITS: &str =
    "it is beyond 64 bits; a whole number that is to be equalled is written in quotes, which keep all its digits";

/// What is wrong with YAML, in words that help its author.
fn unread_yaml(why: &str) -> String {
    match ["as u128", "as i128"].iter().any(|kind| why.contains(kind)) {
        true => format!("{why}: {BEYOND_64_BITS}"),
        false => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: A\nlogsource: {product: test}\ndetection:\n  s: {F: x}\n  condition: s\n";

    fn load(text: &str) -> (usize, Vec<(Option<String>, String, bool)>) {
        let mut loaded = Loaded::default();
        documents(Path::new("r.yml"), text, &Context::new(Reading::Taxonomy).unwrap(), &mut loaded);
        (loaded.rules.len(), loaded.problems.into_iter().map(|p| (p.rule, p.why, p.fatal)).collect())
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
            ("{F: x}", "{F: 18446744073709551615}", "in quotes"),
            ("{F: x}", "{F: 18446744073709551616}", "in quotes"),
            ("{F: x}", "{F: [-9223372036854775809]}", "in quotes"),
            ("{F: x}", "{F: 340282366920938463463374607431768211456}", "in quotes"),
            ("{F: x}", "{}", "no items"),
            ("{F: x}", "{F: []}", "empty list"),
            ("condition: s", "condition: s\n  timeframe: 5m", "timeframe"),
            ("condition: s", "condition: t", "no selection"),
            ("condition: s", &format!("condition: {}s", "not ".repeat(4000)), "negations"),
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
        assert!(load(&RULE.replace("{F: x}", "{'F[any]': {x: y}}")).1[0].1.contains("mapping as a value"));
        let v3 = RULE.replace("title: A", "title: A\nsigma-version: 3").replace("{F: x}", "{'F[any].x': x}");
        assert!(load(&v3).1[0].1.contains("array matching"));
    }

    #[test]
    fn remarks_leave_the_rule_loaded() {
        let dangling = RULE.replace("condition: s", "u: {G: y}\n  _v: {H: z}\n  t: {F: y}\n  condition: s and not t");
        for (text, parts) in
            [(format!("{RULE}level: dreadful\n"), &["level"][..]), (dangling, &["`_v` is not used", "`u` is not used"])]
        {
            let (rules, problems) = load(&text);
            assert_eq!((rules, problems.len()), (1, parts.len()), "{problems:?}");
            for ((_, why, fatal), part) in problems.iter().zip(parts) {
                assert!(why.contains(part) && !fatal, "{why}");
            }
        }
    }
}
