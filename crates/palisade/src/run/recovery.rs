//! Taking over: own the lake, find the newest manifest, and work out what each table already has.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_events::facts::{Decision, DecisionKind};
use palisade_events::time::Micros;
use palisade_events::{Finding, Lane};
use palisade_ingest::file::{self, Compression, FileSettings, FileSource, Header};
use palisade_lake::{Durability, KnownFile, Lake, LakeOptions, Table};

use super::Input;
use super::cut::{Landed, LaneBytes, LaneCut, file_key, files_at, owner_id};
use super::outbox::{self, Outbox};
use super::writer::Owned;
use crate::clock;
use crate::config::{BeginConfig, Config, SourceConfig, SourceKind};
use crate::engine::{Belief, LaneKey, Replay};
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Files read side by side: below the usual limit of 1024 open files. Panes are exact while all files of a time fit.
const FILES_OPEN_MAX: usize = 512;

/// Name of the state piece that holds decisions still to be repeated.
const REPLAY: &str = "run/replay";

/// What a run starts from.
pub(super) struct Recovered {
    lake: Option<Owned>,
    pub(super) landed: Landed,
    pub(super) replay: Option<Replay>,
    pub(super) parked: BTreeMap<LaneKey, LaneCut>,
    pub(super) lane_bytes: BTreeMap<LaneKey, Vec<u8>>,
    /// Until when rows beyond the manifest are believed: what landed of them was judged by it.
    pub(super) believed: BTreeMap<LaneKey, Vec<Belief>>,
    pub(super) pieces: Vec<(String, Vec<u8>)>,
    pub(super) frontier: Option<Micros>,
    pub(super) fingerprint: Option<String>,
    pub(super) next_cut: i64,
    pub(super) undelivered: Vec<Finding>,
    /// The file ledger as of the manifest.
    files: Vec<KnownFile>,
    /// Ledger rows that take back what a crash left beyond the manifest; they go into the first cut.
    pub(super) corrections: Vec<KnownFile>,
}

impl Recovered {
    /// Records of a file that were read by the manifest's cut.
    pub(super) fn records_read(&self) -> BTreeMap<LaneKey, i64> {
        self.files.iter().map(|file| (file_key(file), file.records)).collect()
    }

    pub(super) fn take_lake(&mut self) -> Result<Owned> {
        self.lake.take().ok_or_else(|| Error::State("the lake was taken already".into()))
    }
}

/// Opens or creates the lake, fences earlier owners, and reads the state of the job. Where the lake lies
/// and how durable it is says the configuration, the rest `options`.
pub(super) fn open(config: &Config, options: LakeOptions) -> Result<Recovered> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("starting the lake's runtime"))?;
    let durability = if config.lake.fsync { Durability::Durable } else { Durability::Fast };
    let storage = config.lake.storage.0.clone().into_iter().collect();
    let options = LakeOptions { durability, storage, clock_ms: || clock::wall_us() / 1000, ..options };
    let mut lake = runtime.block_on(Lake::open(&config.lake.url, options))?;
    let epoch = runtime.block_on(lake.own(&owner_id(&config.job)))?;
    let state = lake.state(&config.job);
    let manifest = runtime.block_on(state.newest_manifest())?;
    let manifest_cut = manifest.as_ref().map_or(0, |m| m.cut);
    // Also files that this run does not read: a crash may have left the ledger ahead of their events.
    let files = runtime.block_on(lake.known_files(&config.job, manifest_cut))?;
    let landed = Landed::read(&lake, &config.job, &files, manifest_cut);
    let newest = landed.cuts.values().copied().max().unwrap_or(0).max(files.iter().map(|f| f.cut).max().unwrap_or(0));
    let next_cut = newest.max(manifest_cut) + 1;
    let settled = files_at(&files, manifest_cut);
    let ahead: BTreeMap<LaneKey, &KnownFile> =
        files.iter().filter(|file| file.cut > manifest_cut).map(|file| (file_key(file), file)).collect();
    let corrections = ahead.iter().map(|(key, file)| {
        let empty = KnownFile { records: 0, bytes: 0, prefix_hash: String::new(), ..(*file).clone() };
        let before = settled.get(key).map_or(empty, |file| (*file).clone());
        // What was read beyond the manifest stays the file's identity: its rows may be in the tables.
        KnownFile { cut: next_cut, far_bytes: file.far_bytes, far_hash: file.far_hash.clone(), ..before }
    });
    let corrections: Vec<KnownFile> = corrections.collect();
    let untouched = settled.iter().filter(|(key, _)| !ahead.contains_key(*key)).map(|(_, file)| (*file).clone());
    let known: Vec<KnownFile> = untouched.chain(corrections.iter().cloned()).collect();
    let mut recovered = Recovered {
        next_cut,
        corrections,
        files: known,
        landed,
        replay: None,
        parked: BTreeMap::new(),
        lane_bytes: BTreeMap::new(),
        believed: BTreeMap::new(),
        pieces: Vec::new(),
        frontier: None,
        fingerprint: None,
        undelivered: Vec::new(),
        lake: None,
    };
    let mut unrepeated = None;
    if let Some(manifest) = manifest {
        tracing::info!(cut = manifest.cut, epoch, lanes = manifest.lanes.len(), "going on from a manifest");
        for (key, lane) in manifest.lanes {
            if let Some(hash) = &lane.chunk {
                recovered.lane_bytes.insert(key.clone(), runtime.block_on(state.chunk(hash))?);
            }
            let next_offset = lane.next_offset;
            let state = LaneBytes::Stored(lane.chunk);
            let (lane, fingerprint) = (Arc::new(lane.lane), lane.config_fingerprint);
            recovered.parked.insert(key, LaneCut { lane, next_offset, state, fingerprint });
        }
        for (name, hash) in manifest.pieces {
            let bytes = runtime.block_on(state.chunk(&hash))?;
            match name.as_str() {
                outbox::PIECE => recovered.undelivered = Outbox::read(&bytes)?,
                REPLAY => unrepeated = Some(read_replay(&bytes)?),
                _ => recovered.pieces.push((name, bytes)),
            }
        }
        recovered.frontier = manifest.frontier_us;
        recovered.fingerprint = Some(manifest.config_fingerprint);
    }
    let mut decisions = Vec::new();
    if recovered.landed.cuts.get(&Table::Decisions).is_some_and(|cut| *cut > manifest_cut) {
        decisions = runtime.block_on(unfinished_decisions(&config.lake.url, &config.job, manifest_cut))?;
    }
    for (key, belief) in Belief::recorded(&decisions) {
        recovered.believed.entry(key).or_default().push(belief);
    }
    decisions.retain(|decision| decision.kind.is_binding());
    // New decisions fall only after those that were to be repeated are done with.
    if decisions.is_empty() {
        decisions = unrepeated.unwrap_or_default();
    }
    recovered.replay = Replay::plan(decisions).map_err(|e| Error::State(format!("decisions: {e}")))?;
    recovered.lake = Some(Owned { lake, runtime, epoch });
    Ok(recovered)
}

/// Decisions that a cut still had to repeat, as a piece of its state. Cuts may land before the place of a decision is
/// reached again, and their manifests would otherwise hide it.
pub(super) fn replay_piece(replay: &Replay) -> Result<(String, Vec<u8>)> {
    let bytes = serde_json::to_vec(replay.decisions()).map_err(|e| Error::State(format!("decisions: {e}")))?;
    Ok((REPLAY.into(), bytes))
}

fn read_replay(bytes: &[u8]) -> Result<Vec<Decision>> {
    serde_json::from_slice(bytes).map_err(|e| Error::State(format!("decisions: {e}")))
}

/// Decisions that landed after the newest manifest and that rows may depend on, in order.
async fn unfinished_decisions(url: &str, job: &str, manifest_cut: i64) -> Result<Vec<Decision>> {
    let hunt = palisade_hunt::Hunt::open(url).await?;
    let needed = |kind: &DecisionKind| kind.is_binding() || *kind == DecisionKind::Believe;
    let kinds: Vec<String> =
        DecisionKind::ALL.into_iter().filter(needed).map(|kind| format!("'{}'", kind.name())).collect();
    let query = format!(
        "SELECT cut, \"index\", kind, CAST(pane_end AS BIGINT) AS pane_end, lanes, fingerprint, detail FROM decisions \
         WHERE job = '{}' AND cut > {manifest_cut} AND kind IN ({}) ORDER BY cut, \"index\"",
        job.replace('\'', "''"),
        kinds.join(", ")
    );
    let batches = hunt.sql(&query).await?;
    let mut decisions = Vec::new();
    for batch in &batches {
        use arrow::array::AsArray;
        use arrow::datatypes::{Int32Type, Int64Type};
        let text = |column: usize| {
            arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8)
                .map_err(palisade_events::Error::from)
        };
        let (kinds, lanes, prints, details) = (text(2)?, text(4)?, text(5)?, text(6)?);
        for row in 0..batch.num_rows() {
            let Some(kind) = DecisionKind::named(kinds.as_string::<i32>().value(row)) else { continue };
            decisions.push(Decision {
                job: job.to_owned(),
                cut: batch.column(0).as_primitive::<Int64Type>().value(row),
                index: batch.column(1).as_primitive::<Int32Type>().value(row),
                kind,
                pane_end: batch.column(3).as_primitive::<Int64Type>().value(row),
                lanes: lanes.as_string::<i32>().value(row).to_owned(),
                fingerprint: prints.as_string::<i32>().value(row).to_owned(),
                detail: details.as_string::<i32>().value(row).to_owned(),
            });
        }
    }
    Ok(decisions)
}

/// Makes the configured sources. `files` is what all file sources have in common.
pub(super) fn inputs(config: &Config, plan: &Plan, recovered: &Recovered, files: &FileSettings) -> Result<Vec<Input>> {
    config.sources.iter().map(|source| input(config, plan, source, recovered, files)).collect()
}

pub(super) fn input(
    config: &Config,
    plan: &Plan,
    source: &SourceConfig,
    recovered: &Recovered,
    files: &FileSettings,
) -> Result<Input> {
    match source.kind {
        SourceKind::Files => {
            let own = recovered.files.iter().filter(|file| file.source == source.name);
            let known: Vec<_> = own.filter_map(to_source).collect();
            let settings = FileSettings {
                cluster: source.cluster.clone(),
                header: plan.feed(&source.name).map_or(Header::Absent, |feed| feed.header()),
                framing: plan.feed(&source.name).map_or(files.framing, |feed| feed.framing()),
                record_bytes_max: config.pipeline.record_bytes_max,
                lanes_max: FILES_OPEN_MAX,
                ..files.clone()
            };
            Ok(Input::Files(Box::new(FileSource::new(&source.name, &source.paths, &known, settings)?)))
        }
        SourceKind::Kafka => kafka(config, source),
        SourceKind::Channel => Err(Error::State(format!(
            "source `{}` is handed over in process: the program that embeds the pipeline passes it to `run_with`",
            source.name
        ))),
    }
}

#[cfg(feature = "kafka")]
fn kafka(config: &Config, source: &SourceConfig) -> Result<Input> {
    use palisade_ingest::kafka::{Begin, KafkaSettings, KafkaSource};
    let mut properties = source.properties.0.clone();
    if let Some(brokers) = &source.brokers {
        properties.insert("bootstrap.servers".into(), brokers.clone());
    }
    let settings = KafkaSettings {
        name: source.name.clone(),
        topics: source.topics.clone(),
        group: source.group.clone().unwrap_or_else(|| config.job.clone()),
        generation: source.generation,
        cluster_header: source.cluster_header.clone(),
        cluster_from_topic: source.cluster_from_topic.clone(),
        begin: match source.begin {
            BeginConfig::Earliest => Begin::Earliest,
            BeginConfig::Latest => Begin::Latest,
        },
        properties,
        oauth_token_file: source.oauth_token_file.clone(),
    };
    Ok(Input::Stream(Box::new(KafkaSource::new(settings)?)))
}

#[cfg(not(feature = "kafka"))]
fn kafka(_: &Config, source: &SourceConfig) -> Result<Input> {
    let _ = BeginConfig::Earliest;
    Err(Error::State(format!("source `{}` needs Kafka, which this build leaves out", source.name)))
}

/// The ledger's entry of a file lane at a cut. `None` where the source knows no such place, as after a replay that
/// stopped inside a chunk; the lane's offset then goes into the commits instead.
pub(super) fn ledger_row(source: &FileSource, lane: &Lane, next: i64, cut: i64) -> Option<KnownFile> {
    let file = source.progress(lane, next)?;
    Some(KnownFile {
        cut,
        source: file.source,
        fingerprint: file.fingerprint,
        generation: file.generation,
        path: file.path,
        records: file.records,
        bytes: i64::try_from(file.bytes).ok()?,
        prefix_hash: file.prefix_hash,
        compression: file.compression.name().into(),
        far_bytes: i64::try_from(file.far_bytes).ok()?,
        far_hash: file.far_hash,
    })
}

fn to_source(file: &KnownFile) -> Option<file::KnownFile> {
    Some(file::KnownFile {
        source: file.source.clone(),
        fingerprint: file.fingerprint.clone(),
        generation: file.generation,
        path: file.path.clone(),
        records: file.records,
        bytes: u64::try_from(file.bytes).ok()?,
        prefix_hash: file.prefix_hash.clone(),
        compression: Compression::named(&file.compression)?,
        far_bytes: u64::try_from(file.far_bytes).ok()?,
        far_hash: file.far_hash.clone(),
    })
}
