//! How fast a drill makes records, on one thread: what a load test can ask of it.
//!
//! The shapes stand for what people drill with: all streams as they are mixed in a cluster, each stream by itself, and hard
//! life with every attack in it. Records are made and dropped, not written: a disk or a broker would be measured else.
//! There is no peer: nothing else makes these formats consistent with one another.
//!
//! `cargo bench --workspace --bench drill -- [--records N] [--rounds N]`

use std::time::Instant;

use palisade_drill::{Drill, Life, Settings, Stream, every_attack, scenarios};

#[allow(clippy::disallowed_methods)] // Measuring is what it is for.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(usual)
    };
    let (records, rounds) = (number("--records", 2_000_000), number("--rounds", 3));
    let base = Settings { events_per_sec: 5_000.0, duration_secs: 86_400, attacks: Vec::new(), ..Settings::default() };
    let mut shapes: Vec<(String, Settings)> = vec![
        ("all streams".into(), Settings { streams: Stream::ALL.into(), ..base.clone() }),
        ("usual streams".into(), base.clone()),
    ];
    for stream in Stream::ALL {
        shapes.push((stream.topic().into(), Settings { streams: vec![stream], ..base.clone() }));
    }
    let every = every_attack(&scenarios()?, base.start, 3_600);
    let (streams, life) = (Stream::ALL.into(), Life::Hard);
    shapes.push(("hard, attacks".into(), Settings { streams, life, attacks: every, duration_secs: 3_600, ..base }));
    println!("{:<16} {:>10} {:>12} {:>9} {:>8}", "shape", "records", "records/s", "bytes/rec", "MB/s");
    for (name, settings) in shapes {
        let mut best: Option<(f64, usize, usize)> = None;
        for _ in 0..rounds.max(1) {
            let begun = Instant::now();
            let (mut count, mut bytes) = (0, 0);
            for record in Drill::new(settings.clone())?.take(records) {
                count += 1;
                bytes += record.payload.len();
            }
            let secs = begun.elapsed().as_secs_f64();
            if best.is_none_or(|(least, ..)| secs < least) {
                best = Some((secs, count, bytes));
            }
        }
        let Some((secs, count, bytes)) = best else { continue };
        assert!(count > 0, "{name} made nothing");
        println!(
            "{name:<16} {count:>10} {:>12.0} {:>9} {:>8.0}",
            count as f64 / secs,
            bytes / count,
            bytes as f64 / 1e6 / secs
        );
    }
    Ok(())
}
