//! Secrets of every kind leave their marker and nothing of themselves.

use super::*;

fn text(input: &str) -> String {
    Redactor::default().text(input, &mut RedactionCounts::default()).into_owned()
}

fn json(input: &str) -> (String, u64) {
    let mut counts = RedactionCounts::default();
    let out = Redactor::default().json(input, 64, &mut counts);
    (out.unwrap_or_else(|| input.to_owned()), counts.total())
}

#[test]
fn secrets_in_texts_leave_their_marker() {
    for (input, expected) in [
        ("id AKIAIOSFODNN7EXAMPLE.", "id <redacted:aws_access_key>."),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = <redacted:aws_secret_key>",
        ),
        (
            "git clone https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.com/x",
            "git clone https://<redacted:github_token>@github.com/x",
        ),
        ("x github_pat_11ABCDEFG0abcdefghijkl_mnop y", "x <redacted:github_token> y"),
        ("tok eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end", "tok <redacted:jwt> end"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "<redacted:private_key>\nrest"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "<redacted:private_key>"),
        ("hook xoxb-1234567890-abcdefgh", "hook <redacted:slack_token>"),
        (
            "curl -H 'Authorization: Bearer abc.def-1234' http://x",
            "curl -H 'Authorization: Bearer <redacted:authorization>' http://x",
        ),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic <redacted:authorization>"),
        ("psql postgres://bob:s3cr@t@db:5432/x", "psql postgres://bob:<redacted:url_password>@db:5432/x"),
        ("mysql -u root -phunter2 -h db", "mysql -u root -p<redacted:password> -h db"),
        ("mysqldump --password=hunter2 db", "mysqldump --password=<redacted:password> db"),
        ("tool --password hunter2 --host x", "tool --password <redacted:password> --host x"),
        ("tool --password --host x", "tool --password --host x"),
        ("PGPASSWORD='hunter 2' psql", "PGPASSWORD='<redacted:password>' psql"),
        ("{\"password\":\"hunter 2\",\"x\":1}", "{\"password\":\"<redacted:password>\",\"x\":1}"),
        ("sshpass -p hunter2 ssh x", "sshpass -p <redacted:password> ssh x"),
        ("curl -s -u bob:hunter2 http://x", "curl -s -u bob:<redacted:password> http://x"),
        ("GET /x?token=hunter2&y=1", "GET /x?token=<redacted:token>&y=1"),
        ("kubeadm join --token abcdef.0123456789abcdef x", "kubeadm join --token <redacted:token> x"),
        (
            "/exec?command=tool&command=--password&command=hunter2&x=1",
            "/exec?command=tool&command=--password&command=<redacted:password>&x=1",
        ),
        ("api_key: hunter2", "api_key: <redacted:api_key>"),
        ("java -Dapi.key=hunter2 -jar x", "java -Dapi.key=<redacted:api_key> -jar x"),
        ("client.secret: hunter2", "client.secret: <redacted:api_key>"),
        ("pay with sk_live_51Habcdefghijklmnop.", "pay with <redacted:api_key>."),
        ("rk_live_abcdefghijklmnopq", "<redacted:api_key>"),
        ("DB_PWD=hunter2 app", "DB_PWD=<redacted:password> app"),
        (
            "echo '{\"auths\":{\"r.example\":{\"auth\":\"Ym9iOng=\",\"email\":\"e\"}}}' > config.json",
            "echo '{\"auths\":{\"r.example\":{\"auth\":\"<redacted:authorization>\",\"email\":\"e\"}}}' > config.json",
        ),
        // Words that only look like secrets.
        ("authorization.k8s.io/decision=allow", "authorization.k8s.io/decision=allow"),
        ("docker-pullable://nginx@sha256:abc", "docker-pullable://nginx@sha256:abc"),
        ("http://10.0.0.1:8080/x?mail=a@b", "http://10.0.0.1:8080/x?mail=a@b"),
        ("/serviceaccounts/web/token", "/serviceaccounts/web/token"),
        ("Failed password for root from 1.2.3.4", "Failed password for root from 1.2.3.4"),
        ("kubectl create token web", "kubectl create token web"),
        ("Asia/Tokyo AKIA eyJ bearer of news", "Asia/Tokyo AKIA eyJ bearer of news"),
        ("passwd --stdin-x; cat /etc/passwd", "passwd --stdin-x; cat /etc/passwd"),
        ("PWD=/x OLDPWD=/y api.keys=z", "PWD=/x OLDPWD=/y api.keys=z"),
        ("sk_live_mode desk_live_0123456 sk_live_streaming", "sk_live_mode desk_live_0123456 sk_live_streaming"),
        ("{\"auth\":\"basic\"} oauths", "{\"auth\":\"basic\"} oauths"),
    ] {
        let shown = text(input);
        assert_eq!(shown, expected);
        assert_eq!(text(&shown), shown, "redacting twice changes nothing");
        // The scan suspects every text in which an expression finds something, also inside JSON.
        let document = serde_json::json!({"proc.cmdline": input}).to_string();
        let (document, count) = json(&document);
        assert_eq!(count > 0, input != expected, "{input}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap()["proc.cmdline"], expected);
    }
}

#[test]
fn places_give_secrets_away() {
    let secret = "<redacted:k8s_secret>";
    for (input, expected, count) in [
        (r#"{"objectRef":{"resource":"secrets"},"requestObject":{"data":{"a":"eA==","b":null},"kind":"Secret"}}"#,
         format!(r#"{{"objectRef":{{"resource":"secrets"}},"requestObject":{{"data":{{"a":"{secret}","b":null}},"kind":"Secret"}}}}"#), 1),
        (r#"{"objectRef":{"resource":"secrets"},"requestObject":[{"op":"replace","path":"/data/a","value":"eA=="},{"op":"add","path":"/metadata/labels/x","value":"y"}]}"#,
         format!(r#"{{"objectRef":{{"resource":"secrets"}},"requestObject":[{{"op":"replace","path":"/data/a","value":"{secret}"}},{{"op":"add","path":"/metadata/labels/x","value":"y"}}]}}"#), 1),
        (r#"{"responseObject":{"kind":"SecretList","items":[{"stringData":{"a":"x"}}]}}"#,
         format!(r#"{{"responseObject":{{"kind":"SecretList","items":[{{"stringData":{{"a":"{secret}"}}}}]}}}}"#), 1),
        (r#"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"kind\":\"Secret\",\"data\":{\"a\":\"eA==\"}}\n"}}}"#,
         r#"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"kind\":\"Secret\",\"data\":{\"a\":\"<redacted:k8s_secret>\"}}"}}}"#.into(), 1),
        (r#"{"kind":"ConfigMap","data":{"db_password":"x","url":"http://x"}}"#,
         r#"{"kind":"ConfigMap","data":{"db_password":"<redacted:password>","url":"http://x"}}"#.into(), 1),
        (r#"{"kind":"TokenRequest","status":{"token":"opaque"}}"#,
         r#"{"kind":"TokenRequest","status":{"token":"<redacted:token>"}}"#.into(), 1),
        (r#"{"env":[{"name":"API_TOKEN","value":"x"},{"name":"TTL","value":"5"},{"name":"SESSION_SECRET","value":"y"}]}"#,
         r#"{"env":[{"name":"API_TOKEN","value":"<redacted:token>"},{"name":"TTL","value":"5"},{"name":"SESSION_SECRET","value":"<redacted:api_key>"}]}"#.into(), 2),
        (r#"{"args":["--password","x","--name","y"]}"#, r#"{"args":["--password","<redacted:password>","--name","y"]}"#.into(), 1),
        (r#"{"a":"\u0041KIAIOSFODNN7EXAMPLE"}"#, r#"{"a":"<redacted:aws_access_key>"}"#.into(), 1),
        (r#"{"a":"https:\/\/u:p@h","n":18446744073709551615,"m":-9007199254740993,"f":1.5}"#,
         r#"{"a":"https://u:<redacted:url_password>@h","n":18446744073709551615,"m":-9007199254740993,"f":1.5}"#.into(), 1),
        (r#"{"secretAccessKey":"x","b":{"name":"secret","value":"y"},"secret_access_key":"z"}"#,
         r#"{"secretAccessKey":"<redacted:aws_secret_key>","b":{"name":"secret","value":"<redacted:api_key>"},"secret_access_key":"<redacted:aws_secret_key>"}"#.into(), 3),
        (r#"{"auths":{"r.example":{"auth":"Ym9iOng=","email":"e"},"s":{"auth":"x","identitytoken":"y"}},"auth":"basic"}"#,
         r#"{"auths":{"r.example":{"auth":"<redacted:authorization>","email":"e"},"s":{"auth":"<redacted:authorization>","identitytoken":"<redacted:token>"}},"auth":"basic"}"#.into(), 3),
        (r#"{"kind":"ConfigMap","data":{".dockerconfigjson":"{\"auths\":{\"r\":{\"auth\":\"x\"}}}","DB_PWD":"x","PWD":"/y"}}"#,
         r#"{"kind":"ConfigMap","data":{".dockerconfigjson":"{\"auths\":{\"r\":{\"auth\":\"<redacted:authorization>\"}}}","DB_PWD":"<redacted:password>","PWD":"/y"}}"#.into(), 2),
        (r#"{"env":[{"name":"DB_PWD","value":"x"},{"name":"OLDPWD","value":"/y"}],"api.key":"z"}"#,
         r#"{"env":[{"name":"DB_PWD","value":"<redacted:password>"},{"name":"OLDPWD","value":"/y"}],"api.key":"<redacted:api_key>"}"#.into(), 2),
        (r#"{"auths":[{"auth":"a"}],"x":{"auth":"b"},"auths2":{"r":{"auth":"c"}}}"#,
         r#"{"auths":[{"auth":"a"}],"x":{"auth":"b"},"auths2":{"r":{"auth":"c"}}}"#.into(), 0),
        // Nothing secret here.
        (r#"{"objectRef":{"resource":"secrets","name":"s"},"verb":"get"}"#, r#"{"objectRef":{"resource":"secrets","name":"s"},"verb":"get"}"#.into(), 0),
        (r#"{"kind":"ConfigMap","data":{"a":"x"},"spec":{"secretName":"s"}}"#, r#"{"kind":"ConfigMap","data":{"a":"x"},"spec":{"secretName":"s"}}"#.into(), 0),
        (r#"{"spec":{"automountServiceAccountToken":false,"token":""}}"#, r#"{"spec":{"automountServiceAccountToken":false,"token":""}}"#.into(), 0),
    ] {
        assert_eq!(json(input), (expected.clone(), count), "{input}");
        assert_eq!(json(&expected), (expected, 0), "redacting twice changes nothing");
    }
}

#[test]
fn names_give_texts_numbers_and_lists_away_but_no_objects() {
    for (input, expected, count) in [
        // Headers, as pairs, as keys, as keys of lists, and inside strings.
        (
            r#"{"headers":[{"key":"Authorization","value":"Basic cGxhbnRlZA=="},{"key":"X-Vault-Token","value":"s1"},{"key":"Accept","value":"*/*"}]}"#,
            r#"{"headers":[{"key":"Authorization","value":"<redacted:authorization>"},{"key":"X-Vault-Token","value":"<redacted:token>"},{"key":"Accept","value":"*/*"}]}"#,
            2,
        ),
        (
            r#"{"headers":{"Authorization":["Basic cGxhbnRlZA=="],"Accept":["*/*"],"X-Api-Key":["a","b"]}}"#,
            r#"{"headers":{"Authorization":["<redacted:authorization>"],"Accept":["*/*"],"X-Api-Key":["<redacted:api_key>","<redacted:api_key>"]}}"#,
            3,
        ),
        (r#"{"Cookie":["sid=1"]}"#, r#"{"Cookie":["<redacted:token>"]}"#, 1),
        (r#"{"set-cookie":"sid=1"}"#, r#"{"set-cookie":"<redacted:token>"}"#, 1),
        (r#"{"key":"Cookie","value":["sid=1"]}"#, r#"{"key":"Cookie","value":["<redacted:token>"]}"#, 1),
        (r#"{"x-auth-token":["t"]}"#, r#"{"x-auth-token":["<redacted:token>"]}"#, 1),
        (r#"{"proxy-authorization":["t"]}"#, r#"{"proxy-authorization":["<redacted:authorization>"]}"#, 1),
        (
            r#"{"args":"{\"headers\":{\"Cookie\":[\"sid=1\"]}}"}"#,
            r#"{"args":"{\"headers\":{\"Cookie\":[\"<redacted:token>\"]}}"}"#,
            1,
        ),
        (r#"{"a":"got {\"cookie\": [\"sid=1\"]}"}"#, r#"{"a":"got {\"cookie\": [\"<redacted:token>\"]}"}"#, 1),
        // Numbers, and what is neither text nor number.
        (
            r#"{"password":12345,"db_password":[1.5,null,true,["x",{"a":"y","b":2}]]}"#,
            r#"{"password":"<redacted:password>","db_password":["<redacted:password>",null,true,["<redacted:password>",{"a":"y","b":2}]]}"#,
            3,
        ),
        (r#"{"name":"DB_PASSWORD","value":7}"#, r#"{"name":"DB_PASSWORD","value":"<redacted:password>"}"#, 1),
        (r#"{"token":["x"],"n":1}"#, r#"{"token":["<redacted:token>"],"n":1}"#, 1),
        // Nothing secret here.
        (
            r#"{"password":null,"passwords":{"count":3},"token":12,"cookie":77,"continueToken":"c","pageToken":["p"]}"#,
            r#"{"password":null,"passwords":{"count":3},"token":12,"cookie":77,"continueToken":"c","pageToken":["p"]}"#,
            0,
        ),
        (
            r#"{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","principalId":"p","k":{"api_key":3,"api_version":1,"correlation_id":2}}"#,
            r#"{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","principalId":"p","k":{"api_key":3,"api_version":1,"correlation_id":2}}"#,
            0,
        ),
    ] {
        assert_eq!(json(input), (expected.to_owned(), count), "{input}");
        assert_eq!(json(expected), (expected.to_owned(), 0), "redacting twice changes nothing");
    }
}

#[test]
fn keys_that_stand_there_many_times_cost_no_more_each() {
    // What each of them asks of the object is looked up once: as often as there are keys, this would take minutes.
    let name = "x".repeat(200_000);
    for (pair, more) in [
        (r#""accessKeyId":"a","#, r#""n":"password""#.to_owned()),
        (r#""api_key":"a","#, r#""correlation_id":1,"n":"password""#.to_owned()),
        (r#""value":"a","#, format!(r#""name":"{name}","n":"password""#)),
    ] {
        let text = format!("{{{}{more}}}", pair.repeat(100_000));
        let mut counts = RedactionCounts::default();
        let out = Redactor::default().json(&text, 64, &mut counts);
        let expected = if pair.contains("api_key") { 100_000 } else { 0 };
        assert_eq!((counts.total(), out.is_some()), (expected, expected > 0));
    }
}

#[test]
fn secrets_in_percent_encoded_queries_leave_their_marker() {
    for (input, expected) in [
        ("command=--password%3Dhunter2&x=1", "command=--password%3D<redacted:password>&x=1"),
        (
            "command=sh&command=-c&command=mysql+-phunter2+db",
            "command=sh&command=-c&command=mysql+-p<redacted:password>+db",
        ),
        ("command=mysql%20-phunter2", "command=mysql+-p<redacted:password>"),
        (
            "command=-H&command=Authorization%3A+Bearer+abc1",
            "command=-H&command=Authorization%3A+Bearer+<redacted:authorization>",
        ),
        ("command=bearer+abc1", "command=bearer+<redacted:authorization>"),
        ("command=postgres%3A%2F%2Fbob%3As3cr%40db", "command=postgres%3A%2F%2Fbob%3A<redacted:url_password>%40db"),
        ("command=curl+-u+bob%3Ahunter2+x", "command=curl+-u+bob%3A<redacted:password>+x"),
        ("command=--token%3Dabc", "command=--token%3D<redacted:token>"),
        (
            "command=tool&command=--password&command=hunter+2",
            "command=tool&command=--password&command=<redacted:password>",
        ),
        ("command=tool&command=--password&command=--host", "command=tool&command=--password&command=--host"),
        ("fieldSelector=metadata.name%3Dweb&token", "fieldSelector=metadata.name%3Dweb&token"),
    ] {
        let document = |query: &str| serde_json::json!({"requestURI": format!("/exec?{query}")}).to_string();
        let (shown, count) = json(&document(input));
        assert_eq!(shown, document(expected));
        assert_eq!(count > 0, input != expected);
        assert_eq!(json(&shown).1, 0, "redacting twice changes nothing");
    }
}

#[test]
fn remains_of_unreadable_input_hold_no_secret() {
    let redactor = Redactor::default();
    for input in [
        r#"{"objectRef":{"resource":"secrets"},"requestObject":{"data":{"a":"PLANTED","#,
        r#"{"requestObject":{"stringData":{"a":"PLANTED","kind":"Sec"#,
        r#"{"log":"{\"kind\":\"Secret\",\"data\":{\"a\":\"PLANTED\""#,
        r#"{"log":"{\"kind\":\"Secret\",\"data\":{\"a\":\"PLANTED\"}}"}"#,
        r#"{"cmd":"--password PLANTED"#,
        r#"["--password","PLANTED",,]"#,
        r#"{"env":[{"name":"DB_SECRET","value":"PLANTED"}"#,
        r#"{"a":"passw\u006frd=PLANTED"#,
        r#"{"user":{"password":"PLANTED"},"cut":"#,
        r#"{"headers":{"Authorization":["Basic PLANTED"#,
        r#"{"headers":[{"key":"Authorization","value":"Basic PLANTED"#,
        r#"{"headers":{"Set-Cookie":["sid=PLANTED; Path"#,
        r#"{"password":[ "PLANTED"#,
        r#"{"token": ["PLANTED"#,
        r#"{"op":"add","path":"/data/x","value":"PLANTED"},{"#,
        "type=EXECVE a0=mysql a1=--password=PLANTED",
        r#"{"kind":"Secret","data":{"a":"PLANTED"}}"#,
        "{\"log\":\"kind: Secret\\ndata:\\n  a: PLANTED\\n\",,}",
        "kind: Secret\nstringData:\n  a: PLANTED\n",
    ] {
        let mut counts = RedactionCounts::default();
        let kept = redactor.remains(input.as_bytes(), 4096, 64, &mut counts);
        assert!(!kept.contains("PLANTED"), "{kept}");
        assert!(counts.total() > 0, "{input}");
    }
    // A secret across the cut, and bytes that are no text.
    let long = format!("{} password=PLANTED{}", "x".repeat(40), "é".repeat(40));
    for cut in 40..80 {
        let kept = redactor.remains(long.as_bytes(), cut, 64, &mut RedactionCounts::default());
        assert!(kept.len() <= cut && !kept.contains("PLA"), "{kept}");
    }
    assert_eq!(redactor.remains(b"a\xffb", 64, 64, &mut RedactionCounts::default()), "a\u{fffd}b");
    assert_eq!(Redactor::off().remains(b"password=x", 64, 64, &mut RedactionCounts::default()), "password=x");
}

#[test]
fn counts_are_by_kind() {
    let mut counts = RedactionCounts::default();
    Redactor::default().text("password=a token=b password=c", &mut counts);
    assert_eq!(counts.by_kind().collect::<Vec<_>>(), [("password", 2), ("token", 1)]);
    let mut sum = counts.clone();
    sum.add(&counts);
    assert_eq!((sum.total(), sum.by_kind().last()), (6, Some(("token", 2))));
    for kind in SecretKind::ALL {
        assert_eq!(SecretKind::named(kind.name()), Some(kind));
        assert!(kind::is_marker(&marker(kind.name())));
    }
    let bits: u16 = SecretKind::ALL.iter().map(|kind| kind.bit()).sum();
    assert_eq!(bits.count_ones() as usize, SecretKind::ALL.len(), "each kind has its own bit");
}

#[test]
fn config_maps_and_environments_give_secrets_away_by_the_names_of_variables() {
    for (input, expected) in [
        (
            r#"{"kind":"ConfigMap","data":{"DB_SECRET":"x","API_TOKEN":"y","tls.private.key":"z","secret":"v","DB_PASS":"w"}}"#,
            r#"{"kind":"ConfigMap","data":{"DB_SECRET":"<redacted:api_key>","API_TOKEN":"<redacted:token>","tls.private.key":"<redacted:api_key>","secret":"<redacted:api_key>","DB_PASS":"<redacted:password>"}}"#,
        ),
        (
            r#"{"objectRef":{"resource":"configmaps"},"requestObject":{"data":{"SECRET_KEY":"x"},"spec":{"SECRET_KEY":"x"}}}"#,
            r#"{"objectRef":{"resource":"configmaps"},"requestObject":{"data":{"SECRET_KEY":"<redacted:api_key>"},"spec":{"SECRET_KEY":"x"}}}"#,
        ),
        (
            r#"{"objectRef":{"resource":"configmaps"},"requestObject":[{"op":"add","path":"/data/DB_SECRET","value":"x"},{"op":"add","path":"/data","value":{"DB_SECRET":"y"}}]}"#,
            r#"{"objectRef":{"resource":"configmaps"},"requestObject":[{"op":"add","path":"/data/DB_SECRET","value":"<redacted:api_key>"},{"op":"add","path":"/data","value":{"DB_SECRET":"<redacted:api_key>"}}]}"#,
        ),
        (
            r#"{"env":[{"name":"DB_PASS","value":"x"}],"Env":["DB_SECRET=x","ACCESS_KEY=y","DB_PASS=z","KEY=v"]}"#,
            r#"{"env":[{"name":"DB_PASS","value":"<redacted:password>"}],"Env":["DB_SECRET=<redacted:api_key>","ACCESS_KEY=<redacted:api_key>","DB_PASS=<redacted:password>","KEY=v"]}"#,
        ),
        (
            r#"{"credentials":{"sessionToken":"x"},"kind":"Pod","spec":{"secret":"name-of-one"}}"#,
            r#"{"credentials":{"sessionToken":"<redacted:token>"},"kind":"Pod","spec":{"secret":"name-of-one"}}"#,
        ),
    ] {
        assert_eq!(json(input).0, expected);
        assert_eq!(json(expected), (expected.to_owned(), 0), "redacting twice changes nothing");
    }
}

#[test]
fn secrets_written_out_in_texts_lose_their_values() {
    for (input, expected, count) in [
        (
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\nstringData:\n  user: PLANTED\n  \"pin: x\": PLANTED\n",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\nstringData:\n  user: <redacted:k8s_secret>\n  \"pin: <redacted:k8s_secret>\n",
            2,
        ),
        (
            "data:\n    a: |\n      PLANTED\n\n      PLANTED: x\n    b: ''\n    c:\n      PLANTED\n    # PLANTED\nkind: \"Secret\"\r\ntype: Opaque",
            "data:\n    a: <redacted:k8s_secret>\n\n    b: ''\n    c: <redacted:k8s_secret>\n    <redacted:k8s_secret>\nkind: \"Secret\"\r\ntype: Opaque",
            3,
        ),
        (
            "kubectl apply -f - <<EOF\nkind: Secret\ndata: {a: PLANTED,\n  b: PLANTED}\nEOF",
            "kubectl apply -f - <<EOF\nkind: Secret\ndata: <redacted:k8s_secret>\nEOF",
            1,
        ),
        (
            "- kind: SecretList\n  items:\n  - binaryData:\n      a: PLANTED\n    kind: x\n---\nkind: ConfigMap\ndata:\n  a: b\n",
            "- kind: SecretList\n  items:\n  - binaryData:\n      a: <redacted:k8s_secret>\n    kind: x\n---\nkind: ConfigMap\ndata:\n  a: b\n",
            1,
        ),
        (
            "echo '{\"kind\": \"Secret\", \"data\": {\"a\": \"PLANTED}\\\"PLANTED\", \"b\": {}}, \"x\": {\"data\":{}}}' | kubectl apply",
            "echo '{\"kind\": \"Secret\", \"data\": \"<redacted:k8s_secret>\", \"x\": {\"data\":{}}}' | kubectl apply",
            1,
        ),
        (
            "kind: Secret\nmetadata:\n  annotations:\n    last: |\n      {\"data\":{\"a\":\"PLANTED\"},\"kind\":\"Secret\"}\n",
            "kind: Secret\nmetadata:\n  annotations:\n    last: |\n      {\"data\":\"<redacted:k8s_secret>\",\"kind\":\"Secret\"}\n",
            1,
        ),
        (
            "log \"{\\\"kind\\\":\\\"Secret\\\",\\\"data\\\":{\\\"a\\\":\\\"PLANTED\\\\\\\"}PLANTED\\\"}}\" end",
            "log \"{\\\"kind\\\":\\\"Secret\\\",\\\"data\\\":\\\"<redacted:k8s_secret>\\\"}\" end",
            1,
        ),
        ("kind: Secret\ndata:\n  a: PLANTED", "kind: Secret\ndata:\n  a: <redacted:k8s_secret>", 1),
        // Nothing secret here.
        (
            "kind: ConfigMap\ndata:\n  a: b\n---\nkind: Secret\ntype: x\n",
            "kind: ConfigMap\ndata:\n  a: b\n---\nkind: Secret\ntype: x\n",
            0,
        ),
        ("kind: SecretStore\ndata:\n  a: b\n", "kind: SecretStore\ndata:\n  a: b\n", 0),
        ("kind: Secret\ndata: {}\nstringData: null\n", "kind: Secret\ndata: {}\nstringData: null\n", 0),
    ] {
        let mut counts = RedactionCounts::default();
        let shown = Redactor::default().text(input, &mut counts).into_owned();
        assert_eq!((shown.as_str(), counts.total()), (expected, count));
        assert!(!shown.contains("PLANTED"));
        assert_eq!(text(&shown), shown, "redacting twice changes nothing");
        let document = serde_json::json!({"kind": "ConfigMap", "data": {"manifest": input}}).to_string();
        let (document, found) = json(&document);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap()["data"]["manifest"], expected);
        assert_eq!(found, count, "the scan suspects it inside JSON");
    }
    let query = "/exec?command=sh&command=kubectl+apply+%3C%3CEOF%0Akind%3A+Secret%0Adata%3A%0A++a%3A+PLANTED%0AEOF";
    let (shown, count) = json(&serde_json::json!({"requestURI": query}).to_string());
    assert!(!shown.contains("PLANTED") && count == 1, "{shown}");
}
