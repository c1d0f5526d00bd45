//! The page about the tables, `docs/schema.md`, as Markdown.
//!
//! Not here: what it says of a column, which stands beside the columns ([`super::COLUMNS`], [`super::tables`]).

use super::COLUMNS;
use super::tables::TABLES;

/// Writes the reference of all tables as Markdown: the text of `docs/schema.md`.
pub fn to_markdown() -> String {
    let mut text = String::from(
        "# The tables\n\n\
         A lake is a folder, or a prefix of an object store, with a Delta table for each section of this page; in SQL they \
         have the same names. Types: text (UTF-8), word (text from a small set, dictionary-encoded in memory), words (list of text), \
         time (microseconds since 1970, UTC), long and int (signed integers of 64 and 32 bits), double (64 bits), flag \
         (boolean).\n\n\
         This page is written from `crates/events/src/schema`; tests keep the two equal, and the decoders and the tables \
         of the lake to what it says.\n\n\
         ## `events`\n\n\
         One row is one event. Names are [OCSF](https://schema.ocsf.io) paths joined by `_`; all classes share the table. \
         A mapping fills the columns that it names: `mapped` marks those that no other decoder fills.\n\n\
         Partitioned by `date`, `class_uid`.\n\n\
         | column | type | OCSF | ECS | filled by | meaning |\n|---|---|---|---|---|---|\n",
    );
    for c in COLUMNS {
        let kind = format!("{:?}", c.kind).to_lowercase();
        text.push_str(&format!(
            "| `{}` | {kind} | {} | {} | {} | {} |\n",
            c.name, c.ocsf, c.ecs, c.filled_by, c.meaning
        ));
    }
    text.push_str(
        "| `date` | text |  |  | lake | Day (UTC), as `2026-03-02`: of `time`, and where that is doubtful of the carrier's \
         time, else of `lane_max_before`. |\n",
    );
    for table in TABLES {
        text.push_str(&format!("\n## `{}`\n\n{}\n\n", table.name, table.about));
        if !table.partitions.is_empty() {
            let names: Vec<String> = table.partitions.iter().map(|name| format!("`{name}`")).collect();
            text.push_str(&format!("Partitioned by {}.\n\n", names.join(", ")));
        }
        let is_named = table.columns.iter().any(|note| !note.ocsf.is_empty() || !note.ecs.is_empty());
        text.push_str(match is_named {
            true => "| column | type | OCSF | ECS | meaning |\n|---|---|---|---|---|\n",
            false => "| column | type | meaning |\n|---|---|---|\n",
        });
        for note in table.columns {
            let names = if is_named { format!(" {} | {} |", note.ocsf, note.ecs) } else { String::new() };
            text.push_str(&format!("| `{}` | {} |{names} {} |\n", note.name, note.kind, note.meaning));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;
    use crate::facts::{DecisionKind, coverage_schema, decisions_schema, rejects_schema};
    use crate::finding::findings_schema;
    use crate::object::{ObjectChange, objects_schema};

    /// A type in the words of the page.
    fn type_name(kind: &DataType) -> &'static str {
        match kind {
            DataType::Utf8 => "text",
            DataType::List(_) => "words",
            DataType::Timestamp(..) => "time",
            DataType::Int64 => "long",
            DataType::Int32 => "int",
            DataType::Float64 => "double",
            other => panic!("the page has no word for {other}"),
        }
    }

    /// Those of the lake are held to it by the tests across crates.
    #[test]
    fn notes_tell_of_the_columns_that_there_are() {
        for (name, schema) in [
            ("findings", findings_schema()),
            ("rejects", rejects_schema()),
            ("coverage", coverage_schema()),
            ("objects", objects_schema()),
            ("decisions", decisions_schema()),
        ] {
            let table = TABLES.iter().find(|table| table.name == name).unwrap();
            let own = table.columns.iter().filter(|note| !table.partitions.contains(&note.name));
            let told: Vec<_> = own.map(|note| (note.name, note.kind)).collect();
            let there: Vec<_> = schema.fields().iter().map(|f| (f.name().as_str(), type_name(f.data_type()))).collect();
            assert_eq!(told, there, "{name}");
        }
    }

    #[test]
    fn every_kind_of_decision_is_named() {
        let decisions = TABLES.iter().find(|table| table.name == "decisions").unwrap();
        let kind = decisions.columns.iter().find(|note| note.name == "kind").unwrap();
        for decision in DecisionKind::ALL {
            assert!(kind.meaning.contains(&format!("`{}`", decision.name())), "{decision:?}");
        }
    }

    #[test]
    fn every_change_of_an_object_is_named() {
        let objects = TABLES.iter().find(|table| table.name == "objects").unwrap();
        let meaning = objects.columns.iter().find(|note| note.name == "change").unwrap().meaning;
        for change in ObjectChange::ALL {
            assert!(meaning.contains(&format!("`{}`", change.name())), "{change:?}");
        }
    }

    #[test]
    fn every_cell_fits_its_table_and_every_column_has_a_meaning() {
        let events = COLUMNS.iter().map(|c| [c.name, c.ocsf, c.ecs, c.filled_by, c.meaning]);
        let others = TABLES.iter().flat_map(|t| t.columns).map(|n| [n.name, n.ocsf, n.ecs, n.kind, n.meaning]);
        for cells in events.chain(others) {
            assert!(cells[4].ends_with('.'), "{cells:?}");
            assert!(cells.iter().all(|cell| !cell.contains(['|', '\n'])), "{cells:?}");
        }
    }

    /// Run with `PALISADE_WRITE_DOCS=1` to write the page anew.
    #[test]
    fn schema_page_equals_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema.md");
        if std::env::var_os("PALISADE_WRITE_DOCS").is_some() {
            std::fs::write(path, to_markdown()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), to_markdown());
    }
}
