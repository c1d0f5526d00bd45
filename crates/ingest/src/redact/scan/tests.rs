//! What could be a secret is suspected, and what cannot is not.

use super::*;

/// What the search takes without slowing down.
const SIGNS_MAX: usize = 32;

/// The words that give secrets away, each as it could stand in an event.
const WORDS: &[&str] = &[
    "-----BEGIN RSA PRIVATE KEY-----",
    "private+key",
    "private%20key",
    "eyJhbGciOi.eyJzdWIi",
    "ghp_x",
    "gho_x",
    "ghu_x",
    "ghs_x",
    "ghr_x",
    "github_pat_x",
    "xoxb-x",
    "AKIAABCDEFGHIJKLMNOP",
    "ASIAABCDEFGHIJKLMNOP",
    "aws_secret",
    "aws-secret",
    "awssecret",
    "secret_access_key",
    "secretaccesskey",
    "authorization=x",
    "authorization%3A",
    "bearer x",
    "a://u:p@h",
    "a:\\/\\/u:p@h",
    "a%3a%2f%2fu",
    "password",
    "passwd",
    "passphrase",
    "mysql -px",
    "mariadb -px",
    "sshpass",
    "curl -u a:b",
    "curl+-u",
    "curl%20-u",
    "\"-u a:b\",\"name\":\"curl",
    "curl\",\"-sSu",
    "curl\\u0026command=-u",
    "curl:8\",\"args\":[\"--proxy-user",
    " -pX\",\"exe\":\"mysqldump",
    "redis-cli -a",
    " --pass y redis-cli",
    "sk_live_x",
    "rk_live_x",
    "auths\":{",
    "auths\\\":{",
    "DB_PWD=x",
    "\"db_pwd\":\"x",
    "clientSecret: |",
    "db_secret: >-",
    "private-key\\\": |",
    "DB_PWD: !!str |",
    "db_pass%3A+%7C",
    "token=x",
    "--token&x",
    "api_key",
    "apikey",
    "api-key",
    "client_secret",
    "clientsecret",
    "client-secret",
    "a_secret\",\"value\":\"",
    "a_key\",\"value\":\"",
    "\\u0061",
    "\"secret_x\"",
    "\"secret-x\"",
    "\"secretaccess\"",
    "\"Secret\" \"data\"",
    "\"secrets\" \"stringData\"",
    "\"secrets\" \"binaryData\"",
    "\"secrets\" /data/x",
    "\"secrets\" /stringData/x",
    "command=--token\\u0026command=s.abc",
    "DB_SECRET\\\",\\\"value\\\":\\\"x",
    "SECRET_KEY\\\",\\\"value\\\":\\\"x",
    "Authorization: f00dcafe",
    "Authorization: negotiate YII",
    "token: nope1",
    "client.secret",
    "api.key",
    "aws.secret",
    "my-secret-access-key",
    "pass_phrase",
    "pass-word",
    "{\\u0022kind\\u0022:1}",
    "DB_SECRET=x",
    "db_secret%3Dx",
    "\"db_secret\": \"x",
    "\\\"db_secret\\\":\\\"x",
    "SECRET_KEY=x",
    "access.key%3Dx",
    "private-key=x",
    "\"tls_private_key\":\"x",
    "DB_PASS=x",
    "DB_PASS%3Dx",
    "\"DB_PASS\",\"value\":\"x",
    "\"db_pass\":\"x",
    "kind: Secret\\ndata:\\n",
    "kind:  'Secret'\\nstringData:\\n",
    "\\nstringData:\\n  a: b\\nkind: \\\"Secret",
    "kind:+Secret%0AbinaryData:",
    "kind%3A%20Secret%0Adata%3A",
    "\"Secret\" \\\"data\\\"",
    "\"Authorization\":[\"x\"]",
    "\"Authorization\",\"value\":\"x\"",
    "\"X-Api-Key\":[\"x\"]",
    "\"x-auth-token\" : [ null, \"x\"]",
    "\\\"token\\\":[\\\"x\\\"]",
    "\"Cookie\":\"x\"",
    "\"set-cookie\": [\"x\"]",
    "\\\"cookie\\\":[\\\"x\\\"]",
    "\"Cookie\",\n                        \"value\":\"x\"",
];

#[test]
fn every_word_is_suspected_in_any_case_and_by_both_searches() {
    let automaton = Needles::automaton();
    let both = |text: &str| {
        let folded = text.to_ascii_lowercase();
        let found = [&*NEEDLES, &automaton].map(|n| n.suspect(text.as_bytes(), folded.as_bytes()));
        assert_eq!(found[0], found[1], "{text}");
        assert_eq!(is_suspicious(text.as_bytes()), found[0]);
        found[0]
    };
    // Tokens have a case, and so have options and the keys of Kubernetes objects.
    let cases = ["eyJ", "AKIA", "ASIA", " -", "+-", "0-", "\"-", "value", "\\u"];
    let has_case = |word: &str| cases.iter().any(|w| word.contains(w));
    for word in WORDS {
        assert!(both(&format!(r#"{{"a":"x {word} y"}}"#)), "{word}");
        assert!(both(word), "{word} alone");
        if !has_case(word) {
            assert!(both(&word.to_ascii_uppercase()), "{word} in capitals");
        }
        // What overlaps with a fragment that means nothing is found all the same.
        assert!(both(&format!("zationecretokeneyj{word}")), "{word} after fragments");
    }
    for clean in [
        r#"{"authorization.k8s.io/decision":"allow"}"#,
        r#"{"resource":"secrets","verb":"list"}"#,
        r#"{"cookie":12,"token":[],"set-cookie":[ ],"note":"cookies, crosswalk"}"#,
        r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#,
        r#"{"subresource":"token"}"#,
        r#"{"automountServiceAccountToken":false,"token":null,"token":{"a":1}}"#,
        r#"{"key":"value","class-key":"values","key":"x","monkey":"y"}"#,
        r#"{"secret":{"secretName":"a"},"my_secret":true,"bypass":"x","_path":"y","note":"key=x"}"#,
        r#"{"note":"kind: Secret","resource":"secrets","text":"metadata: x"}"#,
        "https://example.com/x",
        "asiapacific",
        "curly",
        r#"{"userAgent":"curl/8.5.0","image":"curlimages/curl:8","args":["--url","x-u","kube-user"]}"#,
        r#"{"image":"mysql:8","args":["-p","--port=3306","kube-proxy"],"name":"redis-cli","x":"-abc"}"#,
        r#"{"image":"mysql:8","args":["--protocol"],"name":"x-p","redis-cli":["-all"]}"#,
        r#"{"userAgent":"curl/8.5.0 -u a:b"}"#,
        "auths, paths\": months\"",
        "desk_live, compass_x, bypass",
        r#"{"PWD":"/x"}, secret: x | y, tls.key: |"#,
        r#"{"userIdentity":{"type":"IAMUser","principalId":"AIDAX","accessKeyId":"AKIAABCDEFGHIJKLMNOP","userName":"a"}}"#,
        r#"{"principalId": "AROAX:i-1","arn":"a","accessKeyId":"ASIAABCDEFGHIJKLMNOP"}"#,
    ] {
        assert!(!both(clean), "{clean}");
    }
}

#[test]
fn access_keys_that_say_who_it_was_are_clean_where_their_object_says_so() {
    let key = "AKIAABCDEFGHIJKLMNOP";
    let far = "x".repeat(IDENTITY_BYTES_MAX);
    for (text, is_clean) in [
        (format!(r#"{{"principalId":"p","accessKeyId":"{key}"}}"#), true),
        (format!(r#"{{"principalId":"p","a":["b"],"accessKeyId":"{key}","x":1}}"#), true),
        (format!(r#"{{"accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"accessKeyId":"{key}","x":["y"],"principalId":"p"}}"#), true),
        (format!(r#"{{"accessKeyId":"{key}","x":{{}},"principalId":"p"}}"#), false),
        (format!(r#"{{"accessKeyId":"{key}","x":"{far}","principalId":"p"}}"#), false),
        (format!(r#"{{"accessKeyId":"{key}","x\"principalId":"p"}}"#), false),
        (format!(r#"{{"accessKeyId":"{key}","x":{{"principalId":"p"}}}}"#), false),
        (format!(r#"{{"principalId":"p","accessKeyId":"x {key}"}}"#), false),
        (format!(r#"{{"principalId":"p","accessKeyId":"{key}","y":"{key}"}}"#), false),
        (format!(r#"{{"principalId":"p","AccessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"principalId":"p","a":{{}},"accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"principalId":"p","a":{{"accessKeyId":"{key}"}}}}"#), false),
        (format!(r#"{{"principalId":"p","a":"{far}","accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"a":["principalId"],"accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"xprincipalId":"p","accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"x\"principalId":"p","accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"principalId":"p","x\"accessKeyId":"{key}"}}"#), false),
        (format!(r#"{{"a":"{{\"principalId\":\"p\",\"accessKeyId\":\"{key}\"}}"}}"#), false),
    ] {
        assert_eq!(!is_suspicious(text.as_bytes()), is_clean, "{text}");
    }
}

#[test]
fn no_fragment_hides_behind_another() {
    assert!(SIGNS.len() <= SIGNS_MAX);
    for (index, (fragment, _)) in SIGNS.iter().enumerate() {
        assert!(fragment.len() >= 3 && *fragment == fragment.to_ascii_lowercase());
        let begins = |(other, _): &(&str, Judge)| fragment.starts_with(other);
        assert_eq!(SIGNS.iter().position(begins), Some(index), "{fragment}");
    }
}
