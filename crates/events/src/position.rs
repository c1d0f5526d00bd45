//! Where a row came from: the lane it arrived on and its place in that lane.
//!
//! Not here: how ids are made from positions ([`crate::id`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One ordered input: a partition of a topic, one file, or one in-process channel.
///
/// Lanes order by (origin, partition, generation, source, fingerprint), partitions by number. That is lane order, in which
/// partials merge: the order of the fields below, so leave it. Sort lanes, never their [keys](Self::key).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// Topic, file path, or channel name.
    pub origin: String,
    /// Partition of the topic; `None` for files and channels.
    pub partition: Option<i32>,
    /// Tells apart inputs that reuse a name: a recreated topic, or a file whose first record another file shares.
    pub generation: u32,
    /// Name of the source in the configuration.
    pub source: String,
    /// What ids are made from instead of the path, for a file: the hash of its first record.
    pub fingerprint: Option<String>,
}

impl Lane {
    /// Names a partition of a topic.
    pub fn kafka(source: &str, topic: &str, partition: i32) -> Self {
        Self {
            origin: topic.into(),
            partition: Some(partition),
            generation: 0,
            source: source.into(),
            fingerprint: None,
        }
    }

    /// Names a file by path, and by the fingerprint that survives a rename.
    pub fn file(source: &str, path: &str, fingerprint: &str, generation: u32) -> Self {
        Self {
            origin: path.into(),
            partition: None,
            generation,
            source: source.into(),
            fingerprint: Some(fingerprint.into()),
        }
    }

    /// Names an in-process channel.
    pub fn channel(source: &str, name: &str) -> Self {
        Self { origin: name.into(), partition: None, generation: 0, source: source.into(), fingerprint: None }
    }

    /// The name under which offsets of this lane are recorded: `topic/partition`, with `@generation` from the second
    /// generation on, or `file/fingerprint/generation`.
    ///
    /// A name, and no order: as text, `topic/10` comes before `topic/2`. It stands in the application ids of every lake, so
    /// it stays as it is.
    pub fn key(&self) -> String {
        match (&self.partition, &self.fingerprint) {
            (Some(partition), _) if self.generation > 0 => format!("{}/{partition}@{}", self.origin, self.generation),
            (Some(partition), _) => format!("{}/{}", self.origin, partition),
            (None, Some(print)) => format!("file/{}/{}", print, self.generation),
            (None, None) => format!("channel/{}", self.origin),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "{}[{}]", self.origin, partition),
            None => f.write_str(&self.origin),
        }
    }
}

/// The place of one record: `(topic, partition, offset)`, or `(file, byte offset)` with its line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Position {
    /// A record of a topic.
    Kafka {
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
        /// Offset in the partition.
        offset: i64,
    },
    /// A record of a file.
    File {
        /// Path as it was given.
        file: String,
        /// Line, from 1.
        line: i64,
    },
    /// A record handed over in process.
    Channel {
        /// Channel name.
        channel: String,
        /// Sequence number of the record, from 0.
        sequence: i64,
    },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Kafka { topic, partition, offset } => write!(f, "{topic}[{partition}]@{offset}"),
            Position::File { file, line } => write!(f, "{file}:{line}"),
            Position::Channel { channel, sequence } => write!(f, "{channel}#{sequence}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_order_by_topic_and_by_the_number_of_the_partition() {
        let ordered = [
            Lane::file("s", "/var/log/audit.log", "ab", 0),
            Lane::channel("s", "audit"),
            Lane::kafka("s", "audit", 2),
            Lane { generation: 1, ..Lane::kafka("s", "audit", 2) },
            Lane::kafka("s", "audit", 10),
            Lane::kafka("a", "falco", 0),
            Lane::kafka("s", "falco", 0),
        ];
        assert!(ordered.is_sorted());
        // Keys do not: they are names.
        assert!(ordered[4].key() < ordered[2].key());
    }

    /// Application ids in the logs of lakes are made from these.
    #[test]
    fn keys_stay_as_lakes_have_them() {
        let lanes = [
            Lane::kafka("s", "audit", 10),
            Lane { generation: 2, ..Lane::kafka("s", "audit", 10) },
            Lane::file("s", "/var/log/audit.log", "ab", 1),
            Lane::channel("s", "audit"),
        ];
        assert_eq!(lanes.map(|lane| lane.key()), ["audit/10", "audit/10@2", "file/ab/1", "channel/audit"]);
    }
}
