//! What the environment changes in a configuration: variables that override keys, and secrets out of variables and files.
//!
//! Errors name variables, keys and files, never a value.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use serde::Deserialize;
use toml::{Table, Value};

use super::origin::Origin;
use super::{Config, ConfigError};

/// Variables that override keys begin with this; `__` stands for the dot.
const PREFIX: &str = "PALISADE__";
/// Largest secret that is read from a file: certificates and keys have a few thousand bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

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
        // Their values are texts, and a password may look like a number.
        let is_text = path.len() > 1 && ["properties", "storage"].contains(&path[path.len() - 2].as_str());
        let value = if is_text { Value::from(value.as_str()) } else { literal(value) };
        set(&mut root, &path, value).map_err(|why| fail(name, path.join("."), why))?;
        // Each one is tried by itself, so that an error names the variable that caused it.
        Config::deserialize(root.clone()).map_err(|e| fail(name, path.join("."), e.to_string().trim().to_owned()))?;
    }
    Config::deserialize(root).map(Some).map_err(|e| fail("environment", String::new(), e.to_string()))
}

/// Dotted keys that the environment sets, and the variables that do, in the order in which they are applied.
pub(super) fn overridden(variables: &BTreeMap<String, String>) -> Vec<(String, String)> {
    overrides(variables).map(|(name, _)| (path_of(name).join("."), name.clone())).collect()
}

/// Replaces `${env:NAME}` and `${file:/PATH}` in properties of sources and sinks, and in what the lake's store is told.
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
        for (key, value) in values.iter_mut() {
            let named = |kind: &str| value.strip_prefix(kind).and_then(|rest| rest.strip_suffix('}'));
            let found = if let Some(name) = named("${env:") {
                variables.get(name).cloned().ok_or_else(|| format!("the environment variable {name} is not set"))
            } else if let Some(path) = named("${file:") {
                secret(path).map_err(|why| format!("{path}: {why}"))
            } else {
                continue;
            };
            *value = found.map_err(|why| origin.error(format!("{table}.{key}"), why))?;
        }
    }
    Ok(())
}

/// What a file holds, without the line ends that editors and `echo` leave behind it.
fn secret(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("is longer than {SECRET_BYTES_MAX} bytes"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
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
