//! One cut: everything that becomes durable together, and how each table learns how far it goes.
//!
//! Order: decisions, file ledger, events, rejects, coverage, objects, findings, state manifest. Each commit carries, as
//! application transactions, the next offset of every lane, the number of the cut (which says what file lanes had read),
//! the pane frontier and the owner's epoch. A crash between any two steps leaves a manifest that is older than some
//! tables; the replay that follows drops what those tables already have ([`Landed::offset`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_events::time::Micros;
use palisade_events::{Coverage, Decision, Finding, Lane, ObjectVersion, Reject};
use palisade_lake::{KnownFile, Lake, Table};

use crate::engine::LaneKey;

/// The tables that a cut writes rows of lanes to.
pub(super) const LANE_TABLES: [Table; 5] =
    [Table::Events, Table::Rejects, Table::Coverage, Table::Objects, Table::Findings];

/// What is handed to the writer at a cut, after the events themselves.
pub(super) struct Cut {
    pub(super) number: i64,
    pub(super) decisions: Vec<Decision>,
    pub(super) files: Vec<KnownFile>,
    pub(super) rejects: Vec<Reject>,
    pub(super) coverage: Vec<Coverage>,
    pub(super) objects: Vec<ObjectVersion>,
    /// Findings that the table does not have yet.
    pub(super) findings: Vec<Finding>,
    pub(super) frontier: Option<Micros>,
    /// Lanes whose end made rows, with the offset at which the lane ended.
    pub(super) ends: BTreeMap<LaneKey, i64>,
    /// Facts that no record tells, by [`fact_key`]: each is told once.
    pub(super) facts: BTreeSet<LaneKey>,
    /// The cut of the decisions that told of silences among `coverage`, if any did.
    pub(super) silent: Option<i64>,
    /// Next offset by lane, file lanes left out.
    pub(super) offsets: BTreeMap<LaneKey, i64>,
    pub(super) lanes: BTreeMap<LaneKey, LaneCut>,
    pub(super) pieces: Vec<(String, Vec<u8>)>,
    pub(super) accounting: serde_json::Value,
    pub(super) fingerprint: String,
    /// When it was made, for whoever reads the manifest: the same each time that it is written.
    pub(super) created_us: i64,
    /// See [`Landed::limbo`].
    pub(super) limbo: Limbo,
}

/// Offsets of file lanes by table.
pub(super) type Limbo = BTreeMap<Table, BTreeMap<LaneKey, i64>>;

/// A lane at a cut: its state as bytes, or as an earlier cut stored it.
#[derive(Clone)]
pub(super) struct LaneCut {
    pub(super) lane: Arc<Lane>,
    pub(super) next_offset: i64,
    pub(super) state: LaneBytes,
    /// The configuration under which the state was written.
    pub(super) fingerprint: String,
}

#[derive(Clone)]
pub(super) enum LaneBytes {
    Now(Vec<u8>),
    Stored(Option<String>),
}

impl Cut {
    /// Whether a table must learn offsets that it holds already and that the ledger no longer tells.
    pub(super) fn owes(&self, job: &str, table: Table, landed: impl Fn(&str) -> Option<i64>) -> bool {
        let mut limbo = self.limbo.get(&table).into_iter().flatten();
        limbo.any(|(key, next)| landed(&offset_id(job, key)).is_none_or(|known| known < *next))
    }

    /// The application transactions of a commit to `table`.
    pub(super) fn txns(&self, job: &str, table: Table) -> Vec<(String, i64)> {
        let mut txns: Vec<(String, i64)> =
            self.offsets.iter().map(|(key, next)| (offset_id(job, key), *next)).collect();
        txns.push((files_id(job), self.number));
        let limbo = self.limbo.get(&table).into_iter().flatten();
        txns.extend(limbo.map(|(key, next)| (offset_id(job, key), *next)));
        txns.extend(self.ends.iter().map(|(key, end)| (end_id(job, key), *end)));
        if table == Table::Coverage {
            txns.extend(self.facts.iter().map(|key| (offset_id(job, key), 0)));
            txns.extend(self.silent.map(|cut| (silent_id(job), cut)));
        }
        if let (Table::Findings | Table::Coverage, Some(frontier)) = (table, self.frontier) {
            txns.push((frontier_id(job), frontier));
        }
        txns
    }
}

/// Application id of a lane's next offset.
fn offset_id(job: &str, key: &str) -> String {
    format!("{job}/{key}")
}

/// Application id of the place at which a lane ended, for what its end made.
fn end_id(job: &str, key: &str) -> String {
    format!("{job}/{key}/end")
}

/// What stands for a fact that no record tells: a source tells it again at every start.
pub(super) fn fact_key(fact: &Coverage) -> LaneKey {
    let lane = crate::engine::lane_key(&fact.lane);
    format!("fact/{}", palisade_events::id::uid("palisade.fact.v1", &[&lane, fact.kind.name(), &fact.detail]))
}

/// Application id of the cut that a table has, which says what file lanes had been read.
pub(super) fn files_id(job: &str) -> String {
    format!("{job}/files")
}

/// Application id of the frontier.
fn frontier_id(job: &str) -> String {
    format!("{job}/frontier")
}

/// Application id of the cut whose decisions told the newest silences that a table has.
fn silent_id(job: &str) -> String {
    format!("{job}/silent")
}

/// Application id of the owner's epoch.
pub(super) fn owner_id(job: &str) -> String {
    format!("{job}/owner")
}

/// How far each table already is, as its log said when this process took over.
#[derive(Clone, Debug, Default)]
pub(super) struct Landed {
    offsets: Limbo,
    /// Cut that each table has.
    pub(super) cuts: BTreeMap<Table, i64>,
    /// Pane findings of panes that end by then have landed.
    pub(super) frontier: Option<Micros>,
    /// What panes that end by then told of silences has landed.
    told_until: Option<Micros>,
    /// What decisions of cuts up to this one told of silences has landed.
    told_by: Option<i64>,
    /// Where a crash left a table further along in a file than the manifest: every later commit to the table repeats it
    /// as a transaction of the lane's own, because the ledger goes on from the manifest.
    pub(super) limbo: Limbo,
}

impl Landed {
    /// Reads how far the tables are. `files` is the ledger, `manifest_cut` the newest manifest's.
    pub(super) fn read(lake: &Lake, job: &str, files: &[KnownFile], manifest_cut: i64) -> Self {
        let mut landed = Self {
            frontier: lake.landed(Table::Findings, &frontier_id(job)),
            told_until: lake.landed(Table::Coverage, &frontier_id(job)),
            told_by: lake.landed(Table::Coverage, &silent_id(job)),
            ..Self::default()
        };
        let prefix = format!("{job}/");
        for table in [Table::Decisions, Table::Sources].into_iter().chain(LANE_TABLES) {
            if let Some(cut) = lake.landed(table, &files_id(job)) {
                landed.cuts.insert(table, cut);
            }
        }
        let at_manifest = files_at(files, manifest_cut);
        for table in LANE_TABLES {
            let offsets = landed.offsets.entry(table).or_default();
            for (id, next) in lake.txns(table) {
                if let Some(key) = id.strip_prefix(&prefix) {
                    offsets.insert(key.to_owned(), *next);
                }
            }
            // The ledger says what the cut that the table has meant for each file.
            let cut = landed.cuts.get(&table).copied().unwrap_or(i64::MIN);
            for (key, file) in files_at(files, cut) {
                let next = offsets.entry(key.clone()).or_insert(0);
                *next = (*next).max(file.records);
                if *next > at_manifest.get(&key).map_or(0, |file| file.records) {
                    landed.limbo.entry(table).or_default().insert(key, *next);
                }
            }
        }
        landed
    }

    /// What the lane's end made is in the table already if it ended by this offset.
    pub(super) fn end(&self, table: Table, key: &str) -> i64 {
        self.offset(table, &format!("{key}/end"))
    }

    /// Notes a fact that no record tells. True if it is new.
    pub(super) fn is_news(&mut self, key: LaneKey) -> bool {
        self.offsets.entry(Table::Coverage).or_default().insert(key, 0).is_none()
    }

    /// Whether what a closed pane told, or else a decision of the cut `decided_in`, is in the table already.
    pub(super) fn has_told(&self, told_at: Option<Micros>, decided_in: i64) -> bool {
        match told_at {
            Some(told_at) => self.told_until.is_some_and(|until| told_at <= until),
            None => self.told_by.is_some_and(|by| decided_in <= by),
        }
    }

    /// Records of a lane from this offset on are in no table yet; 0 if none ever was.
    pub(super) fn reach(&self, key: &str) -> i64 {
        self.offsets.values().filter_map(|offsets| offsets.get(key)).copied().max().unwrap_or(0)
    }

    /// Records of a lane below this offset are in the table already.
    pub(super) fn offset(&self, table: Table, key: &str) -> i64 {
        self.offsets.get(&table).and_then(|offsets| offsets.get(key)).copied().unwrap_or(i64::MIN)
    }
}

/// The ledger as it stood at a cut: of each file the newest row.
pub(super) fn files_at(files: &[KnownFile], cut: i64) -> BTreeMap<LaneKey, &KnownFile> {
    let mut at: BTreeMap<LaneKey, &KnownFile> = BTreeMap::new();
    for file in files.iter().filter(|file| file.cut <= cut) {
        let newest = at.entry(file_key(file)).or_insert(file);
        if (file.cut, file.records) > (newest.cut, newest.records) {
            *newest = file;
        }
    }
    at
}

/// The lane key of a file in the ledger.
pub(super) fn file_key(file: &KnownFile) -> LaneKey {
    crate::engine::lane_key(&Lane::file(&file.source, &file.path, &file.fingerprint, file.generation))
}
