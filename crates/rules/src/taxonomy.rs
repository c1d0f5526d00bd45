//! Which rows a logsource means, and what its field names mean. The mapping itself is data: `packs/starter/fields.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use palisade_events::schema::AnyColumn;
use serde::Deserialize;

use crate::expr::Source;
use crate::rule::Logsource;

const FIELDS: &str = include_str!("../../../packs/starter/fields.toml");

/// The rows that a rule may apply to: of any of the formats (any format, if none is named) and passing any of the
/// tests (no test, if none is given).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowFilter {
    pub(crate) formats: Vec<String>,
    pub(crate) tests: Vec<RowTest>,
}

/// A test of a row's columns; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowTest {
    /// OCSF class.
    pub(crate) class: Option<i32>,
    /// System calls, by name.
    #[serde(default)]
    pub(crate) syscalls: Vec<String>,
    /// Column that must not be null.
    pub(crate) has: Option<String>,
}

/// What a logsource means for fields.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Option<&'static FieldMap>,
    names: Names,
}

/// Whether bare column names are columns in a rule, or only those that no log would use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// The rule is written for the event table.
    Ours,
    /// The rule is written for the original payload.
    Theirs,
    /// Every field is a path of the payload, whatever its name, and every rule sees every row.
    Written,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Taxonomy {
    logsource: Vec<Entry>,
    map: BTreeMap<String, FieldMap>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Accepted values of each part; an empty text accepts its absence, and an absent list accepts all.
    category: Option<Vec<String>>,
    product: Option<Vec<String>>,
    service: Option<Vec<String>>,
    #[serde(default)]
    formats: Vec<String>,
    #[serde(default)]
    rows: Vec<RowTest>,
    map: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldMap {
    /// Field names and the columns or raw paths that hold their values; any of them may match.
    #[serde(default)]
    aliases: BTreeMap<String, Vec<String>>,
    /// Raw paths, and the column that always holds the same text.
    #[serde(default)]
    same: BTreeMap<String, String>,
    /// Field names whose values the columns write in other words: the rule's value, and the columns' words for it.
    #[serde(default)]
    words: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

static TAXONOMY: LazyLock<Result<Taxonomy, toml::de::Error>> = LazyLock::new(|| toml::from_str(FIELDS));

/// The text of the mapping, which is part of what a rule means.
pub(crate) fn text() -> &'static str {
    FIELDS
}

/// The payload paths of a format that a column always repeats.
pub(crate) fn same_columns(format: &str) -> impl Iterator<Item = (&'static str, AnyColumn)> {
    let entries = TAXONOMY.as_ref().into_iter().flat_map(|taxonomy| {
        taxonomy.logsource.iter().filter_map(|entry| taxonomy.map.get(entry.map.as_ref()?).map(|map| (entry, map)))
    });
    entries
        .filter(move |(entry, _)| entry.formats.iter().any(|own| own == format))
        .flat_map(|(_, map)| &map.same)
        .filter_map(|(path, column)| Some((path.as_str(), AnyColumn::named(column)?)))
}

/// The rows and the fields of a logsource.
///
/// # Errors
/// When the logsource names nothing.
pub(crate) fn meaning(logsource: &Logsource, names: Names) -> Result<(RowFilter, Fields), String> {
    if names == Names::Written {
        return Ok((RowFilter::default(), Fields { map: None, names }));
    }
    let taxonomy = TAXONOMY.as_ref().map_err(|e| format!("the built-in field map: {e}"))?;
    if let Some(entry) = taxonomy.logsource.iter().find(|entry| entry.accepts(logsource)) {
        let map = match &entry.map {
            None => None,
            Some(name) => Some(taxonomy.map.get(name).ok_or_else(|| format!("the built-in field map lacks `{name}`"))?),
        };
        let filter = RowFilter { formats: entry.formats.clone(), tests: entry.rows.clone() };
        return Ok((filter, Fields { map, names }));
    }
    let mut formats: Vec<String> =
        [&logsource.product, &logsource.service].into_iter().flatten().map(|name| name.to_lowercase()).collect();
    if formats.is_empty() {
        formats.extend(logsource.category.iter().map(|name| name.to_lowercase()));
    }
    if formats.is_empty() {
        return Err("a logsource without product, service or category".into());
    }
    formats.sort_unstable();
    formats.dedup();
    Ok((RowFilter { formats, tests: Vec::new() }, Fields { map: None, names }))
}

impl Entry {
    fn accepts(&self, logsource: &Logsource) -> bool {
        let fits = |accepted: &Option<Vec<String>>, part: &Option<String>| {
            let part = part.as_deref().unwrap_or_default();
            accepted.as_ref().is_none_or(|all| all.iter().any(|a| a.eq_ignore_ascii_case(part)))
        };
        fits(&self.category, &logsource.category)
            && fits(&self.product, &logsource.product)
            && fits(&self.service, &logsource.service)
    }
}

impl Fields {
    /// Where a field's values come from.
    pub(crate) fn sources(&self, field: &str) -> Vec<Source> {
        if let Some(targets) = self.map.and_then(|map| map.aliases.get(field)) {
            return targets.iter().map(|target| source(target)).collect();
        }
        // Columns of one word (`time`, `message`, `source`) are also common keys of logs; no log has the others.
        let is_ours = self.names == Names::Ours || field.contains('_');
        match AnyColumn::named(field) {
            Some(column) if is_ours && self.names != Names::Written => vec![Source::Column(column)],
            _ => vec![Source::Raw(rsigma_parser::fieldpath::unescape_brackets(field).into())],
        }
    }

    /// The words that the columns of a field have for the rule's values; `None` if they are the rule's own.
    pub(crate) fn words(&self, field: &str) -> Option<&'static BTreeMap<String, Vec<String>>> {
        self.map?.words.get(field)
    }

    /// The column that holds the same text as a raw path, where there is one. It may stand in for tests of non-empty
    /// text only: a null, an empty text and a missing key look alike in a column.
    pub(crate) fn same(&self, path: &str) -> Option<Source> {
        let column = self.map?.same.get(path)?;
        AnyColumn::named(column).map(Source::Column)
    }
}

fn source(target: &str) -> Source {
    AnyColumn::named(target).map_or_else(|| Source::Raw(target.into()), Source::Column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logsource(category: &str, product: &str, service: &str) -> Logsource {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Logsource { category: part(category), product: part(product), service: part(service) }
    }

    #[test]
    fn built_in_map_names_existing_maps_and_columns() {
        let taxonomy = TAXONOMY.as_ref().unwrap();
        for entry in &taxonomy.logsource {
            assert!(entry.map.as_ref().is_none_or(|name| taxonomy.map.contains_key(name)), "{entry:?}");
            for test in &entry.rows {
                assert!(test.has.as_ref().is_none_or(|name| AnyColumn::named(name).is_some()), "{test:?}");
            }
        }
        for map in taxonomy.map.values() {
            for column in map.same.values() {
                assert!(AnyColumn::named(column).is_some(), "{column}");
            }
            for target in map.aliases.values().flatten() {
                assert!(target.contains('.') || AnyColumn::named(target).is_some(), "{target}");
            }
        }
    }

    #[test]
    fn logsources_mean_rows() {
        for (category, product, service, formats, tests) in [
            ("application", "kubernetes", "audit", &["k8s_audit"][..], 0),
            ("", "linux", "auditd", &["auditd"], 0),
            ("process_creation", "linux", "", &[], 3),
            ("process_creation", "", "", &[], 3),
            ("process_creation", "windows", "", &["windows"], 0),
            ("file_event", "linux", "", &[], 1),
            ("network_connection", "linux", "", &[], 1),
            ("", "falco", "", &["falco"], 0),
            ("", "aws", "cloudtrail", &["aws", "cloudtrail"], 0),
            ("proxy", "", "", &["proxy"], 0),
        ] {
            let (rows, _) = meaning(&logsource(category, product, service), Names::Theirs).unwrap();
            assert_eq!(
                (rows.formats.as_slice(), rows.tests.len()),
                (formats.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(), tests)
            );
        }
        assert!(meaning(&logsource("", "", ""), Names::Theirs).is_err());
    }

    #[test]
    fn field_names_mean_columns_or_raw_paths() {
        let (_, fields) = meaning(&logsource("process_creation", "linux", ""), Names::Theirs).unwrap();
        assert_eq!(fields.sources("Image"), [source("process_file_path")]);
        assert_eq!(fields.sources("process_name"), [source("process_name")]);
        assert_eq!(fields.sources("time"), [Source::Raw("time".into())]);
        let (_, fields) = meaning(&logsource("", "kubernetes", "audit"), Names::Ours).unwrap();
        assert_eq!(fields.sources("message"), [source("message")]);
        assert_eq!(fields.sources("hostPath").len(), 6);
        assert_eq!(fields.same("verb"), Some(source("api_operation")));
        assert_eq!(fields.sources("args\\[0\\]"), [Source::Raw("args[0]".into())]);
    }
}
