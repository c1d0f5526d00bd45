//! Colours and errors on a terminal. Colour codes are stripped where the output is no terminal.

use anstyle::{AnsiColor, Style};
use palisade::Severity;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

/// The colour of a severity.
pub(crate) fn style_of(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Critical => AnsiColor::Magenta,
        Severity::High => AnsiColor::Red,
        Severity::Medium => AnsiColor::Yellow,
        Severity::Low => AnsiColor::Cyan,
        Severity::Informational => AnsiColor::White,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// Says on standard error what went wrong, and what may help.
pub(crate) fn complain(error: &palisade::Error) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    anstream::eprintln!("{red}error{red:#}: {error}");
    let mut source = std::error::Error::source(error);
    let mut said = error.to_string();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !said.contains(&words) {
            anstream::eprintln!("  because: {words}");
        }
        said.push_str(&words);
        source = cause.source();
    }
    if let Some(hint) = hint(error) {
        anstream::eprintln!("{BOLD}hint{BOLD:#}: {hint}");
    }
}

fn hint(error: &palisade::Error) -> Option<&'static str> {
    match error {
        palisade::Error::Config(_) => Some("`palisade config init` writes a file with every key explained"),
        palisade::Error::Lake(palisade::lake::Error::NoLake { .. }) => {
            Some("give the folder with --lake, or make one with `palisade scan PATH --lake DIR`")
        }
        palisade::Error::Fenced { .. } => Some("run one instance per job, or give this one another `job` name"),
        _ => None,
    }
}
