//! Arguments apart from their program lose their secrets, wherever the two stand.

use super::*;
use crate::redact::{RedactionCounts, RedactionRules, Redactor};

fn json(input: &str) -> (String, u64) {
    let mut counts = RedactionCounts::default();
    let out = Redactor::default().json(input, 64, &mut counts);
    (out.unwrap_or_else(|| input.to_owned()), counts.total())
}

/// An argument list, its secrets replaced.
fn list(arguments: &[&str]) -> Vec<String> {
    let (out, _) = json(&serde_json::json!({ "a": arguments }).to_string());
    let out: serde_json::Value = serde_json::from_str(&out).unwrap();
    out["a"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

#[test]
fn lists_of_arguments_lose_the_secrets_that_their_program_takes() {
    for (arguments, expected) in [
        (&["mysql", "-u", "root", "-phunter 2", "db"][..], &["mysql", "-u", "root", "-p<redacted:password>", "db"][..]),
        (&["/usr/bin/mysqldump", "-px"], &["/usr/bin/mysqldump", "-p<redacted:password>"]),
        (&["sudo", "mariadb-admin", "-px", "status"], &["sudo", "mariadb-admin", "-p<redacted:password>", "status"]),
        (
            &["sshpass", "-p", "hunter 2", "ssh", "-p", "2222", "h"],
            &["sshpass", "-p", "<redacted:password>", "ssh", "-p", "2222", "h"],
        ),
        (&["sshpass", "-phunter2", "ssh", "-p22"], &["sshpass", "-p<redacted:password>", "ssh", "-p22"]),
        (&["sshpass", "-p", "--abc"], &["sshpass", "-p", "<redacted:password>"]),
        (&["curl", "-u", "bob:hunter 2", "http://h"], &["curl", "-u", "bob:<redacted:password>", "http://h"]),
        (&["CURL.EXE", "--user", "bob:x:y"], &["CURL.EXE", "--user", "bob:<redacted:password>"]),
        (
            &["curl", "--user=bob:x", "-sSu", "b:y"],
            &["curl", "--user=bob:<redacted:password>", "-sSu", "b:<redacted:password>"],
        ),
        (&["curl", "-ubob:x", "-U", "p:y"], &["curl", "-ubob:<redacted:password>", "-U", "p:<redacted:password>"]),
        (
            &["curl", "--proxy-user", "ghp_0123456789abcdefghij:x"],
            &["curl", "--proxy-user", "<redacted:github_token>:<redacted:password>"],
        ),
        (&["redis-cli", "-h", "h", "-a", "x y", "get"], &["redis-cli", "-h", "h", "-a", "<redacted:password>", "get"]),
        (&["redis-cli", "--pass", "x"], &["redis-cli", "--pass", "<redacted:password>"]),
        (&["tool", "--password=hunter 2", "--x"], &["tool", "--password=<redacted:password>", "--x"]),
        (&["sh", "-c", "redis-cli -a x ping"], &["sh", "-c", "redis-cli -a <redacted:password> ping"]),
    ] {
        assert_eq!(list(arguments), expected);
        assert_eq!(list(expected), expected, "redacting twice changes nothing");
    }
    for kept in [
        &["mysql", "-p", "db", "-P3306", "--port=1", "-u", "bob:x"][..],
        &["mysqld", "-port=3306"],
        &["mysqld_exporter", "-path=x"],
        &["docker", "run", "-p80:80", "mysql"],
        &["sshpass", "-e", "ssh", "-p", "2222", "h"],
        &["sshpass", "-f", "/run/x", "ssh", "-p22"],
        &["curl", "-u", "bob", "-o", "u:v", "-H", "a:b", "--url", "http://h:80/x"],
        &["curl", "-ou:v", "--user-agent", "a:b"],
        &["libcurl", "-u", "a:b"],
        &["redis-cli", "-p", "6379", "--askpass", "x", "get", "a"],
        &["ls", "-a", "x", "-px", "-u", "a:b"],
    ] {
        assert_eq!(list(kept), kept);
    }
}

#[test]
fn arguments_beside_their_program_lose_their_secrets() {
    for (input, expected) in [
        // Tetragon.
        (
            r#"{"process":{"binary":"/usr/bin/mysql","arguments":"-u root -phunter2 db"}}"#,
            r#"{"process":{"binary":"/usr/bin/mysql","arguments":"-u root -p<redacted:password> db"}}"#,
        ),
        (
            r#"{"process":{"binary":"/usr/bin/sshpass","arguments":"-p \"hunter 2\" ssh -p 22 h"}}"#,
            r#"{"process":{"binary":"/usr/bin/sshpass","arguments":"-p \"<redacted:password>\" ssh -p 22 h"}}"#,
        ),
        (
            r#"{"parent":{"arguments":"-s --user 'bob:hunter 2' don't -d","binary":"/usr/bin/curl"}}"#,
            r#"{"parent":{"arguments":"-s --user 'bob:<redacted:password>' don't -d","binary":"/usr/bin/curl"}}"#,
        ),
        // Falco.
        (
            r#"{"output_fields":{"proc.args":"-a hunter2 ping","proc.name":"redis-cli","fd.name":"curl"}}"#,
            r#"{"output_fields":{"proc.args":"-a <redacted:password> ping","proc.name":"redis-cli","fd.name":"curl"}}"#,
        ),
        (
            r#"{"proc.args":"-u bob:x h","proc.exepath":"/usr/bin/curl"}"#,
            r#"{"proc.args":"-u bob:<redacted:password> h","proc.exepath":"/usr/bin/curl"}"#,
        ),
        // The Elastic Common Schema, nested and flat.
        (
            r#"{"process":{"args":["-u","bob:x"],"name":"curl"}}"#,
            r#"{"process":{"args":["-u","bob:<redacted:password>"],"name":"curl"}}"#,
        ),
        (
            r#"{"process.args":["./x","-px"],"process.executable":"/opt/mysqldump"}"#,
            r#"{"process.args":["./x","-p<redacted:password>"],"process.executable":"/opt/mysqldump"}"#,
        ),
        // Tracee.
        (
            r#"{"args":[{"name":"argv","value":["mysql","-px"]},{"name":"argv","value":"[\"curl\",\"-u\",\"b:x\"]"}]}"#,
            r#"{"args":[{"name":"argv","value":["mysql","-p<redacted:password>"]},{"name":"argv","value":"[\"curl\",\"-u\",\"b:<redacted:password>\"]"}]}"#,
        ),
        // Containers: in one list, split over two, and by the image's own program.
        (
            r#"{"containers":[{"name":"a","command":["mysql"],"args":["-px"]},{"args":["-p","x"],"command":["/bin/sshpass"]}]}"#,
            r#"{"containers":[{"name":"a","command":["mysql"],"args":["-p<redacted:password>"]},{"args":["-p","<redacted:password>"],"command":["/bin/sshpass"]}]}"#,
        ),
        (
            r#"{"command":["redis-cli","-a","x"],"args":["-a","y"]}"#,
            r#"{"command":["redis-cli","-a","<redacted:password>"],"args":["-a","<redacted:password>"]}"#,
        ),
        (
            r#"{"args":["-u","a:x"],"image":"h:5000/curlimages/curl:8@sha256:ab"}"#,
            r#"{"args":["-u","a:<redacted:password>"],"image":"h:5000/curlimages/curl:8@sha256:ab"}"#,
        ),
        (
            r#"{"Entrypoint":["curl"],"Cmd":["-u","a:x"],"Env":["DB_PWD=y"]}"#,
            r#"{"Entrypoint":["curl"],"Cmd":["-u","a:<redacted:password>"],"Env":["DB_PWD=<redacted:password>"]}"#,
        ),
        // Under a name that tells a secret itself.
        (
            r#"{"api.key":["mysql","-px"],"binary":"curl","arguments":"-uaghp_0123456789abcdefghij' -v"}"#,
            r#"{"api.key":["<redacted:api_key>","<redacted:api_key>"],"binary":"curl","arguments":"-ua<redacted:github_token>' -v"}"#,
        ),
        // A list inside a text.
        (
            r#"{"name":"curl","args":"[\"-u\",\"a:x\"]"}"#,
            r#"{"name":"curl","args":"[\"-u\",\"a:<redacted:password>\"]"}"#,
        ),
    ] {
        assert_ne!(json(input).1, 0, "{input}");
        assert_eq!(json(input).0, expected);
        assert_eq!(json(expected), (expected.to_owned(), 0), "redacting twice changes nothing");
    }
    for kept in [
        r#"{"binary":"/bin/ls","arguments":"-px -u a:b -a x"}"#,
        r#"{"output_fields":{"proc.args":"-px -a y","fd.name":"mysql","k8s.pod.name":"redis-cli"}}"#,
        r#"{"process":{"name":"mysql","parent":{"args":["sh","-px"]}}}"#,
        r#"{"command":"docker run -p80:80 mysql","cmd":"docker run -p80:80 mysql"}"#,
        r#"{"containers":[{"image":"mysql:8","args":["--port=1","-p","3306"]},{"name":"x","args":["-px"]}]}"#,
        r#"{"image":"curl-tools:1","args":["-u","a:b"]}"#,
        r#"{"binary":"/usr/bin/curl","arguments":"-o u:v -H x:y http://h:80 don't -u bob"}"#,
    ] {
        assert_eq!(json(kept), (kept.to_owned(), 0));
    }
}

#[test]
fn commands_of_an_exec_request_are_one_command_line() {
    for (input, expected) in [
        ("command=curl&command=-u&command=admin:x", "command=curl&command=-u&command=admin%3A<redacted:password>"),
        (
            "command=curl&command=-u&command=admin%3Ax&y=z",
            "command=curl&command=-u&command=admin%3A<redacted:password>&y=z",
        ),
        ("command=curl&command=--user&command=a%3Ax", "command=curl&command=--user&command=a%3A<redacted:password>"),
        ("command=curl&command=--user%3Da%3Ax", "command=curl&command=--user%3Da%3A<redacted:password>"),
        (
            "command=%2Fbin%2Fmysql&command=-px&container=c",
            "command=%2Fbin%2Fmysql&command=-p<redacted:password>&container=c",
        ),
        ("command=sshpass&command=-p&command=x+y", "command=sshpass&command=-p&command=<redacted:password>"),
        ("command=redis-cli&command=-a&command=x", "command=redis-cli&command=-a&command=<redacted:password>"),
        ("command=ls&command=-a&command=x", "command=ls&command=-a&command=x"),
        ("command=mysql&command=-p&command=db", "command=mysql&command=-p&command=db"),
        ("command=curl&command=-u&command=bob&command=h", "command=curl&command=-u&command=bob&command=h"),
    ] {
        let document = |query: &str| serde_json::json!({"requestURI": format!("/api/v1/exec?{query}")}).to_string();
        let (shown, count) = json(&document(input));
        assert_eq!(shown, document(expected));
        assert_eq!(count > 0, input != expected, "{input}");
        assert_eq!(json(&shown).1, 0, "redacting twice changes nothing");
        let escaped = document(input).replace('&', "\\u0026");
        assert_eq!(json(&escaped).1, count, "as Go's writers have it");
    }
}

#[test]
fn command_lines_in_texts_lose_the_same_secrets() {
    for (input, expected) in [
        ("mysql -u root -p'hunter 2' db", "mysql -u root -p'<redacted:password>' db"),
        ("mysql -p\"hunter 2\" db", "mysql -p\"<redacted:password>\" db"),
        ("['mysql', '-p', 'db']", "['mysql', '-p', 'db']"),
        ("sshpass -p 'hunter 2' ssh", "sshpass -p '<redacted:password>' ssh"),
        ("['sshpass', '-p', 'hunter 2']", "['sshpass', '-p', '<redacted:password>']"),
        ("sshpass -phunter2 ssh", "sshpass -p<redacted:password> ssh"),
        ("redis-cli -h x -a hunter2 ping", "redis-cli -h x -a <redacted:password> ping"),
        ("redis-cli --pass \"hunter 2\" ping", "redis-cli --pass \"<redacted:password>\" ping"),
        ("run [\"redis-cli\",\"-a\",\"x y\"]", "run [\"redis-cli\",\"-a\",\"<redacted:password>\"]"),
        ("redis-cli -p 6379 --askpass", "redis-cli -p 6379 --askpass"),
        ("curl -u \"bob:hunter 2\" x", "curl -u \"bob:<redacted:password>\" x"),
        ("curl -U bob:hunter2 x", "curl -U bob:<redacted:password> x"),
        ("run ['curl', '-u', 'bob:x y']", "run ['curl', '-u', 'bob:<redacted:password>']"),
        (
            "curl -u ghp_0123456789abcdefghijABCDEFGHIJ012345:basic x",
            "curl -u <redacted:github_token>:<redacted:password> x",
        ),
        ("curl -u ghp_0123456789abcdefghijABCDEFGHIJ012345 x", "curl -u <redacted:github_token> x"),
        ("curl -u bob http://h:80/x", "curl -u bob http://h:80/x"),
        ("a0=\"curl\" a1=\"-u\" a2=\"bob:x\"", "a0=\"curl\" a1=\"-u\" a2=\"bob:<redacted:password>\""),
    ] {
        let text = |text: &str| Redactor::default().text(text, &mut RedactionCounts::default()).into_owned();
        assert_eq!(text(input), expected);
        assert_eq!(text(expected), expected, "redacting twice changes nothing");
        let (document, count) = json(&serde_json::json!({ "a": input }).to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap()["a"], expected);
        assert_eq!(count > 0, input != expected, "the scan suspects it");
    }
}

#[test]
fn what_is_kept_or_switched_off_stays_in_arguments() {
    let rules = RedactionRules::parse("[[keep]]\nregex = 'changeme'").unwrap();
    let off = RedactionRules::parse("[builtin]\noff = [\"password\"]").unwrap();
    for (rules, input) in [
        (&rules, r#"{"a":["mysql","-pchangeme","--password","changeme"]}"#),
        (&rules, r#"{"binary":"curl","arguments":"-u bob:changeme"}"#),
        (&rules, r#"{"requestURI":"/x?command=curl&command=-u&command=b:changeme"}"#),
        (&off, r#"{"a":["mysql","-px","--password=x"],"u":"/x?command=curl&command=-u&command=b:x"}"#),
        (&off, r#"{"binary":"curl","arguments":"-u bob:x"}"#),
    ] {
        let mut counts = RedactionCounts::default();
        assert_eq!(Redactor::with_rules(rules.clone()).json(input, 64, &mut counts), None);
        assert_eq!(counts.total(), 0);
    }
}

#[test]
fn words_are_parted_as_shells_part_them() {
    for (text, expected) in [
        ("a  b\tc ", &["a", "b", "c"][..]),
        ("\"a b\" 'c d' e", &["a b", "c d", "e"]),
        ("--x=\"a b\" -p'c d'", &["--x=\"a b\"", "-p'c d'"]),
        ("don't -u isn't", &["don't", "-u", "isn't"]),
        ("'open -u x", &["'open", "-u", "x"]),
        ("\"a\\\" b\" c", &["a\\\" b", "c"]),
        ("é \u{a0}ü", &["é", "ü"]),
        ("\"\" ''", &["", ""]),
        ("", &[]),
    ] {
        let parted: Vec<&str> = words(text).map(|word| &text[word]).collect();
        assert_eq!(parted, expected, "{text}");
    }
}

#[test]
fn arguments_take_time_linear_in_their_number() {
    // Once for each pair of them, this would take minutes.
    for unit in ["mysql -p ", "curl -u ", "\"a' ", "redis-cli -a --", "-u 'x "] {
        let text = serde_json::json!({"binary": "curl", "arguments": unit.repeat(100_000)}).to_string();
        Redactor::default().json(&text, 64, &mut RedactionCounts::default());
    }
    let names = r#""name":"curl","x.name":"mysql","#.repeat(50_000);
    let args = r#""args":["-u","a:x"],"#.repeat(50_000);
    let (_, count) = json(&format!(r#"{{{names}{args}"end":1}}"#));
    assert_eq!(count, 50_000);
}
