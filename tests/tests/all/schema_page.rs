//! `docs/schema.md` tells of every table of the lake: each column in its place, with its type and a meaning, and how the
//! table is partitioned.
//!
//! The page is written by `events`, which knows no lake; so the two are compared here. `PALISADE_WRITE_DOCS=1` with the
//! tests of `palisade-events` writes the page anew.

use std::collections::BTreeMap;
use std::path::Path;

use palisade::arrow::datatypes::{DataType, TimeUnit};
use palisade::lake::Table;

/// What the page says under the name of one table.
#[derive(Debug, Default)]
struct Section {
    partitions: Vec<String>,
    /// Cells of each column by the names in the head.
    columns: Vec<BTreeMap<String, String>>,
}

fn sections() -> BTreeMap<String, Section> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema.md");
    let page = std::fs::read_to_string(path).unwrap();
    let named = |part: &str| {
        let (title, text) = part.split_once('\n').unwrap();
        (title.trim_matches('`').to_owned(), section(text))
    };
    page.split("\n## ").skip(1).map(named).collect()
}

fn section(text: &str) -> Section {
    let mut section = Section::default();
    let mut head: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("Partitioned by ") {
            let names = names.trim_end_matches('.').split(", ");
            section.partitions = names.map(|name| name.trim_matches('`').to_owned()).collect();
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
        let cells: Vec<String> = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
        if head.is_empty() {
            head = cells;
        } else if !cells[0].starts_with("---") {
            assert_eq!(cells.len(), head.len(), "{line}");
            section.columns.push(head.iter().cloned().zip(cells).collect());
        }
    }
    section
}

/// Whether a column is stored as the page says; words are plain text by then.
fn is_stored_as(kind: &str, stored: &DataType) -> bool {
    match (kind, stored) {
        ("text" | "word", DataType::Utf8) | ("long", DataType::Int64) | ("int", DataType::Int32) => true,
        ("double", DataType::Float64) | ("flag", DataType::Boolean) => true,
        ("words", DataType::List(item)) => item.data_type() == &DataType::Utf8,
        ("time", DataType::Timestamp(TimeUnit::Microsecond, Some(zone))) => &**zone == "UTC",
        _ => false,
    }
}

#[test]
fn schema_page_tells_of_every_table_of_the_lake() {
    let mut sections = sections();
    for table in Table::ALL {
        let section = sections.remove(table.name()).unwrap_or_default();
        assert_eq!(section.partitions, table.partitions(), "{table}");
        let names: Vec<&str> = section.columns.iter().map(|cells| cells["column"].trim_matches('`')).collect();
        let schema = table.schema();
        let stored: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, stored, "{table}");
        for (cells, field) in section.columns.iter().zip(schema.fields()) {
            let column = format!("{table}.{}", field.name());
            assert!(is_stored_as(&cells["type"], field.data_type()), "{column} is stored as {}", field.data_type());
            assert!(!cells["meaning"].is_empty(), "{column}");
        }
    }
    assert!(sections.is_empty(), "no tables of the lake: {:?}", sections.keys());
}

/// Who maps findings to OCSF or ECS begins with these.
#[test]
fn findings_are_told_under_the_names_of_ocsf_and_ecs() {
    let section = sections().remove("findings").unwrap();
    let told = |column: &str| {
        let cells = section.columns.iter().find(|cells| cells["column"] == format!("`{column}`")).unwrap();
        (cells["OCSF"].clone(), cells["ECS"].clone())
    };
    for (column, ocsf, ecs) in [
        ("finding_uid", "finding_info.uid", "event.id"),
        ("title", "finding_info.title", "rule.name"),
        ("severity_id", "severity_id", "event.severity"),
        ("attack_techniques", "finding_info.attacks.technique.uid", "threat.technique.id"),
    ] {
        assert_eq!(told(column), (ocsf.to_owned(), ecs.to_owned()), "{column}");
    }
}
