//! Which rows a logsource means, and what its field names mean. The mapping itself is data: `packs/starter/fields.toml`,
//! and the `fields.toml` of packs, whose entries are tried first.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

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
    /// OCSF activities within the class; 0 is an unknown one.
    #[serde(default)]
    pub(crate) activities: Vec<i32>,
    /// System calls, by name.
    #[serde(default)]
    pub(crate) syscalls: Vec<String>,
    /// Column that must not be null.
    pub(crate) has: Option<String>,
}

/// What a logsource means for fields.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    map: Option<Arc<FieldMap>>,
    pub(crate) names: Names,
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

/// The mapping as its file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    logsource: Vec<Entry>,
    #[serde(default)]
    map: BTreeMap<String, FieldMap>,
    /// The OCSF classes that rows of a format can have, for formats that cannot have all.
    #[serde(default)]
    classes: BTreeMap<String, Vec<i32>>,
}

/// What logsources and field names mean for the rules of one pack.
#[derive(Clone, Debug)]
pub(crate) struct Taxonomy {
    logsource: Vec<Arc<Entry>>,
    map: BTreeMap<String, Arc<FieldMap>>,
    classes: BTreeMap<String, Vec<i32>>,
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

#[derive(Clone, Debug, Default, Deserialize)]
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
    /// All payload paths that events of this kind can have, `.*` for whatever is below; unknown if it is absent.
    known: Option<Vec<String>>,
    /// Payload paths whose values are whole numbers.
    #[serde(default)]
    whole: Vec<String>,
}

static TAXONOMY: LazyLock<Result<Arc<Taxonomy>, String>> = LazyLock::new(|| {
    let written: Written = toml::from_str(FIELDS).map_err(|e| e.to_string())?;
    let none = Taxonomy { logsource: Vec::new(), map: BTreeMap::new(), classes: BTreeMap::new() };
    none.with(written).map(Arc::new)
});

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

/// The OCSF classes that rows of a format can have; `None` if it can have all.
pub(crate) fn classes_of(format: &str) -> Option<&'static [i32]> {
    TAXONOMY.as_ref().ok()?.classes.get(format).map(Vec::as_slice)
}

impl Taxonomy {
    /// The mapping that is built in.
    ///
    /// # Errors
    /// When it is damaged, which the tests of this crate exclude.
    pub(crate) fn built_in() -> Result<Arc<Self>, String> {
        TAXONOMY.clone().map_err(|e| format!("the built-in field map: {e}"))
    }

    /// This mapping with a pack's own before it: the pack's entries are tried first, its new maps are added, and what it
    /// says of a field in a map that is known takes the place of what that map said.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn extended(&self, text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|e| e.to_string())?;
        if let Some((name, _)) = written.map.iter().find(|(_, map)| !map.same.is_empty()) {
            return Err(format!("map `{name}`: `same`, which only decoders can promise"));
        }
        if !written.classes.is_empty() {
            return Err("`classes`, which only decoders can promise".into());
        }
        self.clone().with(written)
    }

    fn with(mut self, written: Written) -> Result<Self, String> {
        for (name, own) in written.map {
            let map = Arc::make_mut(self.map.entry(name).or_default());
            map.aliases.extend(own.aliases);
            map.same.extend(own.same);
            map.words.extend(own.words);
            map.whole.extend(own.whole);
            if let Some(known) = own.known {
                map.known.get_or_insert_default().extend(known);
            }
        }
        self.classes.extend(written.classes);
        let is_column = |name: &str| AnyColumn::named(name).is_some();
        for entry in &written.logsource {
            if let Some(name) = entry.map.as_ref().filter(|name| !self.map.contains_key(*name)) {
                return Err(format!("a logsource with the map `{name}`, which is not there"));
            }
            if let Some(name) = entry.rows.iter().filter_map(|test| test.has.as_ref()).find(|name| !is_column(name)) {
                return Err(format!("a row test of `{name}`, which is no column"));
            }
        }
        if let Some(name) = self.map.values().flat_map(|map| map.same.values()).find(|name| !is_column(name)) {
            return Err(format!("`same` with `{name}`, which is no column"));
        }
        self.logsource.splice(0..0, written.logsource.into_iter().map(Arc::new));
        Ok(self)
    }

    /// The rows and the fields of a logsource.
    ///
    /// # Errors
    /// When the logsource names nothing.
    pub(crate) fn meaning(&self, logsource: &Logsource, names: Names) -> Result<(RowFilter, Fields), String> {
        if names == Names::Written {
            return Ok((RowFilter::default(), Fields { map: None, names }));
        }
        if let Some(entry) = self.logsource.iter().find(|entry| entry.accepts(logsource)) {
            let map = entry.map.as_ref().and_then(|name| self.map.get(name)).map(Arc::clone);
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
        if let Some(targets) = self.map.as_ref().and_then(|map| map.aliases.get(field)) {
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
    pub(crate) fn words(&self, field: &str) -> Option<&BTreeMap<String, Vec<String>>> {
        self.map.as_ref()?.words.get(field)
    }

    /// The column that holds the same text as a raw path, where there is one. It may stand in for tests of non-empty
    /// text only: a null, an empty text and a missing key look alike in a column.
    pub(crate) fn same(&self, path: &str) -> Option<Source> {
        let column = self.map.as_ref()?.same.get(path)?;
        AnyColumn::named(column).map(Source::Column)
    }

    /// Whether events of this kind can have a payload path; `None` if nobody says.
    pub(crate) fn knows(&self, path: &str) -> Option<bool> {
        let known = self.map.as_ref()?.known.as_ref()?;
        Some(known.iter().any(|own| match own.strip_suffix(".*") {
            // What is above a known path is there too, as an object.
            Some(above) => path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            None => own == path || own.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')),
        }))
    }

    /// Whether the values of a payload path are whole numbers.
    pub(crate) fn is_whole(&self, path: &str) -> bool {
        self.map.as_ref().is_some_and(|map| map.whole.iter().any(|own| own == path))
    }

    /// Whether every field name means the same in both.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same_map = match (&self.map, &other.map) {
            (Some(own), Some(theirs)) => Arc::ptr_eq(own, theirs),
            (own, theirs) => own.is_none() && theirs.is_none(),
        };
        is_same_map && self.names == other.names
    }
}

fn source(target: &str) -> Source {
    AnyColumn::named(target).map_or_else(|| Source::Raw(target.into()), Source::Column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(logsource: &Logsource, names: Names) -> Result<(RowFilter, Fields), String> {
        Taxonomy::built_in()?.meaning(logsource, names)
    }

    fn logsource(category: &str, product: &str, service: &str) -> Logsource {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Logsource { category: part(category), product: part(product), service: part(service) }
    }

    #[test]
    fn built_in_map_names_existing_maps_and_columns() {
        let taxonomy = TAXONOMY.as_ref().unwrap();
        for map in taxonomy.map.values() {
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
            ("file_event", "linux", "", &[], 2),
            ("network_connection", "linux", "", &[], 2),
            ("", "falco", "", &["falco"], 0),
            ("", "aws", "cloudtrail", &["cloudtrail"], 0),
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

#[cfg(test)]
mod sensors;
