//! Each wrapping, and what is none.

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::json::Parser;

fn open_whole(text: &str, mut bytes_left: usize) -> Option<Opened> {
    Parser::default().parse(text, 64, |root| open(root, text, &mut bytes_left)).unwrap()
}

fn opened(text: &str) -> Option<(Vec<String>, Option<String>)> {
    let inner = match open_whole(text, INFLATED_BYTES_MAX)? {
        Opened::List(list) => list.members(text).collect(),
        Opened::One(one) => vec![one],
    };
    let cluster = inner.first().and_then(|inner| inner.cluster.as_deref().map(str::to_owned));
    Some((inner.iter().map(|inner| inner.text(text).to_owned()).collect(), cluster))
}

#[test]
fn wrappings_are_opened() {
    for (text, documents, cluster) in [
        (r#"[{"a":1}, {"b":2}]"#, &[r#"{"a":1}"#, r#"{"b":2}"#][..], None),
        (r#"{"kind":"EventList","items":[ {"a": [1, "]"]} , {"b":2}]}"#, &[r#"{"a": [1, "]"]}"#, r#"{"b":2}"#], None),
        (r#"{"Records":[{"eventID":"x"}]}"#, &[r#"{"eventID":"x"}"#], None),
        (r#"{"records":[]}"#, &[], None),
        (r#"["{\"a\":1}",7]"#, &[r#"{"a":1}"#, "7"], None),
        (r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"id":"","message":"checking {\"a\":1}"}]}"#, &[], None),
        // Firehose.
        (r#"{"data":"eyJhIjoxfQ=="}"#, &[r#"{"a":1}"#], None),
        // A shipper's own objects do not hide what it ships.
        (r#"{"log":{"file":"f"},"message":"{\"a\":1}"}"#, &[r#"{"a":1}"#], None),
        (r#"{"log":{"file":"f"},"event":{"original":"{\"a\":1}"}}"#, &[r#"{"a":1}"#], None),
        (
            r#"{"category":"kube-audit","resourceId":"/SUBSCRIPTIONS/1/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/SHOP","properties":{"log":"{\"a\":\"\\\"\"}\n","stream":"stdout"}}"#,
            &[r#"{"a":"\""}"#],
            Some("shop"),
        ),
        (r#"{"Properties":{"LOG":"{\"a\":1}"}}"#, &[r#"{"a":1}"#], None),
        (r#"{"properties":"{\"log\":\"{}\"}"}"#, &[r#"{"log":"{}"}"#], None),
        (r#"{"properties":{"pod":"p"},"message":{"a":1}}"#, &[r#"{"a":1}"#], None),
        (
            r#"{"messageType":"DATA_MESSAGE","logGroup":"/aws/eks/shop/cluster","logEvents":[{"id":"1","message":"{\"a\":1}"}]}"#,
            &[r#"{"id":"1","message":"{\"a\":1}"}"#],
            Some("shop"),
        ),
        (r#"{"log":"{\"a\":1}\n","stream":"stdout","cluster_name":"c"}"#, &[r#"{"a":1}"#], Some("c")),
        (r#"{"log":{"a":1}}"#, &[r#"{"a":1}"#], None),
        (r#"{"log":"cut","log_processed":{"a":1}}"#, &[r#"{"a":1}"#], None),
        (r#"{"MESSAGE":"{\"a\":1}","_HOSTNAME":"n"}"#, &[r#"{"a":1}"#], None),
        (r#"{"entries":[{"a":1}]}"#, &[r#"{"a":1}"#], None),
        (r#"{"jsonPayload":{"a":1},"resource":{"labels":{"cluster_name":"c"}}}"#, &[r#"{"a":1}"#], Some("c")),
        // Members of a list of one kind are told theirs.
        (
            r#"{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{}},{ },{"kind":"Node"},{"apiVersion":"v2","a":1},7]}"#,
            &[
                r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#,
                r#"{"kind":"Pod","apiVersion":"v1"}"#,
                r#"{"kind":"Node"}"#,
                r#"{"kind":"Pod","apiVersion":"v2","a":1}"#,
                "7",
            ],
            None,
        ),
        (r#"{"kind":"List","apiVersion":"v1","items":[{"a":1}]}"#, &[r#"{"a":1}"#], None),
        (r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{"a":1}]}"#, &[r#"{"a":1}"#], None),
        (
            r#"{"kind":"EventList","apiVersion":"v1","items":[{"a":1}]}"#,
            &[r#"{"kind":"Event","apiVersion":"v1","a":1}"#],
            None,
        ),
        (r#"{"message":"2024-05-05T10:00:00.1Z stdout F {\"a\":1}"}"#, &[r#"{"a":1}"#], None),
        (r#"{"detail-type":"AWS API Call via CloudTrail","detail":{"eventID":"x"}}"#, &[r#"{"eventID":"x"}"#], None),
    ] {
        let expected = (documents.iter().map(|d| (*d).to_owned()).collect(), cluster.map(str::to_owned));
        assert_eq!(opened(text), Some(expected), "{text}");
    }
    for none in [
        r#"{"a":{"b":[1]}}"#,
        r#"{"a":1,"b":2,"c":3,"d":4,"events":[]}"#,
        r#"{"message":"just words"}"#,
        r#"{"log":7}"#,
        "7",
        r#""{}""#,
    ] {
        assert_eq!(opened(none), None, "{none}");
    }
}

#[test]
fn members_are_not_told_more_than_a_kind() {
    let list = |kind: &str| format!(r#"{{"kind":"{kind}List","apiVersion":"v1","items":[{{"a":1}}]}}"#);
    for (kind, is_told) in [("K".repeat(KIND_BYTES_MAX), true), ("K".repeat(KIND_BYTES_MAX + 1), false)] {
        let (documents, _) = opened(&list(&kind)).unwrap();
        assert_eq!(documents[0].contains("kind"), is_told, "{} bytes", kind.len());
    }
}

#[test]
fn what_firehose_compresses_is_bounded() {
    let document = format!(r#"{{"messageType":"DATA_MESSAGE","filler":"{}","logEvents":[]}}"#, "x".repeat(10_000));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, document.as_bytes()).unwrap();
    let text = format!(r#"{{"recordId":"r","data":"{}"}}"#, STANDARD.encode(gzip.finish().unwrap()));
    let length = document.len();
    for (bytes_left, is_opened) in [(length, true), (length - 1, false), (0, false)] {
        let inside = match open_whole(&text, bytes_left) {
            Some(Opened::One(inner)) => Some(inner.text(&text).to_owned()),
            _ => None,
        };
        assert_eq!(inside.as_deref() == Some(document.as_str()), is_opened, "{bytes_left} bytes left");
    }
}

#[test]
fn headers_before_a_document_are_taken_off() {
    for (text, document) in [
        ("<165>1 2024-05-05T10:00:00Z node-1 app 7 - - \u{feff}{\"a\":1}", r#"{"a":1}"#),
        (r#"<13>Oct 11 22:14:15 node-1 falco[7]: {"a":1}"#, r#"{"a":1}"#),
        (r#"<165>1 2024-05-05T10:00:00Z node-1 app 7 - [x@1 k="v"] {"a":1}"#, r#"{"a":1}"#),
        (r#"Oct 11 22:14:15 node-1 app: @cee: {"a":1}"#, r#"{"a":1}"#),
        (r#"@cee:{"a":1}"#, r#"{"a":1}"#),
        (r#"2024-05-05T10:00:00.123456789Z stdout F {"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":"x: {"}"#, r#"{"a":"x: {"}"#),
        ("no document: here", "no document: here"),
        ("<13>Oct 11\n{}", "<13>Oct 11\n{}"),
        ("", ""),
    ] {
        assert_eq!(unprefixed(text), document, "{text}");
    }
}

#[test]
fn lines_are_found_in_what_carries_them() {
    let is_wanted = |text: &str| text.starts_with("type=");
    for (document, text, host, cluster) in [
        (r#"{"SyslogMessage":"type=A","Computer":"n1","message":"x"}"#, "type=A", Some("n1"), None),
        (r#"{"log":"type=A\n","hostname":"n1","cluster_name":"c"}"#, "type=A\n", Some("n1"), Some("c")),
        (r#"{"message":"type=A","host":{"name":"n1"}}"#, "type=A", Some("n1"), None),
        (r#"{"MESSAGE":"type=A","_HOSTNAME":"n1"}"#, "type=A", Some("n1"), None),
        (r#"[{"log":"{\"log\":\"type=A\"}","cluster_name":"c"}]"#, "type=A", None, Some("c")),
        (r#"{"records":[{"properties":{"log":"{\"msg\":\"type=A\"}"}}]}"#, "type=A", None, None),
    ] {
        let expected = Line { text: text.to_owned(), host: host.map(str::to_owned), cluster: cluster.map(Into::into) };
        assert_eq!(line(document, 64, is_wanted), Some(expected), "{document}");
    }
    // Two lines cannot both have the record's place.
    for none in [r#"[{"log":"type=A"},{"log":"type=B"}]"#, r#"{"log":"other"}"#, r#"{"a":"type=A"}"#, "{", "[]", ""] {
        assert_eq!(line(none, 64, is_wanted), None, "{none}");
    }
}
