//! What a configuration says, what overrides it, and how mistakes are blamed on their key and line.

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
        (&format!("{source}format = \"falco\"\nsilence_secs = 3.0"), "source[0].silence_secs", Some(7)),
        (&format!("{source}format = \"falco\"\nsilence_secs = -1.0"), "source[0].silence_secs", Some(7)),
        (&format!("{source}format = \"falco\"\nsilence_secs = nan"), "source[0].silence_secs", Some(7)),
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
        ("[lake]\nurl = \"a\"\n[lake.storage]\naws_secret = \"${env:NONE}\"", "lake.storage.aws_secret", Some(4)),
        ("[rules]\npaths = [\"/not/there.yml\"]", "rules.paths", Some(2)),
        ("[correlate]\n\npaths = [\"/not/there.toml\"]", "correlate.paths", Some(3)),
        ("[redaction]\nenabled = true\nrules = \"/not/there.toml\"", "redaction.rules", Some(3)),
        (&format!("{source}format = \"mapped\"\nmapping = \"/not/there.toml\""), "source[0].mapping", Some(7)),
        (&format!("{source}format = \"falco\"\ncluster_from_topic = \"t\""), "source[0].cluster_from_topic", Some(7)),
        (
            &format!("{source}format = \"falco\"\ncluster_from_topic = \"{{cluster}}.{{cluster}}\""),
            "source[0].cluster_from_topic",
            Some(7),
        ),
        (
            &format!("{source}format = \"falco\"\ncluster_from_topic = \"k8s.{{cluster}}\""),
            "source[0].cluster_from_topic",
            Some(7),
        ),
        (
            "[[source]]\nname = \"a\"\nkind = \"files\"\nformat = \"falco\"\npaths = [\"-\"]\n\
             cluster_from_topic = \"{cluster}\"",
            "source[0].cluster_from_topic",
            Some(6),
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
    let source = |more: &str| {
        print(&format!(
            "[[source]]\nname = \"a\"\nkind = \"kafka\"\nformat = \"falco\"\nbrokers = \"b:1\"\n\
             topics = [\"k8s.prod\"]\n{more}"
        ))
    };
    let prints =
        ["", "cluster = \"c\"", "cluster_header = \"c\"", "cluster_from_topic = \"k8s.{cluster}\""].map(source);
    let distinct: std::collections::BTreeSet<_> = prints.iter().collect();
    assert_eq!(distinct.len(), prints.len(), "how a source tells its cluster decides what findings are about");
    assert_eq!(source("group = \"g\""), prints[0]);
    assert_ne!(source("silence_secs = 60.0"), prints[0], "when a source is silent decides what is stored");
    assert_eq!(source("silence_secs = 0"), prints[0], "no silence of alerts is told unless it is said");
}

#[test]
fn topics_that_should_never_rest_are_silent_after_a_quarter_of_an_hour() {
    for (kind, format, said, expected) in [
        (SourceKind::Kafka, "k8s_audit", None, Some(900.0)),
        (SourceKind::Kafka, "auto", None, Some(900.0)),
        (SourceKind::Kafka, "k8s_audit", Some(60.0), Some(60.0)),
        (SourceKind::Kafka, "k8s_audit", Some(0.0), None),
        (SourceKind::Kafka, "falco", None, None),
        (SourceKind::Kafka, "falco", Some(3600.0), Some(3600.0)),
        (SourceKind::Files, "k8s_audit", None, None),
        (SourceKind::Files, "k8s_audit", Some(60.0), Some(60.0)),
        (SourceKind::Channel, "k8s_audit", None, None),
    ] {
        let source = SourceConfig { silence_secs: said, ..SourceConfig::new("s", kind, format) };
        assert_eq!(source.silence(), expected, "{kind:?} {format} {said:?}");
    }
}

#[test]
fn topics_of_unknown_clusters_need_something_to_fall_back_to() {
    let text = |more: &str| {
        format!(
            "[[source]]\nname = \"a\"\nkind = \"kafka\"\nformat = \"falco\"\nbrokers = \"b:1\"\n\
             topics = [\"k8s.prod\", \"other\"]\ncluster_from_topic = \"k8s.{{cluster}}\"\n{more}"
        )
    };
    assert!(parse(&text(""), &[]).unwrap_err().why.contains("`other`"));
    assert!(parse(&text("").replace("other", "k8s."), &[]).is_err(), "a cluster has a name");
    parse(&text("").replace("other", "k8s.stage.eu-1"), &[]).unwrap();
    parse(&text("cluster = \"rest\""), &[]).unwrap();
    parse(&text("cluster_header = \"cluster\""), &[]).unwrap();
    parse(&text("").replace("other", "^k8s\\\\..*"), &[]).unwrap();
}

#[test]
fn environment_overrides_and_is_blamed_by_name() {
    let config = parse("[lake]\nurl = \"a\"", &[("PALISADE__LAKE__URL", "/b"), ("PALISADE__PIPELINE__WORKERS", "3")]);
    let config = config.unwrap();
    assert_eq!((config.lake.url.as_str(), config.pipeline.workers), ("/b", 3));
    let error = parse("", &[("PALISADE__PIPELINE__WORKERS", "many")]).unwrap_err();
    assert_eq!((error.place.as_str(), error.key.as_str()), ("PALISADE__PIPELINE__WORKERS", "pipeline.workers"));
}

/// Values that are of the right type and wrong all the same are found after the environment was laid over the file.
#[test]
fn a_variable_is_blamed_for_what_it_made_wrong() {
    let text = "[pipeline]\npane_secs = 5.0\n[[source]]\nname = \"a\"\nkind = \"kafka\"\nformat = \"falco\"\n\
                brokers = \"b:1\"\ntopics = [\"t\"]\n";
    for (variable, value, key) in [
        ("PALISADE__PIPELINE__PANE_SECS", "0", "pipeline.pane_secs"),
        ("PALISADE__SOURCE__0__FORMAT", "nope", "source[0].format"),
        ("PALISADE__SOURCE__0__TOPICS", "[\"\"]", "source[0].topics"),
        ("PALISADE__RULES__PATHS", "[\"/not/there\"]", "rules.paths"),
        ("PALISADE__LAKE__STORAGE__KEY", "${env:NONE}", "lake.storage.key"),
        ("PALISADE__HTTP", "{ listen = \"abc\" }", "http.listen"),
    ] {
        let error = parse(text, &[(variable, value)]).unwrap_err();
        assert_eq!((error.place.as_str(), error.line, error.key.as_str()), (variable, None, key), "{error}");
    }
    let error = parse(&text.replace("5.0", "0"), &[("PALISADE__PIPELINE__WORKERS", "3")]).unwrap_err();
    assert_eq!(
        (error.place.as_str(), error.line),
        ("palisade.toml", Some(2)),
        "another key's variable is not to blame"
    );
}

#[test]
fn stores_take_secrets_from_the_environment() {
    let text = "[lake.storage]\naws_region = \"eu-central-1\"\naws_secret_access_key = \"${env:SECRET}\"";
    let config = parse(text, &[("SECRET", "x")]).unwrap();
    assert_eq!(config.lake.storage["aws_region"], "eu-central-1");
    assert_eq!(config.lake.storage["aws_secret_access_key"], "x");
}

#[test]
fn secrets_come_from_files_too_and_show_nowhere() {
    const SECRET: &str = "hunter2";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{SECRET}\r\n")).unwrap();
    let text = |password: &str| {
        let properties = format!(
            "\"security.protocol\" = \"sasl_plaintext\"\n\"sasl.mechanism\" = \"PLAIN\"\n\
             \"sasl.username\" = \"u\"\n\"sasl.password\" = \"{password}\"\n"
        );
        format!(
            "[lake.storage]\nsecret = \"{password}\"\n[[source]]\nname = \"a\"\nkind = \"kafka\"\nformat = \"falco\"\n\
             brokers = \"b:1\"\ntopics = [\"t\"]\n[source.properties]\n{properties}[[sink]]\nkind = \"kafka\"\n\
             brokers = \"b:1\"\ntopic = \"t\"\n[sink.properties]\n{properties}"
        )
    };
    let config = parse(&text(&format!("${{file:{}}}", file.display())), &[]).unwrap();
    let values = [
        &config.lake.storage["secret"],
        &config.sources[0].properties["sasl.password"],
        &config.sinks[0].properties["sasl.password"],
    ];
    assert_eq!(values, [SECRET; 3]);
    let shown = format!("{config:?}");
    assert!(shown.contains("sasl.password") && !shown.contains(SECRET), "{shown}");
    let other = parse(&text("another"), &[]).unwrap();
    assert_eq!(config.fingerprint(""), other.fingerprint(""), "a password may be changed");

    for broken in [
        // A key that does not exist, one that is missing, one that does not fit, one that is of another type.
        text(SECRET).replace("\"sasl.mechanism\" = \"PLAIN\"", "\"sasl.mechanism\" = \"LOGIN\""),
        text(SECRET).replace("\"sasl.username\" = \"u\"\n", ""),
        text(SECRET).replace("sasl_plaintext", "plaintext"),
        text(SECRET).replace(&format!("\"{SECRET}\""), "[]"),
        text("${file:/not/there}"),
        text("x").replace("[source.properties]", "properties = \"hunter2\"\n[other]"),
    ] {
        let error = parse(&broken, &[]).unwrap_err();
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    let error = parse(&text(SECRET), &[("PALISADE__SOURCE__0__PROPERTIES", SECRET)]).unwrap_err();
    assert!(!error.to_string().contains(SECRET), "{error}");
}

#[test]
fn values_of_properties_are_texts_whatever_they_look_like() {
    let text = "[[source]]\nname = \"a\"\nkind = \"kafka\"\nformat = \"falco\"\nbrokers = \"b:1\"\ntopics = [\"t\"]\n\
                [source.properties]\n\"session.timeout.ms\" = 45000\n\"api.version.request\" = true\n";
    let variables = [("PALISADE__SOURCE__0__PROPERTIES__CLIENT.ID", "007"), ("PALISADE__LAKE__STORAGE__KEY", "1e5")];
    let config = parse(text, &variables).unwrap();
    let properties = &config.sources[0].properties;
    assert_eq!(properties["session.timeout.ms"], "45000");
    assert_eq!(properties["api.version.request"], "true");
    assert_eq!((properties["client.id"].as_str(), config.lake.storage["key"].as_str()), ("007", "1e5"));
}

#[test]
fn tokens_go_with_kafka() {
    for (text, key) in [
        (
            "[[source]]\nname = \"a\"\nkind = \"files\"\nformat = \"falco\"\npaths = [\"-\"]\noauth_token_file = \"/t\"",
            "source[0].oauth_token_file",
        ),
        ("[[sink]]\nkind = \"stdout\"\noauth_token_file = \"/t\"", "sink[0].oauth_token_file"),
        (
            "[[sink]]\nkind = \"kafka\"\nbrokers = \"b:1\"\ntopic = \"t\"\noauth_token_file = \"/t\"",
            "sink[0].oauth_token_file",
        ),
    ] {
        assert_eq!(parse(text, &[]).unwrap_err().key, key, "{text}");
    }
}

#[test]
fn changes_come_last_and_are_checked() {
    let parse = |change: fn(&mut Config)| Config::parse_with("arguments", "job = \"a\"", &BTreeMap::new(), change);
    assert_eq!(parse(|config| config.job = "b".into()).unwrap().job, "b");
    assert_eq!(parse(|config| config.lake.url = String::new()).unwrap_err().key, "lake.url");
}

#[test]
fn merged_settings_replace_keys_and_add_to_lists_of_tables() {
    let mut config = Config { job: "mine".into(), ..Config::default() };
    config.pipeline.lateness_secs = 7.0;
    config.owners.push(Ownership { owner: "first".into(), ..Ownership::default() });
    config.merge("settings", "[pipeline]\npane_secs = 5\n[[owner]]\nowner = \"second\"").unwrap();
    config
        .merge("settings", "[anomaly.first_seen]\nfeatures = [{ entity = \"user\", columns = [\"api_operation\"] }]")
        .unwrap();
    assert_eq!((config.pipeline.pane_secs, config.pipeline.lateness_secs), (5.0, 7.0));
    assert_eq!(config.owners.iter().map(|line| line.owner.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!((config.job.as_str(), config.anomaly.first_seen.features.len()), ("mine", 1));
    assert!(config.rules.starter && !config.anomaly.event_rate.entities.is_empty(), "what was not named stays");
    for (text, key, line) in [
        ("[pipeline]\npane_secs = \"ten\"", "pipeline.pane_secs", Some(2)),
        ("\n[pipelin]\n", "pipelin", Some(2)),
        ("\n[[source]]\nname = \"a\"", "source", Some(2)),
    ] {
        let error = config.merge("settings", text).unwrap_err();
        assert_eq!((error.place.as_str(), error.key.as_str(), error.line), ("settings", key, line), "{error}");
    }
}

/// The configuration inside the Kubernetes manifest, as it is and with its TLS blocks in use.
#[test]
fn deployed_configuration_is_valid() {
    let manifest = include_str!("../../../../packaging/kubernetes/palisade.yaml");
    let block = manifest.lines().skip_while(|line| line.trim() != "palisade.toml: |").skip(1);
    let block = block.take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: Vec<&str> = block.map(|line| line.get(4..).unwrap_or_default()).collect();
    let config = parse(&text.join("\n"), &[]).unwrap();
    assert_eq!(config.sources.len(), 3);
    let commented = |line: &&str| line.starts_with("# [source.properties]") || line.starts_with("# \"");
    let in_use = |line: &str| if commented(&line) { line[2..].to_owned() } else { line.to_owned() };
    let secured = parse(&text.iter().map(|line| in_use(line)).collect::<Vec<_>>().join("\n"), &[]);
    if cfg!(feature = "tls") {
        let config = secured.unwrap();
        assert!(config.sources.iter().all(|source| source.properties["security.protocol"] == "ssl"));
    } else {
        let error = secured.unwrap_err();
        assert_eq!(error.key, "source[0].properties.security.protocol");
        assert!(error.why.contains("feature `tls`"), "{error}");
    }
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
