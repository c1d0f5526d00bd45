//! Sigma rules on one core: all public rules over the same events by this engine and by `rsigma-eval`, as the ratio of
//! their rates, in the same run.
//!
//! ```sh
//! PALISADE_SHARED=../shared cargo bench --workspace --bench rules
//! PALISADE_SHARED=../shared cargo bench --workspace --bench rules -- --smoke
//! cargo bench --workspace --bench rules -- --rules DIR --lines 16384 --rounds 5 --shape audit
//! ```
//!
//! The rules are read as written: a field is the path of the event that it spells, and every rule sees every event. So
//! both engines have the same to do, and each is asked whether it did: the sets of (rule, line) must be equal, or the run
//! fails and prints where they differ.
//!
//! What is timed. `evaluate`: the peer has its events parsed to `serde_json` values, ours has its batches built; ours
//! still has to find keywords in the payload as text. `read`: from the bytes of NDJSON lines to matches, for both. The
//! peer is asked with its default settings, and with its bloom filter, and the better of the two counts. It evaluates an
//! event when it comes, ours a batch of 4,096, which costs as long as those take to come; the last table says what
//! smaller batches cost. The peer's matches also hold what matched, ours are numbers of rules and rows.
//!
//! What the shapes stand for, and why they do not flatter:
//! - drill telemetry: all streams that are JSON, in hard life, with every attack. Many kinds of events mix in a batch, so
//!   that dictionaries are long for their rows.
//! - kubernetes audit: the API server's log of a Monday morning, bodies included. Nearly all of an event is read by no
//!   rule but those of keywords, which both engines must seek in all of it.
//! - small linux audit: records of a hundred bytes or two, as shippers flatten them. Per event there is little to do, so
//!   that what an engine does for every event and every rule shows.
//! - distinct commands: processes that start, no two command lines alike, nor ids, hashes or parents' command lines. No
//!   dictionary helps, and most public rules ask about just these fields.
//!
//! Rounds alternate between the contenders; the median of each is told, in time on the core where the system tells it, so
//! that other work on the machine takes nothing from either but its caches.

#![allow(clippy::disallowed_methods)] // it measures time

use std::path::PathBuf;
use std::time::Instant;

use palisade_rules::Reading;

mod peers;
mod shapes;

use peers::{Corpus, Ours, Theirs, parsed};
use shapes::Shape;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Work is timed for so long at least.
const TIMED_SECS: f64 = 0.2;

/// Rows of a batch, unless a table says otherwise.
const ROWS: usize = 4096;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: usize| argument(name).and_then(|v| v.parse().ok()).unwrap_or(default);
    let is_smoke = arguments.iter().any(|a| a == "--smoke");
    let (lines, rounds) = match is_smoke {
        true => (512, 1),
        false => (number("--lines", 16_384).max(1), number("--rounds", 3).max(1)),
    };
    // Cargo runs this in its package's folder: paths are told from the root of the workspace.
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let shared = std::env::var_os("PALISADE_SHARED").map(PathBuf::from);
    let public = root.join(shared.clone().unwrap_or_else(|| "../shared".into())).join("data/sigma/rules");
    let named = argument("--rules").map(|folder| root.join(folder));
    let corpus = match named {
        Some(folder) => Corpus::load(&folder)?,
        None if shared.is_some() || public.is_dir() => Corpus::load(&public)?,
        None => {
            println!(
                "public rules are not at {}: the rules of this project instead, which say little",
                public.display()
            );
            Corpus::load(&root.join("packs/starter/rules"))?
        }
    };
    let mut shapes = shapes::all(lines)?;
    shapes.retain(|shape| argument("--shape").is_none_or(|wanted| shape.name.contains(wanted.as_str())));

    let all = corpus.len();
    let begun = Instant::now();
    let ours = corpus.ours(all, Reading::AsWritten)?;
    println!("{all} rules, {} fields, compiled in {:.1} s", ours.fields(), begun.elapsed().as_secs_f64());
    let theirs = [corpus.theirs(all, false)?, corpus.theirs(all, true)?];
    println!(
        "\n{:<18} {:>6} {:>8} {:>7} {:>10} {:>10} {:>7} {:>10} {:>10} {:>7} {:>6}",
        "shape", "bytes", "distinct", "matches", "ours", "rsigma", "x", "ours", "rsigma", "x", "asked"
    );
    println!(
        "{:<18} {:>6} {:>8} {:>7} {:>10} {:>10} {:>7} {:>10} {:>10} {:>7} {:>6}",
        "", "/event", "lines", "", "evaluate/s", "evaluate/s", "", "read/s", "read/s", "", "x"
    );
    for shape in &shapes {
        row(shape, &ours, &theirs, rounds)?;
    }

    println!("\nby number of rules: events/s read by ours and by rsigma, and the ratio");
    for count in [10, 100, 1000, all].into_iter().filter(|count| *count <= all) {
        let (ours, theirs) = (corpus.ours(count, Reading::AsWritten)?, corpus.theirs(count, false)?);
        print!("{count:>6}");
        for shape in &shapes {
            equal(shape, &ours, &theirs)?;
            let own = median(rounds, || ours.read(&shape.lines, ROWS))?;
            let other = median(rounds, || theirs.read(&shape.lines))?;
            print!("  {:>9.0} {:>8.0} {:>5.1}", shape.rate(own), shape.rate(other), ratio(own, other));
        }
        println!();
    }

    println!("\nby rows of a batch: events/s evaluated, and read, by ours");
    for rows in [64, 512, 4096, 16_384] {
        print!("{rows:>6}");
        for shape in &shapes {
            let batches = ours.batches(&shape.lines, rows)?;
            let evaluated = median(rounds, || Ok(ours.matches(&batches)))?;
            let read = median(rounds, || ours.read(&shape.lines, rows))?;
            print!("  {:>10.0} {:>10.0}", shape.rate(evaluated), shape.rate(read));
        }
        println!();
    }
    Ok(())
}

fn row(shape: &Shape, ours: &Ours, theirs: &[Theirs; 2], rounds: usize) -> Outcome<()> {
    let matches = equal(shape, ours, &theirs[0])?;
    equal(shape, ours, &theirs[1])?;
    let events = parsed(&shape.lines)?;
    let batches = ours.batches(&shape.lines, ROWS)?;
    let mut times: [Vec<f64>; 6] = Default::default();
    for _ in 0..rounds {
        times[0].push(timed(|| Ok(ours.matches(&batches)))?);
        times[1].push(timed(|| ours.read(&shape.lines, ROWS))?);
        for (n, theirs) in theirs.iter().enumerate() {
            times[2 + n].push(timed(|| Ok(theirs.matches(&events)))?);
            times[4 + n].push(timed(|| theirs.read(&shape.lines))?);
        }
    }
    let [evaluated, read, plain, bloom, plain_read, bloom_read] = times.map(middle);
    let (their_evaluated, their_read) = (plain.min(bloom), plain_read.min(bloom_read));
    let bytes: usize = shape.lines.iter().map(String::len).sum();
    println!(
        "{:<18} {:>6} {:>8} {:>7} {:>10.0} {:>10.0} {:>7.1} {:>10.0} {:>10.0} {:>7.1} {:>6}",
        shape.name,
        bytes / shape.lines.len(),
        shape.distinct(),
        matches,
        shape.rate(evaluated),
        shape.rate(their_evaluated),
        ratio(evaluated, their_evaluated),
        shape.rate(read),
        shape.rate(their_read),
        ratio(read, their_read),
        shape.asked,
    );
    Ok(())
}

/// Demands equal sets of matches, and tells how many there are.
fn equal(shape: &Shape, ours: &Ours, theirs: &Theirs) -> Outcome<usize> {
    let (own, other) = (ours.found(&shape.lines, ROWS)?, theirs.found(&parsed(&shape.lines)?));
    let only = |some: &[peers::Found], others: &[peers::Found]| -> Vec<String> {
        let missing = some.iter().filter(|found| others.binary_search(found).is_err());
        missing.take(5).map(|(rule, line)| format!("{rule}: {}", shape.lines[*line])).collect()
    };
    if own != other {
        return Err(format!(
            "{}: only ours {:#?}, only rsigma {:#?}",
            shape.name,
            only(&own, &other),
            only(&other, &own)
        )
        .into());
    }
    Ok(own.len())
}

/// How many times the peer's rate ours is.
fn ratio(ours: f64, theirs: f64) -> f64 {
    theirs / ours
}

fn median(rounds: usize, work: impl Fn() -> Outcome<usize>) -> Outcome<f64> {
    let times: Outcome<Vec<f64>> = (0..rounds).map(|_| timed(&work)).collect();
    Ok(middle(times?))
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds of a core that some work takes. Short work is done again and again: the system tells the time in steps of some
/// milliseconds.
fn timed(work: impl Fn() -> Outcome<usize>) -> Outcome<f64> {
    let (begun, core) = (Instant::now(), core_secs());
    let mut times = 0.0;
    loop {
        std::hint::black_box(work()?);
        times += 1.0;
        let on_core = core.zip(core_secs()).map(|(before, after)| after - before);
        let taken = on_core.unwrap_or(begun.elapsed().as_secs_f64());
        if taken >= TIMED_SECS {
            return Ok(taken / times);
        }
    }
}

/// Seconds that this thread has been on a core, where the system tells.
fn core_secs() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(told.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
