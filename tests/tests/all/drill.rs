//! Every scenario of the drill, in every variant, through the decoders: nothing is rejected, every step leaves something,
//! and together they are what they claim to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_drill::{Attack, Drill, Life, Role, Settings, Stream, Variant, scenarios};
use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, FieldPlan, Lane, LaneClock};
use palisade_ingest::{Decoded, Decoder, Format, decoder};

/// A decoder of one stream, with what it made.
struct Reader {
    lane: Arc<Lane>,
    decoder: Box<dyn Decoder>,
    clock: LaneClock,
    out: Decoded,
    records: i64,
}

impl Reader {
    fn new(stream: Stream) -> Self {
        let plan = Arc::new(FieldPlan::new(Vec::<String>::new()));
        let lane = Arc::new(Lane::channel(stream.topic(), stream.topic()));
        let settings = palisade_ingest::Settings {
            source: stream.topic().into(),
            plan: Arc::clone(&plan),
            ..palisade_ingest::Settings::default()
        };
        let format = Format::named(stream.format()).unwrap();
        let decoder = decoder(&format, Arc::clone(&lane), Arc::new(settings));
        Self { lane, decoder, clock: LaneClock::new(Tolerance::default()), out: Decoded::new(plan), records: 0 }
    }

    fn read(&mut self, payload: &[u8]) {
        let mut chunk = Chunk::new(Arc::clone(&self.lane));
        chunk.push(payload, self.records, None, None);
        self.records += 1;
        for record in &chunk.records {
            self.decoder.record(record, chunk.payload(record), &mut self.clock, &mut self.out).unwrap();
        }
    }
}

#[test]
fn every_scenario_decodes_without_rejects_and_every_step_leaves_something() {
    for scenario in scenarios().unwrap() {
        for variant in scenario.variants.clone() {
            let settings = Settings {
                duration_secs: if variant == Variant::Slow { 12 * 86_400 } else { 43_200 },
                events_per_sec: 0.001,
                nodes: 3,
                replicas: 1,
                namespaces: ["payments", "shop"].map(String::from).into(),
                streams: Stream::ALL.into(),
                attacks: vec![Attack { variant, ..Attack::new(&scenario.id, 600) }],
                ..Settings::default()
            };
            let mut drill = Drill::new(settings).unwrap();
            let mut readers: BTreeMap<Stream, Reader> = BTreeMap::new();
            let mut left: BTreeSet<(Role, String)> = BTreeSet::new();
            while let Some(record) = drill.next() {
                if let Some(truth) = record.label.and_then(|label| drill.truth(label)) {
                    left.insert((truth.role, truth.step.to_owned()));
                }
                readers.entry(record.stream).or_insert_with(|| Reader::new(record.stream)).read(&record.payload);
            }
            for (stream, reader) in &readers {
                let reject = reader.out.rejects.first();
                assert!(reject.is_none(), "{} {variant:?} {stream:?}: {reject:?}", scenario.id);
            }
            let few = matches!(variant, Variant::Quiet | Variant::Slow);
            for step in scenario.steps.iter().filter(|step| !few || step.quiet_repeat > 0) {
                let key = (Role::Attack, step.id.clone());
                assert!(left.contains(&key), "{} {variant:?}: step {} left nothing", scenario.id, step.id);
            }
            for twin in &scenario.twins {
                let key = (Role::Twin, twin.id.clone());
                assert!(left.contains(&key), "{} {variant:?}: twin {} left nothing", scenario.id, twin.id);
            }
        }
    }
}

#[test]
fn hard_life_decodes_without_rejects() {
    let settings = Settings {
        duration_secs: 2 * 86_400,
        events_per_sec: 0.5,
        streams: Stream::ALL.into(),
        life: Life::Hard,
        attacks: Vec::new(),
        ..Settings::default()
    };
    let mut readers: BTreeMap<Stream, Reader> = BTreeMap::new();
    for record in Drill::new(settings).unwrap() {
        readers.entry(record.stream).or_insert_with(|| Reader::new(record.stream)).read(&record.payload);
    }
    assert_eq!(readers.keys().copied().collect::<Vec<_>>(), Stream::ALL);
    for (stream, reader) in &readers {
        let reject = reader.out.rejects.first();
        assert!(reject.is_none(), "{stream:?}: {reject:?}");
        assert!(reader.records > 100, "{stream:?}: {} records", reader.records);
    }
}

/// The Containers matrix of ATT&CK 18.
const CONTAINERS: [&str; 48] = [
    "T1036",
    "T1036.005",
    "T1036.010",
    "T1046",
    "T1053",
    "T1053.007",
    "T1059.013",
    "T1068",
    "T1069",
    "T1070",
    "T1078",
    "T1078.001",
    "T1078.003",
    "T1098",
    "T1098.006",
    "T1110",
    "T1110.001",
    "T1110.003",
    "T1110.004",
    "T1133",
    "T1136",
    "T1136.001",
    "T1190",
    "T1204",
    "T1204.003",
    "T1485",
    "T1490",
    "T1496",
    "T1496.001",
    "T1496.002",
    "T1498",
    "T1499",
    "T1525",
    "T1528",
    "T1543",
    "T1543.005",
    "T1550",
    "T1550.001",
    "T1552",
    "T1552.001",
    "T1552.007",
    "T1562",
    "T1562.001",
    "T1609",
    "T1610",
    "T1611",
    "T1612",
    "T1613",
];

#[test]
fn scenarios_cover_the_containers_matrix() {
    let scenarios = scenarios().unwrap();
    assert!(scenarios.len() >= 40, "{}", scenarios.len());
    let used: BTreeSet<&str> =
        scenarios.iter().flat_map(|scenario| scenario.steps.iter().map(|step| step.technique.as_str())).collect();
    let missing: Vec<&&str> = CONTAINERS.iter().filter(|technique| !used.contains(**technique)).collect();
    assert!(missing.len() <= 8, "not covered: {missing:?}");
    for scenario in &scenarios {
        assert!(!scenario.twins.is_empty(), "{} has no benign twin", scenario.id);
        assert_eq!(scenario.attack_version, "18", "{}", scenario.id);
    }
    assert!(scenarios.iter().filter(|scenario| scenario.steps.len() >= 5).count() >= 12, "too few chains");
}
