//! Results as JUnit XML, as CI systems read it: `testsuites`, `testsuite`, `testcase`, `failure`.

use std::fmt::Write;

/// Tests that belong together.
#[derive(Clone, Debug, Default)]
pub struct JunitSuite {
    /// What they test.
    pub name: String,
    /// Its tests.
    pub cases: Vec<JunitCase>,
}

/// One test.
#[derive(Clone, Debug, Default)]
pub struct JunitCase {
    /// What CI groups tests by.
    pub class: String,
    /// What it tests.
    pub name: String,
    /// The file that holds it; nothing if there is none.
    pub file: String,
    /// How long it took, in seconds.
    pub secs: f64,
    /// What failed: one line, and the whole.
    pub failures: Vec<(String, String)>,
    /// What is worth reading though nothing failed.
    pub notes: Vec<String>,
}

/// Writes the document.
pub fn junit(suites: &[JunitSuite]) -> String {
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites{}>", counts(all));
    for suite in suites {
        let _ = writeln!(out, "  <testsuite name=\"{}\"{}>", attribute(&suite.name), counts(|| suite.cases.iter()));
        for case in &suite.cases {
            put_case(case, &mut out);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts<'c, C: Iterator<Item = &'c JunitCase>>(cases: impl Fn() -> C) -> String {
    let failed = cases().filter(|case| !case.failures.is_empty()).count();
    // An empty sum is a negative zero.
    let secs = cases().map(|case| case.secs).sum::<f64>().abs();
    format!(" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\" time=\"{secs:.6}\"", cases().count())
}

fn put_case(case: &JunitCase, out: &mut String) {
    let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"", attribute(&case.class), attribute(&case.name));
    if !case.file.is_empty() {
        let _ = write!(out, " file=\"{}\"", attribute(&case.file));
    }
    let _ = write!(out, " time=\"{:.6}\"", case.secs);
    if case.failures.is_empty() && case.notes.is_empty() {
        out.push_str("/>\n");
        return;
    }
    out.push_str(">\n");
    for (message, whole) in &case.failures {
        let (message, whole) = (attribute(message), escaped(whole));
        let _ = writeln!(out, "      <failure type=\"failure\" message=\"{message}\">{whole}</failure>");
    }
    if !case.notes.is_empty() {
        let _ = writeln!(out, "      <system-out>{}</system-out>", escaped(&case.notes.join("\n")));
    }
    out.push_str("    </testcase>\n");
}

/// Text as it may stand in an attribute, where readers turn white space into blanks unless it is written as its number.
fn attribute(text: &str) -> String {
    escaped(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

/// Text as it may stand in content. What XML 1.0 cannot hold at all is spelled out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(c),
            // Readers turn a bare one into a line break.
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_text_stays_text() {
        for (text, expected) in [
            ("plain é", "plain é"),
            ("<a href=\"x\">&'", "&lt;a href=&quot;x&quot;&gt;&amp;&apos;"),
            ("]]>", "]]&gt;"),
            ("a\r", "a&#13;"),
            ("\u{0}\u{1b}[31m\u{ffff}", "\\u{0}\\u{1b}[31m\\u{ffff}"),
            ("\u{1f600}", "\u{1f600}"),
        ] {
            assert_eq!((escaped(text).as_str(), attribute(text).as_str()), (expected, expected), "{text:?}");
        }
        assert_eq!((escaped("a\nb\tc"), attribute("a\nb\tc")), ("a\nb\tc".into(), "a&#10;b&#9;c".into()));
    }

    #[test]
    fn the_document_counts_what_failed() {
        let case = |name: &str, failures: Vec<(String, String)>| JunitCase {
            class: "p".into(),
            name: name.into(),
            secs: 0.25,
            failures,
            ..JunitCase::default()
        };
        let failed = case("b", vec![("m".into(), "1 < 2".into()), ("n".into(), String::new())]);
        let noted = JunitCase { notes: vec!["x".into()], file: "f.yml".into(), ..case("c", Vec::new()) };
        let suites = [JunitSuite { name: "p & q".into(), cases: vec![case("a", Vec::new()), failed, noted] }];
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <testsuites tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0.750000\">\n\
            \u{20} <testsuite name=\"p &amp; q\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0.750000\">\n\
            \u{20}   <testcase classname=\"p\" name=\"a\" time=\"0.250000\"/>\n\
            \u{20}   <testcase classname=\"p\" name=\"b\" time=\"0.250000\">\n\
            \u{20}     <failure type=\"failure\" message=\"m\">1 &lt; 2</failure>\n\
            \u{20}     <failure type=\"failure\" message=\"n\"></failure>\n\
            \u{20}   </testcase>\n\
            \u{20}   <testcase classname=\"p\" name=\"c\" file=\"f.yml\" time=\"0.250000\">\n\
            \u{20}     <system-out>x</system-out>\n\
            \u{20}   </testcase>\n\
            \u{20} </testsuite>\n\
            </testsuites>\n";
        assert_eq!(junit(&suites), expected);
        assert!(junit(&[]).contains("tests=\"0\" failures=\"0\" errors=\"0\" skipped=\"0\" time=\"0.000000\""));
    }
}
