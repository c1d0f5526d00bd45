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
        ("[pipeline]\npane_secs = 0", "pipeline.pane_secs", None),
    ] {
        let error = parse(text, &[]).unwrap_err();
        assert_eq!((error.key.as_str(), error.line), (key, line), "{text}: {error}");
    }
}

#[test]
fn environment_overrides_and_is_blamed_by_name() {
    let config =
        parse("[lake]\nurl = \"a\"", &[("PALISADE__LAKE__URL", "s3://b"), ("PALISADE__PIPELINE__WORKERS", "3")]);
    let config = config.unwrap();
    assert_eq!((config.lake.url.as_str(), config.pipeline.workers), ("s3://b", 3));
    let error = parse("", &[("PALISADE__PIPELINE__WORKERS", "many")]).unwrap_err();
    assert_eq!((error.place.as_str(), error.key.as_str()), ("PALISADE__PIPELINE__WORKERS", "pipeline.workers"));
}
