//! What the environment changes in a configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, lines};

/// Variables that override keys begin with this; `__` stands for the dot.
const PREFIX: &str = "PALISADE__";

/// The configuration with overrides applied; `None` if the environment has none.
pub(super) fn overlay(text: &str, variables: &BTreeMap<String, String>) -> Result<Option<Config>, ConfigError> {
    let overrides: Vec<(&String, &String)> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    if overrides.is_empty() {
        return Ok(None);
    }
    let fail = |name: &str, key: String, why: String| ConfigError { place: name.to_owned(), line: None, key, why };
    let mut root =
        Value::Table(text.parse::<Table>().map_err(|e| fail("configuration", String::new(), e.to_string()))?);
    for (name, value) in overrides {
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
        set(&mut root, &path, literal(value)).map_err(|why| fail(name, path.join("."), why))?;
        // Each one is tried by itself, so that an error names the variable that caused it.
        Config::deserialize(root.clone()).map_err(|e| fail(name, path.join("."), e.to_string().trim().to_owned()))?;
    }
    Config::deserialize(root).map(Some).map_err(|e| fail("environment", String::new(), e.to_string()))
}

/// Replaces `${env:NAME}` in source and sink properties.
pub(super) fn fill_properties(
    config: &mut Config,
    variables: &BTreeMap<String, String>,
    place: &str,
    text: &str,
) -> Result<(), ConfigError> {
    let of_sources = config.sources.iter_mut().enumerate().map(|(i, s)| (format!("source[{i}]"), &mut s.properties));
    let of_sinks = config.sinks.iter_mut().enumerate().map(|(i, s)| (format!("sink[{i}]"), &mut s.properties));
    for (owner, properties) in of_sources.chain(of_sinks) {
        for (key, value) in properties {
            let Some(name) = value.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}')) else { continue };
            *value = variables.get(name).cloned().ok_or_else(|| {
                let key = format!("{owner}.properties.{key}");
                let line = lines::line_of_key(text, &key);
                let why = format!("the environment variable {name} is not set");
                ConfigError { place: place.into(), line, key, why }
            })?;
        }
    }
    Ok(())
}

fn set(at: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        *at = value;
        return Ok(());
    };
    match at {
        Value::Table(table) => set(table.entry(key.clone()).or_insert_with(|| Table::new().into()), rest, value),
        Value::Array(items) => {
            let index: usize = key.parse().map_err(|_| format!("`{key}` is no number of a list element"))?;
            let len = items.len();
            let item = items.get_mut(index).ok_or_else(|| format!("there are only {len} elements"))?;
            set(item, rest, value)
        }
        _ => Err(format!("there is no `{key}` under a plain value")),
    }
}

/// A TOML value if it reads as one, else the text itself.
fn literal(text: &str) -> Value {
    format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v")).unwrap_or_else(|| text.into())
}
