//! Explanations with `{column}` places, checked against the columns of the result when the correlation is read.

/// A parsed explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    pub(crate) fn parse(text: &str, columns: &[String]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` has no `}`")?;
            if !columns.iter().any(|column| column == name) {
                return Err(format!("`{{{name}}}` is no column of the result, which has {}", columns.join(", ")));
            }
            parts.push(Part::Text(before.into()));
            parts.push(Part::Column(name.into()));
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self(parts))
    }

    pub(crate) fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Column(name) => value(name),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_unknown_ones_refused() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let template = Template::parse("{a} then {b}.", &columns).unwrap();
        assert_eq!(template.fill(|name| name.to_uppercase()), "A then B.");
        assert!(Template::parse("{c}", &columns).unwrap_err().contains("no column"));
        assert!(Template::parse("{a", &columns).is_err());
    }
}
