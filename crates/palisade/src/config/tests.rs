use super::*;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::parse("palisade.toml", text, &variables)
}

#[test]
fn template_is_a_valid_configuration() {
    let config = parse(TEMPLATE, &[("KAFKA_PASSWORD", "x")]).unwrap();
    assert!(!config.sources.is_empty());
}

#[test]
fn errors_name_the_key_and_the_line() {
    let source = "[[source]]\nname = \"a\"\nkind = \"kafka\"\nbrokers = \"b:1\"\ntopics = [\"t\"]\n";
    for (text, key, line) in [
        ("job = 3", "job", Some(1)),
        ("\n[lake]\nurll = \"x\"", "lake.urll", Some(3)),
        ("[pipeline]\n\npane_secs = \"ten\"", "pipeline.pane_secs", Some(3)),
        (&format!("{source}format = \"nope\""), "source[0].format", Some(6)),
        (&format!("\n{source}format = \"mapped\""), "source[0].mapping", Some(2)),
        (&format!("{source}format = 3"), "source[0].format", Some(6)),
        ("[pipeline]\npane_secs = 0", "pipeline.pane_secs", Some(2)),
        ("job = \"\"", "job", Some(1)),
        (
            &format!("{source}format = \"falco\"\n[source.properties]\n\"group.id\" = \"g\""),
            "source[0].properties.group.id",
            Some(8),
        ),
        ("[lake]\nurl = \" \"", "lake.url", Some(2)),
        ("\n[lake]\nurl = \"gopher://x/y\"", "lake.url", Some(3)),
        ("[http]\n\nlisten = \"abc\"", "http.listen", Some(3)),
        (&format!("{}format = \"falco\"", source.replace("b:1", "")), "source[0].brokers", Some(4)),
        (&format!("{}format = \"falco\"", source.replace("\"a\"", "\"\"")), "source[0].name", Some(2)),
        ("[anomaly.event_rate]\n\nfalse_findings_per_day = -1.0", "anomaly.event_rate.false_findings_per_day", Some(3)),
        ("[[sink]]\nkind = \"stdout\"\n[[sink]]\nkind = \"file\"", "sink[1].path", Some(3)),
        (
            &format!("{source}format = \"falco\"\n[source.properties]\n\"sasl.password\" = \"${{env:NONE}}\""),
            "source[0].properties.sasl.password",
            Some(8),
        ),
    ] {
        let error = parse(text, &[]).unwrap_err();
        assert_eq!((error.key.as_str(), error.line), (key, line), "{text}: {error}");
    }
}

#[test]
fn fingerprint_is_of_what_decides_findings() {
    let print = |text: &str| parse(text, &[]).unwrap().fingerprint("rules");
    let plain = print("");
    for other in ["[pipeline]\npane_secs = 20.0", "[redaction]\nenabled = false", "[anomaly]\nevent_rate_off = true"] {
        assert_ne!(print(other), plain, "{other}");
    }
    for same in ["job = \"other\"", "[pipeline]\nworkers = 7", "[lake]\nurl = \"elsewhere\""] {
        assert_eq!(print(same), plain, "{same}");
    }
}

#[test]
fn environment_overrides_and_is_blamed_by_name() {
    let config = parse("[lake]\nurl = \"a\"", &[("PALISADE__LAKE__URL", "/b"), ("PALISADE__PIPELINE__WORKERS", "3")]);
    let config = config.unwrap();
    assert_eq!((config.lake.url.as_str(), config.pipeline.workers), ("/b", 3));
    let error = parse("", &[("PALISADE__PIPELINE__WORKERS", "many")]).unwrap_err();
    assert_eq!((error.place.as_str(), error.key.as_str()), ("PALISADE__PIPELINE__WORKERS", "pipeline.workers"));
}

#[test]
fn elements_of_lists_are_overridden_too() {
    let variables = [
        ("PALISADE__SOURCE__0__BROKERS", "k:9093"),
        ("PALISADE__SOURCE__1__TOPICS", "[\"a\", \"b\"]"),
        ("KAFKA_PASSWORD", ""),
    ];
    let config = parse(TEMPLATE, &variables).unwrap();
    assert_eq!(config.sources[0].brokers.as_deref(), Some("k:9093"));
    assert_eq!(config.sources[1].topics, ["a", "b"]);
    let error = parse(TEMPLATE, &[("PALISADE__SOURCE__7__NAME", "x")]).unwrap_err();
    assert_eq!(error.place, "PALISADE__SOURCE__7__NAME");
}

/// Every key that is read is shown to whoever starts from the template, in use or commented out.
#[test]
fn template_shows_every_key() {
    let text = format!("{TEMPLATE}\n[[owner]]\nowner = \"x\"\n");
    let config = parse(&text, &[("KAFKA_PASSWORD", "")]).unwrap();
    let mut missing = Vec::new();
    check_shown(&serde_json::to_value(&config).unwrap(), "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

fn check_shown(value: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(keys) if !path.ends_with("properties") && !path.ends_with("attack") => {
            for (key, below) in keys {
                let shown = |line: &str| {
                    let line = line.trim_start_matches(['#', ' ']);
                    line.starts_with(&format!("{key} =")) || (line.starts_with('[') && line.contains(key.as_str()))
                };
                if !TEMPLATE.lines().any(shown) {
                    missing.push(format!("{path}.{key}"));
                }
                check_shown(below, key, missing);
            }
        }
        serde_json::Value::Array(items) if path != "features" => {
            items.iter().for_each(|item| check_shown(item, path, missing))
        }
        _ => {}
    }
}
