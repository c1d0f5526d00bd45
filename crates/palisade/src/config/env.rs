//! What the environment changes in a configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::origin::Origin;
use super::{Config, ConfigError};

/// Variables that override keys begin with this; `__` stands for the dot.
const PREFIX: &str = "PALISADE__";

/// The configuration with overrides applied; `None` if the environment has none.
pub(super) fn overlay(text: &str, variables: &BTreeMap<String, String>) -> Result<Option<Config>, ConfigError> {
    if overrides(variables).next().is_none() {
        return Ok(None);
    }
    let fail = |name: &str, key: String, why: String| ConfigError { place: name.to_owned(), line: None, key, why };
    let mut root =
        Value::Table(text.parse::<Table>().map_err(|e| fail("configuration", String::new(), e.to_string()))?);
    for (name, value) in overrides(variables) {
        let path = path_of(name);
        set(&mut root, &path, literal(value)).map_err(|why| fail(name, path.join("."), why))?;
        // Each one is tried by itself, so that an error names the variable that caused it.
        Config::deserialize(root.clone()).map_err(|e| fail(name, path.join("."), e.to_string().trim().to_owned()))?;
    }
    Config::deserialize(root).map(Some).map_err(|e| fail("environment", String::new(), e.to_string()))
}

/// Dotted keys that the environment sets, and the variables that do, in the order in which they are applied.
pub(super) fn overridden(variables: &BTreeMap<String, String>) -> Vec<(String, String)> {
    overrides(variables).map(|(name, _)| (path_of(name).join("."), name.clone())).collect()
}

/// Replaces `${env:NAME}` in properties of sources and sinks, and in what the lake's store is told.
pub(super) fn fill(
    config: &mut Config,
    variables: &BTreeMap<String, String>,
    origin: &Origin<'_>,
) -> Result<(), ConfigError> {
    let of_sources = config.sources.iter_mut().map(|source| &mut source.properties).enumerate();
    let of_sources = of_sources.map(|(index, properties)| (format!("source[{index}].properties"), properties));
    let of_sinks = config.sinks.iter_mut().map(|sink| &mut sink.properties).enumerate();
    let of_sinks = of_sinks.map(|(index, properties)| (format!("sink[{index}].properties"), properties));
    let of_lake = std::iter::once(("lake.storage".to_owned(), &mut config.lake.storage));
    for (table, values) in of_sources.chain(of_sinks).chain(of_lake) {
        for (key, value) in values {
            let Some(name) = value.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}')) else { continue };
            *value = variables.get(name).cloned().ok_or_else(|| {
                origin.error(format!("{table}.{key}"), format!("the environment variable {name} is not set"))
            })?;
        }
    }
    Ok(())
}

fn overrides(variables: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    variables.iter().filter(|(name, _)| name.starts_with(PREFIX))
}

/// The steps of the key that a variable sets.
fn path_of(variable: &str) -> Vec<String> {
    variable[PREFIX.len()..].split("__").map(str::to_lowercase).collect()
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
