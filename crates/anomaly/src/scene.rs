//! What the first event behind a tally looked like: the few values that tell a reader what happened, small enough for
//! every partial to carry.
//!
//! A scene is bytes: one [`Cell`] after the other. Not here: which event is the first; that is the tally's.

use arrow::array::{Array, Int32Array, StringArray};
use palisade_events::batch::WordColumn;
use palisade_events::finding::entities_named;
use palisade_events::position::Position;
use palisade_events::schema::{Int, Text, Word};
use palisade_events::time::format_rfc3339;
use palisade_events::{Entity, EventBatch, Evidence, col};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of text in a scene, and how many of them words may take: the command line must find room beside them.
const SCENE_BYTES_MAX: usize = 400;
const WORDS_BYTES_MAX: usize = 280;

/// A longer word is left out, since a part of a name is the name of something else.
const WORD_BYTES_MAX: usize = 128;

/// A longer text is cut.
const TEXT_BYTES_MAX: usize = 160;

/// Columns that scenes show, in the order in which they find room. Cells go by place: a change needs another version of
/// partials.
const WORDS: [Word; 20] = [
    col::CLUSTER_NAME,
    col::NAMESPACE_NAME,
    col::WORKLOAD_NAME,
    col::API_OPERATION,
    col::RESOURCE_TYPE,
    col::RESOURCE_SUBRESOURCE,
    col::SYSCALL,
    col::ACTOR_USER_NAME,
    col::SRC_ENDPOINT_IP,
    col::POD_NAME,
    col::DEVICE_HOSTNAME,
    col::ACTOR_SERVICE_ACCOUNT,
    col::PROCESS_FILE_PATH,
    col::PROCESS_NAME,
    col::DST_ENDPOINT_IP,
    col::CONTAINER_IMAGE_NAME,
    col::CONTAINER_UID_SHORT,
    col::FINDING_INFO_TITLE,
    col::FORMAT,
    col::PROCESS_USER_NAME,
];
const TEXTS: [Text; 4] = [col::PROCESS_CMD_LINE, col::RESOURCE_NAME, col::FILE_PATH, col::STATUS_DETAIL];
const NUMBERS: [Int; 4] = [col::CLASS_UID, col::ACTIVITY_ID, col::STATUS_ID, col::API_RESPONSE_CODE];

/// One value of a scene, by the place of its column.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Cell<'t> {
    Word(u8, &'t str),
    Text(u8, &'t str, Extent),
    Number(u8, i32),
}

/// How much of a text a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Extent {
    Whole,
    Cut,
}

/// The columns of a batch that scenes are made from, empty ones left out.
pub(crate) struct Scenery<'b> {
    words: Vec<(u8, WordColumn<'b>)>,
    texts: Vec<(u8, &'b StringArray)>,
    numbers: Vec<(u8, &'b Int32Array)>,
}

impl<'b> Scenery<'b> {
    pub(crate) fn of(batch: &'b EventBatch) -> Self {
        let filled = |index: usize| batch.columns().column(index).null_count() < batch.rows();
        let words = (0u8..).zip(WORDS).filter(|(_, column)| filled(column.index()));
        let texts = (0u8..).zip(TEXTS).filter(|(_, column)| filled(column.index()));
        let numbers = (0u8..).zip(NUMBERS).filter(|(_, column)| filled(column.index()));
        Self {
            words: words.map(|(place, column)| (place, batch.word(column))).collect(),
            texts: texts.map(|(place, column)| (place, batch.text(column))).collect(),
            numbers: numbers.map(|(place, column)| (place, batch.int(column))).collect(),
        }
    }

    /// The scene of a row.
    pub(crate) fn scene(&self, row: usize) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(SCENE_BYTES_MAX);
        for &(place, column) in &self.numbers {
            if column.is_valid(row) {
                bytes = with(bytes, Cell::Number(place, column.value(row)));
            }
        }
        let mut used = 0;
        for (place, column) in &self.words {
            let Some(word) = column.get(row).filter(|word| (1..=WORD_BYTES_MAX).contains(&word.len())) else {
                continue;
            };
            if used + word.len() <= WORDS_BYTES_MAX {
                used += word.len();
                bytes = with(bytes, Cell::Word(*place, word));
            }
        }
        for &(place, column) in &self.texts {
            let whole = if column.is_valid(row) { column.value(row) } else { "" };
            let text = start_of(whole, TEXT_BYTES_MAX.min(SCENE_BYTES_MAX - used));
            if !text.is_empty() {
                used += text.len();
                let extent = if text.len() == whole.len() { Extent::Whole } else { Extent::Cut };
                bytes = with(bytes, Cell::Text(place, text, extent));
            }
        }
        bytes.into_boxed_slice()
    }
}

fn with(bytes: Vec<u8>, cell: Cell<'_>) -> Vec<u8> {
    // Growing a vector is all that this does, so it does not fail; if it did, a scene would be empty, not wrong.
    postcard::to_extend(&cell, bytes).unwrap_or_default()
}

fn start_of(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    &text[..end]
}

/// Whether bytes are a scene.
pub(crate) fn is_scene(mut bytes: &[u8]) -> bool {
    while let Ok((_, rest)) = postcard::take_from_bytes::<Cell<'_>>(bytes) {
        bytes = rest;
    }
    bytes.is_empty()
}

fn cells(mut scene: &[u8]) -> impl Iterator<Item = Cell<'_>> {
    std::iter::from_fn(move || {
        let (cell, rest) = postcard::take_from_bytes::<Cell<'_>>(scene).ok()?;
        scene = rest;
        Some(cell)
    })
}

/// What a finding is about, and everything else that the scene names.
pub(crate) fn entities(scene: &[u8], primary: &Entity) -> Vec<Entity> {
    let words: Vec<(Word, &str)> = cells(scene)
        .filter_map(|cell| match cell {
            Cell::Word(place, word) => Some((*WORDS.get(usize::from(place))?, word)),
            _ => None,
        })
        .collect();
    let named = entities_named(None, |column| words.iter().find(|(c, _)| *c == column).map(|(_, word)| *word));
    std::iter::once(primary.clone()).chain(named.into_iter().filter(|entity| entity != primary)).collect()
}

/// The first evidence as flat JSON under the names of event columns, as findings of rules show theirs.
pub(crate) fn excerpt(scene: &[u8], first: &Evidence) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |column: &str, value: Value| {
        object.insert(column.to_owned(), value);
    };
    put(col::EVENT_UID.name(), first.event_uid.as_str().into());
    put(col::TIME.name(), format_rfc3339(first.time).into());
    put(col::SOURCE.name(), first.source.as_str().into());
    match &first.position {
        Position::Kafka { topic, partition, offset } => {
            put(col::ORIGIN.name(), topic.as_str().into());
            put(col::PARTITION.name(), (*partition).into());
            put(col::OFFSET.name(), (*offset).into());
        }
        Position::File { file, line } => {
            put(col::ORIGIN.name(), file.as_str().into());
            put(col::LINE.name(), (*line).into());
        }
        Position::Channel { channel, sequence } => {
            put(col::ORIGIN.name(), channel.as_str().into());
            put(col::OFFSET.name(), (*sequence).into());
        }
    }
    for cell in cells(scene) {
        let (column, value) = match cell {
            Cell::Word(place, word) => (WORDS.get(usize::from(place)).map(|c| c.name()), word.into()),
            Cell::Text(place, text, Extent::Whole) => (TEXTS.get(usize::from(place)).map(|c| c.name()), text.into()),
            Cell::Text(place, text, Extent::Cut) => {
                (TEXTS.get(usize::from(place)).map(|c| c.name()), format!("{text}…").into())
            }
            Cell::Number(place, number) => (NUMBERS.get(usize::from(place)).map(|c| c.name()), number.into()),
        };
        if let Some(column) = column {
            put(column, value);
        }
    }
    Value::from(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Event, batch};

    fn evidence(batch: &EventBatch, row: usize) -> Evidence {
        let source = batch.word(col::SOURCE).get(row).unwrap().to_owned();
        let time = batch.time(col::TIME).value(row);
        Evidence { time, event_uid: batch.uid(row).to_owned(), source, position: batch.position(row) }
    }

    #[test]
    fn excerpts_are_part_of_what_a_rule_would_show() {
        let events = [
            Event { uid: 1, time: 5, workload: "web", user: "ann", path: "/bin/sh".into(), ..Default::default() },
            Event { uid: 2, time: 6, verb: "get", resource: "pods", command: "curl -s".into(), ..Default::default() },
        ];
        let batch = batch(&events);
        let scenery = Scenery::of(&batch);
        for row in 0..2 {
            let scene = scenery.scene(row);
            assert!(is_scene(&scene) && !is_scene(&scene[..scene.len() - 1]));
            let shown: Value = serde_json::from_str(&excerpt(&scene, &evidence(&batch, row))).unwrap();
            let whole = batch.row_json(row);
            for (column, value) in shown.as_object().unwrap() {
                assert_eq!(Some(value), whole.get(column), "{column}");
            }
        }
        let shown = excerpt(&scenery.scene(1), &evidence(&batch, 1));
        for told in ["\"process_cmd_line\":\"curl -s\"", "\"api_operation\":\"get\"", "\"record_offset\":2"] {
            assert!(shown.contains(told), "{shown}");
        }
    }

    #[test]
    fn scenes_are_bounded_and_names_are_never_cut() {
        let long = Event {
            workload: "web",
            user: "u".repeat(200).leak(),
            path: "p".repeat(127),
            verb: "v".repeat(127).leak(),
            resource: "r".repeat(127).leak(),
            command: "ä".repeat(500),
            ..Default::default()
        };
        let batch = batch(&[long]);
        let scene = Scenery::of(&batch).scene(0);
        assert!(
            scene.len() <= SCENE_BYTES_MAX + 3 * (WORDS.len() + TEXTS.len() + 2 * NUMBERS.len()),
            "{}",
            scene.len()
        );
        let shown: Value = serde_json::from_str(&excerpt(&scene, &evidence(&batch, 0))).unwrap();
        assert!(shown.get("actor_user_name").is_none() && shown["workload_name"] == "web");
        let command = shown["process_cmd_line"].as_str().unwrap();
        assert!(command.starts_with("ääää") && command.ends_with("ä…") && command.len() > 100, "{command}");
        let primary = batch.entities(palisade_events::EntityKind::Namespace).get(0).unwrap();
        let named: Vec<String> = entities(&scene, primary).iter().map(ToString::to_string).collect();
        assert_eq!(named, ["namespace:c/prod", "workload:c/prod/web", "cluster:c/c"]);
    }
}
