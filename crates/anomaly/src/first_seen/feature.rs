//! A feature is one or more event columns whose values an entity shows, such as the executables of a workload.

use std::borrow::Cow;

use palisade_events::schema::{AnyColumn, COLUMNS, Kind};
use palisade_events::{EntityKind, EventBatch};
use serde::{Deserialize, Serialize};

/// Columns that one feature may join.
const COLUMNS_MAX: usize = 4;

/// Longest value, in bytes, that a partial carries whole.
const VALUE_BYTES_MAX: usize = 512;

/// Which values of which kind of entity are watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Feature {
    entity: EntityKind,
    columns: Vec<AnyColumn>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    entity: EntityKind,
    columns: Vec<String>,
}

impl TryFrom<Raw> for Feature {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        Self::new(raw.entity, raw.columns.iter().map(String::as_str))
    }
}

impl From<Feature> for Raw {
    fn from(feature: Feature) -> Self {
        let columns = feature.columns.iter().map(|c| COLUMNS[c.index()].name.to_owned()).collect();
        Self { entity: feature.entity, columns }
    }
}

impl Feature {
    /// Names the columns of a feature. The first must have a value for a row to count.
    ///
    /// # Errors
    /// When there are none or more than four columns, or one is not an event column of text.
    pub fn new<'c>(entity: EntityKind, columns: impl IntoIterator<Item = &'c str>) -> Result<Self, String> {
        let column = |name: &str| match AnyColumn::named(name) {
            Some(column @ (AnyColumn::Word(_) | AnyColumn::Text(_))) => Ok(column),
            Some(_) => Err(format!("column `{name}` does not hold text")),
            None => Err(format!("there is no event column `{name}`")),
        };
        let columns = columns.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            return Err(format!("a feature needs 1 to {COLUMNS_MAX} columns, not {}", columns.len()));
        }
        Ok(Self { entity, columns })
    }

    /// The kind of entity.
    pub fn entity(&self) -> EntityKind {
        self.entity
    }

    /// The columns' names, joined by `+`.
    pub fn name(&self) -> String {
        self.columns.iter().map(|c| COLUMNS[c.index()].name).collect::<Vec<_>>().join("+")
    }

    pub(crate) fn columns(&self) -> &[AnyColumn] {
        &self.columns
    }

    /// The value of a row as text: bare for one column, `column=value` pairs for several.
    pub(crate) fn value<'b>(&self, batch: &'b EventBatch, row: usize) -> Cow<'b, str> {
        let cell = |column: AnyColumn| -> Option<&'b str> {
            match column {
                AnyColumn::Word(word) => batch.word(word).get(row),
                AnyColumn::Text(text) => {
                    use palisade_events::arrow::array::Array;
                    let array = batch.text(text);
                    array.is_valid(row).then(|| array.value(row))
                }
                _ => None,
            }
        };
        let text: Cow<'b, str> = match self.columns.as_slice() {
            [column] => cell(*column).unwrap_or_default().into(),
            columns => {
                let pairs = columns.iter().filter_map(|c| Some(format!("{}={}", COLUMNS[c.index()].name, cell(*c)?)));
                pairs.collect::<Vec<_>>().join(" ").into()
            }
        };
        shortened(text)
    }
}

/// Cuts long text, keeping distinct texts distinct by a hash of the whole.
fn shortened(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= VALUE_BYTES_MAX {
        return text;
    }
    let hash = crate::fixed_hash::FixedHash::of_text(&text).finish();
    let end = (0..=VALUE_BYTES_MAX - 20).rev().find(|&i| text.is_char_boundary(i)).unwrap_or_default();
    format!("{}…{hash:016x}", &text[..end]).into()
}

/// The features watched unless configured otherwise.
pub(crate) fn defaults() -> Vec<Feature> {
    let feature = |entity, names: &[&str]| Feature {
        entity,
        columns: names
            .iter()
            .filter_map(|name| AnyColumn::named(name))
            .filter(|c| matches!(COLUMNS[c.index()].kind, Kind::Word | Kind::Text))
            .collect(),
    };
    vec![
        feature(EntityKind::Workload, &["process_file_path"]),
        feature(EntityKind::Workload, &["dst_endpoint_ip"]),
        feature(EntityKind::User, &["api_operation", "resource_type", "resource_subresource"]),
        feature(EntityKind::User, &["src_endpoint_ip"]),
        feature(EntityKind::ServiceAccount, &["http_request_user_agent"]),
        feature(EntityKind::Workload, &["container_image_name"]),
    ]
}
