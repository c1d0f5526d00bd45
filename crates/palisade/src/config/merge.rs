//! Settings laid over a configuration that is there already.

use toml::{Table, Value};

use super::{Config, ConfigError, from_toml, lines};

impl Config {
    /// Lays text in the manner of the configuration file over this configuration: keys that it has replace the present
    /// ones, and its sinks and owners are added. Sources are not for it: there is no telling which one would be meant.
    ///
    /// # Errors
    /// When the text is no TOML, a key is unknown or has the wrong type: line and key within the text are named.
    /// Whether values go together is for [`check`](Self::check) to find.
    pub(crate) fn merge(&mut self, place: &str, text: &str) -> Result<(), ConfigError> {
        let settings = text.parse::<Table>().map_err(|e| from_toml(place, text, &e))?;
        if settings.contains_key("source") {
            let line = lines::line_of(text, "source[0]").or_else(|| lines::line_of(text, "source"));
            let why = "sources are added by name and format, not as text".to_owned();
            return Err(ConfigError { place: place.to_owned(), line, key: "source".into(), why });
        }
        // By itself it is a configuration with everything else left out: errors are found where they are written.
        toml::from_str::<Self>(text).map_err(|e| from_toml(place, text, &e))?;
        let fail = |why: String| ConfigError { place: place.to_owned(), line: None, key: String::new(), why };
        let mut whole = Table::try_from(&*self).map_err(|e| fail(e.to_string()))?;
        for (key, value) in settings {
            let present = whole.get_mut(&key);
            if let ("sink" | "owner", Some(Value::Array(present)), Value::Array(more)) = (key.as_str(), present, &value)
            {
                present.extend(more.iter().cloned());
            } else {
                lay(&mut whole, key, value);
            }
        }
        *self = whole.try_into().map_err(|e: toml::de::Error| fail(e.to_string()))?;
        Ok(())
    }
}

/// Puts a value in its place; tables keep the keys that the new one does not have.
fn lay(table: &mut Table, key: String, value: Value) {
    match value {
        Value::Table(new) => match table.get_mut(&key) {
            Some(Value::Table(present)) => new.into_iter().for_each(|(key, value)| lay(present, key, value)),
            _ => {
                table.insert(key, Value::Table(new));
            }
        },
        plain => {
            table.insert(key, plain);
        }
    }
}
