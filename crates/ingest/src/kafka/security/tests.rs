//! Tokens out of files, and what refusals show.

use rdkafka::consumer::BaseConsumer;

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn jwt(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2ln", part("{\"alg\":\"RS256\"}"), part(claims))
}

#[test]
fn a_token_is_good_for_as_long_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let now_secs = NOW / 1000;
    for (text, good_ms) in [
        (jwt(&format!("{{\"exp\":{}}}", now_secs + 600)), Ok(600_000)),
        (format!("\n{} \n", jwt(&format!("{{\"exp\":{}.5}}", now_secs + 60))), Ok(60_500)),
        (jwt(&format!("{{\"exp\":{}}}", now_secs + 1_000_000)), Ok(LIFETIME_MS_MAX)),
        // What does not say so is good for a while.
        (jwt("{\"sub\":\"a\"}"), Ok(LIFETIME_MS)),
        (jwt("{\"exp\":\"soon\"}"), Ok(LIFETIME_MS)),
        (jwt("{\"exp\":1e300}"), Ok(LIFETIME_MS)),
        (jwt("not json"), Ok(LIFETIME_MS)),
        ("opaque".into(), Ok(LIFETIME_MS)),
        ("a.b.c".into(), Ok(LIFETIME_MS)),
        (jwt(&format!("{{\"exp\":{}}}", now_secs - 90)), Err("expired 90 s ago")),
        (" \n".into(), Err("is empty")),
        ("two tokens".into(), Err("something else")),
        ("a\0b".into(), Err("something else")),
        ("a".repeat(TOKEN_BYTES_MAX as usize + 1), Err("something else")),
    ] {
        std::fs::write(&path, &text).unwrap();
        match (read_token(&path, NOW), good_ms) {
            (Ok(token), Ok(good)) => {
                assert_eq!(token.lifetime_ms, NOW + good, "{text}");
                assert_eq!(token.token, text.trim());
            }
            (Err(why), Err(expected)) => {
                assert!(why.contains(expected) && (text.trim().is_empty() || !why.contains(text.trim())), "{why}");
            }
            (Ok(_), Err(expected)) => panic!("{text} is taken: {expected}"),
            (Err(why), Ok(_)) => panic!("{text} is refused: {why}"),
        }
    }
}

#[test]
fn a_token_is_read_anew_each_time_and_may_come_late() {
    let folder = tempfile::tempdir().unwrap();
    let file = TokenFile::new(folder.path().join("token"));
    assert!(file.token().is_err());
    for token in ["first", "second"] {
        std::fs::write(folder.path().join("token"), token).unwrap();
        assert_eq!(file.token().unwrap().token, token);
    }
}

#[test]
fn a_refused_property_does_not_show_its_value() {
    for (name, value) in [
        ("sasl.pasword", "hunter2hunter2"),
        ("security.protocol", "hunter2hunter2"),
        ("socket.timeout.ms", "hunter2hunter2"),
        ("enable.auto.commit", "hunter2hunter2"),
        ("debug", "hunter2hunter2"),
    ] {
        let config = client_config(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        let error = config.create::<BaseConsumer>().err().unwrap();
        let shown = without_secrets(&error);
        assert!(shown.contains(name) && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn certificates_of_the_system_count_unless_others_are_named() {
    let ca = |properties: &[(&str, &str)]| {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        client_config(&properties).get("ssl.ca.location").map(str::to_owned)
    };
    assert_eq!(ca(&[]), None);
    assert_eq!(ca(&[("security.protocol", "sasl_plaintext")]), None);
    assert_eq!(ca(&[("security.protocol", "SASL_SSL")]).as_deref(), Some("probe"));
    assert_eq!(ca(&[("security.protocol", "ssl"), ("ssl.ca.location", "/ca")]).as_deref(), Some("/ca"));
    assert_eq!(ca(&[("security.protocol", "ssl"), ("ssl.ca.pem", "x")]), None);
}
