//! Each wrapping, and what is none.

use super::*;
use crate::json::Parser;

fn opened(text: &str) -> Option<(Vec<String>, Option<String>)> {
    let inner = Parser::default().parse(text, 64, |root| open(root, text)).unwrap()?;
    let inner = match inner {
        Opened::List(list) => list,
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
    for none in [r#"{"a":{"b":[1]}}"#, r#"{"message":"just words"}"#, r#"{"log":7}"#, "7", r#""{}""#] {
        assert_eq!(opened(none), None, "{none}");
    }
}

#[test]
fn headers_before_a_document_are_taken_off() {
    for (text, document) in [
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
