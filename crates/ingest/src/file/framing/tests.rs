//! What a document goes on with, line by line.

use super::*;

/// The state after some lines, as the bytes that may come next; empty once the document has ended.
fn next_bytes(lines: &[&str]) -> String {
    let mut document = Document::new();
    let mut end = LineEnd::GoesOn;
    for line in lines {
        assert_eq!(end, LineEnd::GoesOn, "{line} comes after the end");
        end = document.line(line.as_bytes());
    }
    let bytes: String = " \t\r\n\"{}[]:,-0tfnx\u{7f}".chars().filter(|c| document.can_go_on_with(*c as u8)).collect();
    assert_eq!(bytes.is_empty(), end == LineEnd::Ends, "{lines:?}");
    bytes
}

#[test]
fn a_document_goes_on_with_what_can_stand_next() {
    let value = "\"{[-0tfn";
    for (lines, expected) in [
        (&["{"][..], "\"}"),
        (&["  [ "], "\"{[]-0tfn"),
        (&["\u{feff}{"], "\"}"),
        (&["{\"a\""], ":"),
        (&["{\"a\":"], value),
        (&["{\"a\": 1"], "},"),
        (&["{\"a\": 1,"], "\""),
        (&["[1"], "],"),
        (&["[1,"], value),
        (&["[-1.5e+3"], "],"),
        (&["[true, false, null"], "],"),
        (&["{\"a\":[{}"], "],"),
        (&["{\"a\":[{}]"], "},"),
        (&["{\"a\":{\"b\":[]}"], "},"),
        (&["{\"a \\\" b\""], ":"),
        (&["{\"a \\\\\""], ":"),
        (&["{", "\"a\"", ":", "{", "}", ","], "\""),
        (&["{", "", "   ", "\t\r"], "\"}"),
        // Complete.
        (&["{}"], ""),
        (&["[]  "], ""),
        (&["{", "\"a\":[{}]", "}"], ""),
        // Complete, and something else on the same line.
        (&["{},"], ""),
        (&["{} {"], ""),
        (&["[1, 2] text"], ""),
        // Broken.
        (&["{\"a"], ""),
        (&["{\"a\\"], ""),
        (&["{\"a\": \"b\\\""], ""),
        (&["{{"], ""),
        (&["{]"], ""),
        (&["[}"], ""),
        (&["[1}"], ""),
        (&["[,"], ""),
        (&["[1,]"], ""),
        (&["{\"a\":1,}"], ""),
        (&["{\"a\",}"], ""),
        (&["{a: 1"], ""),
        (&["[tru"], ""),
        (&["[truex"], ""),
        (&["[nullnull"], ""),
        (&["[1 2"], ""),
        (&["[INFO] started"], ""),
        (&["[2001-02-03 04:05:06] started"], ""),
        (&["{\"a\": \u{fc}"], ""),
        (&["\u{feff}\u{feff}{"], ""),
        (&["[", "\u{feff}"], ""),
        (&["text"], ""),
    ] {
        assert_eq!(next_bytes(lines), expected, "{lines:?}");
    }
}

#[test]
fn nesting_is_followed_to_its_bound() {
    for pattern in ["[", "{\"a\":", "[{\"a\":", "[[{\"a\":[[["] {
        let opening: String = pattern.chars().filter(|c| matches!(c, '{' | '[')).collect();
        let rounds = DEPTH_MAX / opening.len();
        let closing: String = opening.chars().rev().map(|c| if c == '{' { '}' } else { ']' }).collect();
        let inner = if pattern.ends_with(':') { "0" } else { "" };
        let deep = format!("{}{inner}", pattern.repeat(rounds));
        let mut document = Document::new();
        assert_eq!(document.line(deep.as_bytes()), LineEnd::GoesOn, "{pattern}");
        assert_eq!(document.line(closing.repeat(rounds).as_bytes()), LineEnd::Ends, "{pattern}");
        assert_eq!(document.depth, 0, "{pattern}");
    }
    assert_eq!(Document::new().line("[".repeat(DEPTH_MAX + 1).as_bytes()), LineEnd::Ends);
}

#[test]
fn lines_open_and_close_documents_by_their_outermost_bytes() {
    for (line, does_open, does_close) in [
        ("{}", true, true),
        (" \t[1]\r", true, true),
        ("\u{feff} {\"a\":", true, false),
        ("\"a\": {}", false, true),
        ("type=SYSCALL", false, false),
        ("", false, false),
        ("  ", false, false),
    ] {
        assert_eq!((opens(line.as_bytes()), closes(line.as_bytes())), (does_open, does_close), "{line:?}");
    }
}
