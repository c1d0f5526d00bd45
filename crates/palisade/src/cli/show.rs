//! How findings are shown to people, and the sink that shows them as they land.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use palisade::events::seam::SinkError;
use palisade::events::time::format_rfc3339;
use palisade::events::{Finding, Sink};
use palisade::{Severity, sink::Lines};

use super::term::{BOLD, DIM, printable, style_of};

/// Counts of what was shown, shared with whoever sums up.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) by_severity: BTreeMap<Severity, u64>,
    pub(crate) groups: BTreeMap<String, u64>,
    pub(crate) techniques: BTreeMap<String, u64>,
}

impl Seen {
    fn add(&mut self, finding: &Finding) {
        *self.by_severity.entry(finding.severity).or_default() += 1;
        *self.groups.entry(finding.group_uid.clone()).or_default() += 1;
        for technique in &finding.attack.techniques {
            *self.techniques.entry(technique.clone()).or_default() += 1;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.by_severity.values().sum()
    }

    pub(crate) fn worst(&self) -> Option<Severity> {
        self.by_severity.keys().next_back().copied()
    }
}

/// Shows each group's first finding in full, and counts the others.
pub(crate) struct Screen {
    seen: Arc<Mutex<Seen>>,
    least: Severity,
    json: Option<Lines<std::io::Stdout>>,
    above: Option<indicatif::ProgressBar>,
}

impl Screen {
    /// A sink for people, or for programs with `json`. `above` is a progress bar to print above.
    pub(crate) fn new(json: bool, least: Severity, above: Option<indicatif::ProgressBar>) -> (Self, Arc<Mutex<Seen>>) {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let json = json.then(|| Lines::new("stdout", std::io::stdout()));
        (Self { seen: Arc::clone(&seen), least, json, above }, seen)
    }
}

impl Sink for Screen {
    fn name(&self) -> &str {
        "screen"
    }

    fn deliver(&mut self, findings: &[Finding]) -> Result<(), SinkError> {
        if let Some(lines) = &mut self.json {
            let wanted = findings.iter().filter(|finding| finding.severity >= self.least);
            lines.deliver(&wanted.cloned().collect::<Vec<_>>())?;
        }
        let Ok(mut seen) = self.seen.lock() else { return Ok(()) };
        for finding in findings {
            let is_first = !seen.groups.contains_key(&finding.group_uid);
            seen.add(finding);
            if self.json.is_none() && is_first && finding.severity >= self.least {
                let print = || print(finding);
                match &self.above {
                    Some(bar) => bar.suspend(print),
                    None => print(),
                }
            }
        }
        Ok(())
    }
}

/// Prints a finding with what someone needs to judge it.
pub(crate) fn print(finding: &Finding) {
    let style = style_of(finding.severity);
    let level = finding.severity.name().to_uppercase();
    anstream::println!("{style}{level:<13}{style:#} {BOLD}{}{BOLD:#}", printable(&finding.title));
    anstream::println!("  {DIM}about{DIM:#}    {}{}", printable(&finding.entity.to_string()), owner(finding));
    anstream::println!(
        "  {DIM}when{DIM:#}     {} .. {} ({} events)",
        format_rfc3339(finding.first_seen),
        format_rfc3339(finding.last_seen),
        finding.count
    );
    anstream::println!("  {DIM}why{DIM:#}      {}", printable(&finding.explanation));
    if let Some(p) = finding.p_value {
        anstream::println!(
            "  {DIM}odds{DIM:#}     observed {}; expected {}; p = {p:.2e}",
            printable(&finding.observed),
            printable(&finding.expected)
        );
    }
    if !finding.attack.techniques.is_empty() {
        anstream::println!(
            "  {DIM}ATT&CK{DIM:#}   {} (v{})",
            finding.attack.techniques.join(", "),
            finding.attack.version
        );
    }
    for evidence in finding.evidence.iter().take(3) {
        anstream::println!(
            "  {DIM}proof{DIM:#}    {} {DIM}{}{DIM:#}",
            printable(&evidence.position.to_string()),
            evidence.event_uid
        );
    }
    if finding.coverage != "complete" {
        anstream::println!("  {DIM}coverage{DIM:#} {}: there may be more than was seen", finding.coverage);
    }
    if let Some(step) = finding.triage.first() {
        anstream::println!("  {DIM}do first{DIM:#} {}", printable(step));
    }
    // The rest is for whoever is paged; `findings show` has it for every finding.
    if finding.severity >= Severity::High {
        for step in finding.triage.iter().skip(1) {
            anstream::println!("  {DIM}then{DIM:#}     {}", printable(step));
        }
        for harmless in &finding.false_positives {
            anstream::println!("  {DIM}unless{DIM:#}   {}", printable(harmless));
        }
    }
    anstream::println!("  {DIM}id       {}{DIM:#}\n", finding.finding_uid);
}

fn owner(finding: &Finding) -> String {
    finding.owner.as_ref().map(|owner| format!(", owned by {owner}")).unwrap_or_default()
}
