//! A source that falls silent while nothing else goes on: the clock decides, and crashes change nothing of what is told.

use super::mortal::Mortal;
use super::*;

/// Milliseconds after the start at which alerts were raised. The run has panes of 100 ms and is told of silences as long.
const BEFORE: [i64; 3] = [0, 20, 40];
const AFTER: [i64; 3] = [100_000, 100_020, 200_000];

/// A source of one lane that pauses in the middle, and stops the run when all of it has landed.
struct Pausing {
    lane: Arc<Lane>,
    pause: Duration,
    next: i64,
    stage: Stage,
    since: Instant,
    stop: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    New,
    Joined,
    Reading,
    Resting,
}

impl Pausing {
    fn new(pause: Duration) -> Self {
        let lane = Arc::new(Lane::kafka("alerts", "pausing", 0));
        Self { lane, pause, next: 0, stage: Stage::New, since: clock::now(), stop: Arc::default() }
    }

    fn records(&self) -> Chunk {
        let mut chunk = Chunk::new(Arc::clone(&self.lane));
        let all: Vec<i64> = BEFORE.into_iter().chain(AFTER).collect();
        let until = if (self.next as usize) < BEFORE.len() { BEFORE.len() } else { all.len() };
        for (offset, millis) in all.iter().enumerate().take(until).skip(self.next as usize) {
            let time = palisade_events::time::format_rfc3339(1_767_225_600_000_000 + millis * 1000);
            let alert = format!(
                r#"{{"time":"{time}","rule":"Shell","priority":"Notice","output":"a shell","source":"syscall","output_fields":{{"evt.type":"execve"}}}}"#
            );
            chunk.push(alert.as_bytes(), offset as i64, None, None);
        }
        chunk
    }

    fn is_over(&self) -> bool {
        self.next as usize >= BEFORE.len() + AFTER.len()
    }
}

impl Source for Pausing {
    fn name(&self) -> &str {
        "alerts"
    }

    fn next(&mut self, _: Duration) -> Result<Signal, SourceError> {
        match self.stage {
            Stage::New => {
                self.stage = Stage::Joined;
                return Ok(Signal::Joined(vec![Arc::clone(&self.lane)]));
            }
            Stage::Reading => {
                (self.stage, self.since) = (Stage::Resting, clock::now());
                return Ok(Signal::CaughtUp(Arc::clone(&self.lane)));
            }
            Stage::Resting if self.since.elapsed() >= self.pause && self.is_over() => {
                self.stop.store(true, Ordering::Relaxed);
            }
            // A life that begins in the middle rests first; what one has begun, it gives without a pause.
            Stage::Resting if self.since.elapsed() >= self.pause || self.next == 0 => {
                let chunk = self.records();
                self.next += chunk.records.len() as i64;
                self.stage = Stage::Reading;
                return Ok(Signal::Records(chunk));
            }
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
        Ok(Signal::Nothing)
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError> {
        self.next = lanes[0].1.as_ref().map_or(0, |resume| resume.next_offset);
        (self.stage, self.since) = (Stage::Resting, clock::now());
        // As a broker would say at the end of a partition.
        if self.next > 0 {
            self.stage = Stage::Reading;
        }
        Ok(())
    }

    fn release(&mut self, _: &[Arc<Lane>]) -> Result<(), SourceError> {
        Ok(())
    }

    fn hold(&mut self, _: &Arc<Lane>, _: Hold) {}

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        if lanes.iter().any(|(_, next)| *next as usize >= BEFORE.len() + AFTER.len()) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// One life, which dies at a write to the store after it has taken over, if it gets there.
fn live(world: &World, lake: &Path, pause: Duration, death: Option<i64>) -> Result<Arc<Metrics>> {
    let mut config = world.config.clone();
    config.sources.retain(|source| source.name == "alerts");
    config.sources.iter_mut().for_each(|source| source.silence_secs = Some(0.1));
    config.lake.url = lake.display().to_string();
    (config.pipeline.idle_secs, config.pipeline.pane_secs) = (0.05, 0.1);
    let plan = Plan::new(&config).unwrap();
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let of_store = Arc::clone(&left);
    let wrap: palisade_lake::Wrap = Arc::new(move |inner| {
        let (left, outage) = (Arc::clone(&of_store), Arc::default());
        Arc::new(Mortal { inner, left, answer_lost: false, delay: Duration::ZERO, outage })
    });
    let options = LakeOptions { wrap: Some(wrap), attempts_max: 1, ..LakeOptions::fast() };
    let mut recovered = recovery::open(&config, options).unwrap();
    left.store(death.unwrap_or(i64::MAX), Ordering::SeqCst);
    let source = Pausing::new(pause);
    let metrics = Arc::new(Metrics::new());
    let (stop, shown) = (Arc::clone(&source.stop), Arc::clone(&metrics));
    let options = RunOptions { stop, until: Until::Stopped, metrics: shown, sinks: Vec::new() };
    let inputs = vec![Input::Stream(Box::new(source))];
    run_inputs(&config, &plan, options, inputs, &mut recovered).map(|_| metrics)
}

/// Windows of silences up to the last alert, in milliseconds after the start, and how often each was told.
fn told(lake: &Path) -> Vec<(u64, u64, u64)> {
    let millis = |column: &str| format!("(CAST({column} AS BIGINT) - 1767225600000000) / 1000");
    let query = format!(
        "SELECT {} AS begins, {} AS ends, count(*) AS n FROM coverage WHERE kind = 'silence' GROUP BY 1, 2 ORDER BY 1, 2",
        millis("window_start"),
        millis("window_end")
    );
    let of = |row: &String| (number(row, "begins"), number(row, "ends"), number(row, "n"));
    // How the run ends is the clock's: whether the pane of the last alert, which ends a silence, is still closed.
    rows(lake, &query).iter().map(of).filter(|(_, ends, _)| *ends < 200_000).collect()
}

const EXPECTED: [(u64, u64, u64); 3] = [(40, 140, 1), (40, 100_000, 1), (100_020, 100_120, 1)];

#[test]
fn a_source_that_is_silent_while_nothing_else_goes_on_is_told_by_a_decision() {
    let world = World::new(19, 3600.0);
    let lake = world.lake("silent");
    let metrics = live(&world, &lake, Duration::from_millis(1500), None).unwrap();
    assert_eq!(told(&lake), EXPECTED);
    let decisions = rows(&lake, "SELECT detail FROM decisions WHERE kind = 'silent' ORDER BY cut LIMIT 1");
    assert_eq!(decisions, [r#"{"detail":"alerts"}"#]);
    assert!(metrics.encode().contains("palisade_source_last_event_age_seconds{source=\"alerts\"}"));
}

#[test]
fn crashes_neither_lose_nor_double_what_is_told_of_silences() {
    let world = World::new(20, 3600.0);
    let mut deaths = 0;
    for death in (2..24).step_by(3) {
        let lake = world.lake(&format!("lake-{death}"));
        let pause = Duration::from_millis(400);
        for _ in 0..2 {
            match live(&world, &lake, pause, Some(death)) {
                Ok(_) => break,
                Err(_) => deaths += 1,
            }
        }
        live(&world, &lake, pause, None).unwrap();
        assert_eq!(told(&lake), EXPECTED, "death at write {death}");
    }
    assert!(deaths > 8, "{deaths}");
}
