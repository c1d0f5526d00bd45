//! What a drill is to be like, as arguments.
//!
//! Not here: what the settings mean, which is the drill crate's.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use palisade::events::time::parse_rfc3339;
use palisade::{Error, Result};
use palisade_drill::{Attack, Life, Scenario, Settings, Stream, Variant, every_attack, scenarios};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LifeArg {
    Steady,
    Hard,
}

/// The shape of a drill.
#[derive(Debug, Args)]
pub(super) struct Shape {
    /// Settings as `drill write` leaves them in drill.json, in place of all arguments below.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Seed of everything that is random: the same arguments give the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Time of the first event.
    #[arg(long, default_value = "2026-03-02T09:00:00Z")]
    start: String,
    /// How long it lasts, in simulated time: 30m, 12h, 7d.
    #[arg(long, default_value = "30m", value_parser = duration)]
    length: u64,
    /// Acts a second at the busiest hour.
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// Worker nodes.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    nodes: u32,
    /// Pods of each workload.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    replicas: u32,
    /// Streams to write, of k8s-audit, falco, auditd, tetragon, hubble, calico, docker, registry; all if absent.
    #[arg(long, value_delimiter = ',', value_parser = stream)]
    streams: Vec<Stream>,
    /// Weights of streams in ordinary life, as hubble=0.2.
    #[arg(long, value_delimiter = ',', value_parser = weight)]
    mix: Vec<(Stream, f64)>,
    /// Ordinary life: a steady day, or one with load tests, node churn, maintenance, new services and lost events.
    #[arg(long, value_enum, default_value = "hard")]
    life: LifeArg,
    /// Attacks, as SCENARIO, SCENARIO:VARIANT or SCENARIO:VARIANT@MINUTES; `all` for every variant of every scenario;
    /// `none`.
    #[arg(long, value_delimiter = ',', default_value = "stolen-ci-token")]
    attacks: Vec<String>,
    /// Files of scenarios that do not ship.
    #[arg(long)]
    scenario: Vec<PathBuf>,
    /// Longest time from an event to its delivery, milliseconds.
    #[arg(long, default_value_t = 400)]
    skew_ms: u32,
    /// Share of records that come late, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = fraction)]
    late_share: f64,
    /// How late they come at most: 90s, 10m.
    #[arg(long, default_value = "2m", value_parser = duration)]
    late: u64,
}

impl Shape {
    /// The settings, and scenarios that do not ship.
    pub(super) fn settings(&self) -> Result<(Settings, Vec<Scenario>)> {
        let usage = |text: String| Error::Usage(text);
        let mut given = Vec::new();
        for path in &self.scenario {
            let text = std::fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
            given.push(Scenario::parse(&text).map_err(|e| usage(format!("{}: {e}", path.display())))?);
        }
        if let Some(path) = &self.settings {
            let text = std::fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
            let settings = serde_json::from_str(&text).map_err(|e| usage(format!("{}: {e}", path.display())))?;
            return Ok((settings, given));
        }
        let mut known = scenarios().map_err(|e| Error::State(e.to_string()))?;
        known.retain(|shipped| !given.iter().any(|own| own.id == shipped.id));
        known.extend(given.iter().cloned());
        let start = parse_rfc3339(&self.start).ok_or_else(|| usage(format!("--start {} is no time", self.start)))?;
        let streams = if self.streams.is_empty() { Stream::ALL.to_vec() } else { self.streams.clone() };
        let settings = Settings {
            seed: self.seed,
            start,
            duration_secs: self.length,
            events_per_sec: self.rate,
            nodes: self.nodes,
            replicas: self.replicas,
            streams,
            mix: self.mix.clone(),
            life: match self.life {
                LifeArg::Steady => Life::Steady,
                LifeArg::Hard => Life::Hard,
            },
            skew_max: i64::from(self.skew_ms) * 1_000,
            late_share: self.late_share,
            late_max: i64::try_from(self.late).unwrap_or(i64::MAX / 2_000_000) * 1_000_000,
            attacks: self.attacks(&known, start)?,
            ..Settings::default()
        };
        Ok((settings, given))
    }

    fn attacks(&self, known: &[Scenario], start: i64) -> Result<Vec<Attack>> {
        let mut attacks = Vec::new();
        for text in &self.attacks {
            match text.as_str() {
                "none" | "" => {}
                "all" => attacks.extend(every_attack(known, start, self.length)),
                text => attacks.push(self.attack(text, known)?),
            }
        }
        Ok(attacks)
    }

    fn attack(&self, text: &str, known: &[Scenario]) -> Result<Attack> {
        let wrong = |why: String| Error::Usage(format!("--attacks {text}: {why}"));
        let (name, at_secs) = match text.split_once('@') {
            None => (text, self.length / 5 * 3),
            Some((name, minutes)) => {
                let minutes: u64 = minutes.parse().map_err(|_| wrong(format!("{minutes} is no number of minutes")))?;
                (name, minutes.saturating_mul(60))
            }
        };
        let (id, variant) = name.split_once(':').unwrap_or((name, "loud"));
        if !known.iter().any(|scenario| scenario.id == id) {
            return Err(wrong(format!("there is no scenario {id}; `palisade drill scenarios` lists them")));
        }
        if at_secs >= self.length {
            return Err(wrong(format!("it would begin after the drill's end, {} minutes", self.length / 60)));
        }
        let variant =
            Variant::of(variant).ok_or_else(|| wrong("the variants are loud, quiet, slow, blinded".into()))?;
        if let Some(scenario) = known.iter().find(|scenario| scenario.id == id)
            && !scenario.variants.contains(&variant)
        {
            let variants: Vec<&str> = scenario.variants.iter().map(|variant| variant.name()).collect();
            return Err(wrong(format!("its variants are {}", variants.join(", "))));
        }
        Ok(Attack { scenario: id.into(), variant, at_secs })
    }
}

fn stream(text: &str) -> std::result::Result<Stream, String> {
    Stream::of_topic(text).ok_or_else(|| {
        let known: Vec<&str> = Stream::ALL.iter().map(|stream| stream.topic()).collect();
        format!("the streams are {}", known.join(", "))
    })
}

fn rate(text: &str) -> std::result::Result<f64, String> {
    let wrong = || "a rate is above 0 and at most 1000000".to_owned();
    let rate: f64 = text.parse().map_err(|_| wrong())?;
    if rate > 0.0 && rate <= 1e6 { Ok(rate) } else { Err(wrong()) }
}

fn fraction(text: &str) -> std::result::Result<f64, String> {
    let wrong = || "a share is from 0 to 1".to_owned();
    let share: f64 = text.parse().map_err(|_| wrong())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(wrong()) }
}

fn weight(text: &str) -> std::result::Result<(Stream, f64), String> {
    let (name, weight) = text.split_once('=').ok_or("write it as stream=weight")?;
    let weight: f64 = weight.parse().map_err(|_| format!("{weight} is no number"))?;
    if !(0.0..=1_000.0).contains(&weight) {
        return Err("a weight is from 0 to 1000".into());
    }
    Ok((stream(name)?, weight))
}

fn duration(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text} is no length: write it as 90s, 30m, 12h or 7d");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let secs = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
    if secs == 0 || secs > 3_660 * 86_400 { Err(wrong()) } else { Ok(secs) }
}
