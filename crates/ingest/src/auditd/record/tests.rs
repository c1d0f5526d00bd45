//! Heads, stamps and values of single records, in every way they are written.

use super::*;

fn parse(text: &str) -> Record {
    Record::parse(text.to_owned(), Zone::default()).unwrap()
}

fn all(record: &Record) -> Vec<(String, Option<String>)> {
    record
        .fields()
        .map(|(key, value)| match value {
            Value::Null => (key.to_owned(), None),
            Value::Text(text) => (key.to_owned(), Some(text.into_owned())),
        })
        .collect()
}

#[test]
fn encoded_keys_are_sorted_for_the_search() {
    assert!(ENCODED.is_sorted());
}

#[test]
fn heads_are_found_in_every_wrapping() {
    for (text, kind, node, time, serial) in [
        ("type=CWD msg=audit(1481077231.371:479):  cwd=\"/\"", "CWD", "", 1_481_077_231_371_000, 479),
        ("node=web-1 type=EOE msg=audit(1481077231.371:479): ", "EOE", "web-1", 1_481_077_231_371_000, 479),
        (
            "type=DAEMON_CONFIG msg=audit(1490239800.477:34) config changed, auid=0",
            "DAEMON_CONFIG",
            "",
            1_490_239_800_477_000,
            34,
        ),
        ("<13>Apr 1 12:00:00 h audispd: node=n type=CWD msg=audit(1.5:4294967295):", "CWD", "n", 1_500_000, u32::MAX),
        (
            "Apr  1 12:00:00 h kernel: [ 1.0] audit: type=1400 audit(1524662933.080:1): apparmor=\"DENIED\"",
            "AVC",
            "",
            1_524_662_933_080_000,
            1,
        ),
        (
            "type=SYSCALL msg=audit(10/21/2025 09:41:58.467:163810995) : arch=x86_64",
            "SYSCALL",
            "",
            1_761_039_718_467_000,
            163_810_995,
        ),
        ("type=SYSCALL msg=audit(10/21/25 09:41:58.467:7) :", "SYSCALL", "", 1_761_039_718_467_000, 7),
    ] {
        let record = parse(text);
        assert_eq!(
            (record.kind.as_ref(), record.node(), record.time, record.serial),
            (kind, node, time, serial),
            "{text}"
        );
    }
    let east =
        Record::parse("type=CWD msg=audit(10/21/2025 09:41:58.467:1):".into(), "+02:00".parse().unwrap()).unwrap();
    assert_eq!(east.time, 1_761_039_718_467_000 - 7_200_000_000);
}

#[test]
fn what_is_no_record_is_told_apart() {
    for (text, why) in [
        ("", Unread::NoRecord),
        ("type=UNKNOWN[1329] msg=?", Unread::NoRecord),
        ("msg=audit(1.0:1): a=b", Unread::NoRecord),
        ("type= msg=audit(1.0:1): a=b", Unread::NoRecord),
        ("type=CWD msg=audit(1.0:1", Unread::BadStamp),
        ("type=CWD msg=audit(1.0): a=b", Unread::BadStamp),
        ("type=CWD msg=audit(1.0:4294967296): a=b", Unread::BadStamp),
        ("type=CWD msg=audit(-1.0:1): a=b", Unread::BadStamp),
        ("type=CWD msg=audit(999999999999.0:1): a=b", Unread::BadStamp),
        ("type=CWD msg=audit(1.:1): a=b", Unread::BadStamp),
        ("type=CWD msg=audit(13/40/2025 09:41:58.467:1): a=b", Unread::BadStamp),
    ] {
        assert_eq!(Record::parse(text.into(), Zone::default()).unwrap_err().0, why, "{text}");
    }
}

#[test]
fn values_are_decoded_as_their_keys_mean_them() {
    for (body, expected) in [
        ("comm=\"a b\" exe=2F746D702F6120622063", vec![("comm", Some("a b")), ("exe", Some("/tmp/a b c"))]),
        ("name=(null) addr=? tty=(none)", vec![("name", None), ("addr", Some("?")), ("tty", Some("(none)"))]),
        ("proctitle=617270002D6100", vec![("proctitle", Some("arp -a"))]),
        ("inode=123456 ses=1234", vec![("inode", Some("123456")), ("ses", Some("1234"))]),
        ("name=2f", vec![("name", Some("2f"))]),
        ("name=2F7", vec![("name", Some("2F7"))]),
        ("key=610162", vec![("key", Some("a\u{1}b"))]),
        (
            "key=(null)\u{1d}ARCH=x86_64 UID=\"root\"",
            vec![("key", None), ("ARCH", Some("x86_64")), ("UID", Some("root"))],
        ),
        (
            "pid=1 msg='op=login acct=28696E76616C6964207573657229 exe=\"/usr/sbin/sshd\" res=failed'\u{1d}UID=\"root\"",
            vec![
                ("pid", Some("1")),
                ("msg", Some("op=login acct=28696E76616C6964207573657229 exe=\"/usr/sbin/sshd\" res=failed")),
                ("op", Some("login")),
                ("acct", Some("(invalid user)")),
                ("exe", Some("/usr/sbin/sshd")),
                ("res", Some("failed")),
                ("UID", Some("root")),
            ],
        ),
        (
            "msg='PAM: session open acct=root : exe=\"/sbin/x\" (hostname=1.2.3.4, addr=1.2.3.4, terminal=ssh res=success)'",
            vec![
                (
                    "msg",
                    Some(
                        "PAM: session open acct=root : exe=\"/sbin/x\" (hostname=1.2.3.4, addr=1.2.3.4, terminal=ssh res=success)",
                    ),
                ),
                ("acct", Some("root")),
                ("exe", Some("/sbin/x")),
                ("hostname", Some("1.2.3.4")),
                ("addr", Some("1.2.3.4")),
                ("terminal", Some("ssh")),
                ("res", Some("success")),
            ],
        ),
        ("auditd start, ver=2.4.1 a=b, c=", vec![("ver", Some("2.4.1")), ("a", Some("b")), ("c", Some(""))]),
        (
            "SADDR={ saddr_fam=inet laddr=127.0.0.1 lport=53 }",
            vec![
                ("SADDR", Some("{")),
                ("saddr_fam", Some("inet")),
                ("laddr", Some("127.0.0.1")),
                ("lport", Some("53")),
            ],
        ),
        (
            "login uid=0 old auid=4294967295 new auid=0",
            vec![("uid", Some("0")), ("old auid", Some("4294967295")), ("new auid", Some("0"))],
        ),
        (
            "key=(null)ARCH=x86_64 a=\"b\"C=d",
            vec![("key", None), ("ARCH", Some("x86_64")), ("a", Some("b")), ("C", Some("d"))],
        ),
        ("name=\"unfinished", vec![("name", Some("\"unfinished"))]),
    ] {
        let record = parse(&format!("type=TEST msg=audit(1.0:1): {body}"));
        let seen = all(&record);
        let seen: Vec<_> = seen.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(seen, expected, "{body}");
    }
    let record = parse("type=EXECVE msg=audit(1.0:1): argc=3 a0=\"sh\" a1=2D63 a2[0]=61 a2[1]=62");
    let arguments: Vec<_> = record.arguments().map(|(n, b)| (n, String::from_utf8(b).unwrap())).collect();
    assert_eq!(arguments, [(0, "sh".into()), (1, "-c".into()), (2, "a".into()), (2, "b".into())]);
}

#[test]
fn what_is_encoded_reads_back() {
    for value in ["plain", "with space", "quote\"", "é", "tab\t", "<redacted:password>"] {
        let record = parse(&format!("type=EXECVE msg=audit(1.0:1): a0={}", encode(value)));
        assert_eq!(record.get("a0").as_deref(), Some(value));
    }
}
