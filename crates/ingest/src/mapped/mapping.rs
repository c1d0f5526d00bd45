//! The mapping of a source's fields to event columns, as written in TOML.

use std::collections::BTreeMap;
use std::ops::Range;

use palisade_events::schema::AnyColumn;
use palisade_events::time::parse_rfc3339;
use palisade_events::{EventBuilder, FieldPlan};
use serde::Deserialize;
use toml::Spanned;

/// Columns that say where a row came from, which only the decoder knows.
const OWN_COLUMNS: &[&str] = &[
    "event_uid",
    "time",
    "time_original",
    "source",
    "format",
    "origin",
    "partition",
    "record_offset",
    "line",
    "message_index",
    "metadata_logged_time",
    "lane_max_before",
    "late",
    "time_doubtful",
    "records",
    "redacted",
    "raw",
];

/// A mapping of JSON paths or CSV headers to event columns.
#[derive(Clone, Debug)]
pub struct Mapping {
    text: String,
    pub(super) layout: Layout,
    /// Configured names of CSV columns; without them the first record names them.
    pub(super) header: Option<Vec<String>>,
    pub(super) time: Option<usize>,
    pub(super) time_format: TimeFormat,
    pub(super) list_separator: Option<String>,
    pub(super) constants: Vec<Constant>,
    /// Every path that the mapping reads, numbered.
    pub(super) paths: FieldPlan,
    /// By path number: the columns it fills.
    pub(super) columns: Vec<Vec<AnyColumn>>,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One JSON object a record.
    Json,
    /// One line of separated values a record.
    Csv {
        /// What separates them.
        delimiter: u8,
    },
}

/// How the time field is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum TimeFormat {
    /// RFC 3339; without a zone, the source's configured offset holds.
    #[default]
    #[serde(rename = "rfc3339")]
    Rfc3339,
    /// Seconds since 1970, with or without a fraction.
    #[serde(rename = "unix_s")]
    UnixSeconds,
    /// Milliseconds since 1970.
    #[serde(rename = "unix_ms")]
    UnixMillis,
    /// Microseconds since 1970.
    #[serde(rename = "unix_us")]
    UnixMicros,
    /// Nanoseconds since 1970.
    #[serde(rename = "unix_ns")]
    UnixNanos,
}

/// What is wrong with a mapping, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct MappingError {
    /// The key it is about; empty if the text is no TOML at all.
    pub key: String,
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// A value that every row gets where the record states none.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    column: AnyColumn,
    value: toml::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: Spanned<String>,
    delimiter: Option<Spanned<String>>,
    header: Option<Vec<String>>,
    time: Option<Spanned<String>>,
    #[serde(default)]
    time_format: TimeFormat,
    list_separator: Option<String>,
    #[serde(default)]
    set: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    columns: BTreeMap<String, Spanned<String>>,
}

impl Mapping {
    /// Reads a mapping.
    ///
    /// ```
    /// # use palisade_ingest::Mapping;
    /// let mapping = Mapping::parse(
    ///     r#"
    ///     format = "json"
    ///     time = "ts"
    ///     time_format = "unix_ms"
    ///     set.class_uid = 1007
    ///     columns.process_cmd_line = "process.args"
    ///     columns.container_uid = "container.id"
    ///     "#,
    /// )?;
    /// # Ok::<(), palisade_ingest::MappingError>(())
    /// ```
    ///
    /// # Errors
    /// [`MappingError`] naming the key and its line.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let parsed: Text = toml::from_str(text).map_err(|e| {
            let span = e.span().unwrap_or(0..0);
            let key = text.get(span.clone()).map(|key| key.lines().next().unwrap_or_default().trim().to_owned());
            error(text, &key.unwrap_or_default(), span, e.message().to_owned())
        })?;
        let layout = layout(text, &parsed)?;
        let constants = constants(text, &parsed.set)?;
        let mut wanted = Vec::new();
        for (name, path) in &parsed.columns {
            let column = column(text, "columns", name, path.span())?;
            if path.get_ref().is_empty() {
                return Err(error(text, &format!("columns.{name}"), path.span(), "the path is empty".into()));
            }
            if parsed.header.as_ref().is_some_and(|header| !header.contains(path.get_ref())) {
                let why = format!("`header` has no `{}`", path.get_ref());
                return Err(error(text, &format!("columns.{name}"), path.span(), why));
            }
            wanted.push((column, path.get_ref().as_str()));
        }
        if let (Some(time), Some(header)) = (&parsed.time, &parsed.header)
            && !header.contains(time.get_ref())
        {
            return Err(error(text, "time", time.span(), format!("`header` has no `{}`", time.get_ref())));
        }
        let time = parsed.time.as_ref().map(|time| time.get_ref().as_str());
        let paths = FieldPlan::new(wanted.iter().map(|(_, path)| *path).chain(time));
        let mut columns = vec![Vec::new(); paths.paths().len()];
        for (column, path) in wanted {
            if let Some(place) = paths.number(path) {
                columns[place].push(column);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            layout,
            header: parsed.header,
            time: time.and_then(|time| paths.number(time)),
            time_format: parsed.time_format,
            list_separator: parsed.list_separator.filter(|separator| !separator.is_empty()),
            constants,
            paths,
            columns,
        })
    }

    /// Whether the first record of a lane names its columns, and must be seen again on resuming.
    pub fn needs_header(&self) -> bool {
        matches!(self.layout, Layout::Csv { .. }) && self.header.is_none()
    }

    /// Which of the named columns a header lacks.
    pub(super) fn missing_from(&self, header: &[String]) -> Vec<&str> {
        self.paths.paths().iter().map(AsRef::as_ref).filter(|path| !header.iter().any(|name| name == path)).collect()
    }

    /// The mapping as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How records are written.
    pub fn layout(&self) -> Layout {
        self.layout
    }
}

impl Constant {
    pub(super) fn put(&self, row: &mut EventBuilder) {
        match (self.column, &self.value) {
            (AnyColumn::Text(column), toml::Value::String(text)) => row.put_text(column, text),
            (AnyColumn::Word(column), toml::Value::String(word)) => row.put_word(column, word),
            (AnyColumn::Long(column), toml::Value::Integer(n)) => row.put_long(column, *n),
            (AnyColumn::Int(column), toml::Value::Integer(n)) => row.put_int(column, *n as i32),
            (AnyColumn::Flag(column), toml::Value::Boolean(flag)) => row.put_flag(column, *flag),
            (AnyColumn::Time(column), toml::Value::String(text)) => {
                if let Some(time) = parse_rfc3339(text) {
                    row.put_time(column, time);
                }
            }
            (AnyColumn::Words(column), toml::Value::Array(items)) => {
                row.put_words(column, items.iter().filter_map(toml::Value::as_str));
            }
            _ => {}
        }
    }

    /// What the column takes, if the value is not that.
    fn misfit(&self) -> Option<&'static str> {
        let (fits, takes) = match (self.column, &self.value) {
            (AnyColumn::Text(_) | AnyColumn::Word(_), value) => (value.is_str(), "text"),
            (AnyColumn::Long(_), value) => (value.is_integer(), "an integer"),
            (AnyColumn::Int(_), value) => {
                (value.as_integer().is_some_and(|n| i32::try_from(n).is_ok()), "a 32-bit integer")
            }
            (AnyColumn::Flag(_), value) => (value.is_bool(), "true or false"),
            (AnyColumn::Time(_), value) => {
                (value.as_str().and_then(parse_rfc3339).is_some(), "an RFC 3339 time as text")
            }
            (AnyColumn::Words(_), value) => {
                (value.as_array().is_some_and(|items| items.iter().all(toml::Value::is_str)), "a list of texts")
            }
        };
        (!fits).then_some(takes)
    }
}

fn layout(text: &str, parsed: &Text) -> Result<Layout, MappingError> {
    let wrong = |key: &str, span: Range<usize>, why: &str| Err(error(text, key, span, why.to_owned()));
    match (parsed.format.get_ref().as_str(), &parsed.delimiter) {
        ("json", None) if parsed.header.is_none() => Ok(Layout::Json),
        ("json", None) => wrong("header", parsed.format.span(), "`header` belongs to format \"csv\""),
        ("json", Some(delimiter)) => wrong("delimiter", delimiter.span(), "`delimiter` belongs to format \"csv\""),
        ("csv", None) => Ok(Layout::Csv { delimiter: b',' }),
        ("csv", Some(delimiter)) => match delimiter.get_ref().as_bytes() {
            [byte] if !matches!(byte, b'"' | b'\n' | b'\r') => Ok(Layout::Csv { delimiter: *byte }),
            _ => wrong("delimiter", delimiter.span(), "`delimiter` must be one ASCII character, and no quote"),
        },
        _ => wrong("format", parsed.format.span(), "`format` must be \"json\" or \"csv\""),
    }
}

fn constants(text: &str, set: &BTreeMap<String, Spanned<toml::Value>>) -> Result<Vec<Constant>, MappingError> {
    let mut constants = Vec::new();
    for (name, value) in set {
        let constant = Constant { column: column(text, "set", name, value.span())?, value: value.get_ref().clone() };
        if let Some(takes) = constant.misfit() {
            return Err(error(text, &format!("set.{name}"), value.span(), format!("column `{name}` takes {takes}")));
        }
        constants.push(constant);
    }
    Ok(constants)
}

fn column(text: &str, table: &str, name: &str, span: Range<usize>) -> Result<AnyColumn, MappingError> {
    let key = format!("{table}.{name}");
    if OWN_COLUMNS.contains(&name) {
        return Err(error(text, &key, span, format!("`{key}`: the decoder itself fills column `{name}`")));
    }
    AnyColumn::named(name).ok_or_else(|| error(text, &key, span, format!("`{key}`: there is no event column `{name}`")))
}

fn error(text: &str, key: &str, span: Range<usize>, why: String) -> MappingError {
    let line = text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1;
    MappingError { key: key.to_owned(), line, why }
}
