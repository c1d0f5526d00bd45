//! Where the keys of a configuration were written, so that an error names the line, or the variable that changed it.

use super::{ConfigError, lines};

/// The texts that a configuration was read from, and what the environment laid over them.
pub(crate) struct Origin<'t> {
    /// What errors name where no text has the key.
    place: &'t str,
    /// Name and text; what is written in a later one counts.
    texts: Vec<(&'t str, &'t str)>,
    /// Keys and the variables that set them, in the order in which they were applied.
    overridden: Vec<(String, String)>,
}

impl<'t> Origin<'t> {
    /// One text, with keys that variables set.
    pub(crate) fn of_file(place: &'t str, text: &'t str, overridden: Vec<(String, String)>) -> Self {
        Self { place, texts: vec![(place, text)], overridden }
    }

    /// Several texts, names first, over something that was put together in code.
    pub(crate) fn of_texts(place: &'t str, texts: &'t [(String, String)]) -> Self {
        let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Self { place, texts, overridden: Vec::new() }
    }

    /// Put together in code.
    pub(crate) fn unwritten(place: &'t str) -> Self {
        Self { place, texts: Vec::new(), overridden: Vec::new() }
    }

    /// An error about a key, such as `source[0].topics`.
    pub(crate) fn error(&self, key: impl Into<String>, why: impl Into<String>) -> ConfigError {
        let key = key.into();
        let (place, line) = self.place_of(&key);
        ConfigError { place: place.to_owned(), line, key, why: why.into() }
    }

    fn place_of(&self, key: &str) -> (&str, Option<usize>) {
        // Variables name elements of lists as they name keys: source.0.topics.
        let dotted = key.replace('[', ".").replace(']', "");
        let sets = |own: &str| dotted.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if let Some((_, variable)) = self.overridden.iter().rev().find(|(own, _)| sets(own)) {
            return (variable.as_str(), None);
        }
        let look = |line_of: fn(&str, &str) -> Option<usize>| {
            self.texts.iter().rev().find_map(|(name, text)| Some((*name, Some(line_of(text, key)?))))
        };
        look(lines::line_of).or_else(|| look(lines::line_of_key)).unwrap_or((self.place, None))
    }
}
