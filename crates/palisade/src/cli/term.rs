//! Colours and errors on a terminal. Colour codes are stripped where the output is no terminal.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use palisade::{Error, Result, Severity};

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

/// A bar over so many seconds of simulated time, for people who watch; `more` is what the template ends with.
pub(crate) fn simulated_time(json: bool, secs: u64, more: &str) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(secs);
    let template = format!("{{bar:40.cyan}} {{percent}}% of the simulated time, {{msg}}{more}");
    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Text from events as it may go to a terminal: what would move the cursor, change colours or reorder the line is spelled
/// out. Command lines and user agents are written by attackers.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let acts = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if acts(c) { c.escape_default().to_string() } else { c.to_string() }).collect())
}

/// Writes to standard output. A reader that has seen enough, as `head`, is no error.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(Error::io("writing to standard output")),
    }
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
        palisade::Error::Fenced { .. } => {
            Some("another run of this job took over; what this one read is kept, run it again when the other is done")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_attackers_does_not_act_on_a_terminal() {
        assert_eq!(printable("plain é\ttext\n"), "plain é\ttext\n");
        assert_eq!(printable("a\u{1b}]52;c;x\u{7}b\u{202e}c\r"), "a\\u{1b}]52;c;x\\u{7}b\\u{202e}c\\r");
    }
}
