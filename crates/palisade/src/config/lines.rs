//! Where a key stands in a configuration file, and which key stands in a line: for errors that name both.

/// Lines, from 1, with the full name of the key or table that begins there: `lake.url`, `source[0].topics`.
fn keys(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut lists: Vec<(String, usize)> = Vec::new();
    let mut table = String::new();
    text.lines().enumerate().filter_map(move |(number, line)| {
        let line = line.trim();
        let header = |open: &str, close: &str| Some(line.strip_prefix(open)?.split(close).next()?.trim().to_owned());
        if let Some(name) = header("[[", "]]") {
            let index = match lists.iter_mut().find(|(list, _)| *list == name) {
                Some((_, last)) => {
                    *last += 1;
                    *last
                }
                None => {
                    lists.push((name.clone(), 0));
                    0
                }
            };
            table = format!("{name}[{index}]");
            return Some((number + 1, table.clone()));
        }
        if let Some(name) = header("[", "]").filter(|_| !line.contains('=')) {
            let (first, rest) = name.split_once('.').map_or((name.as_str(), None), |(first, rest)| (first, Some(rest)));
            let list = lists.iter().find(|(list, _)| list == first);
            table = match (list, rest) {
                (Some((list, index)), Some(rest)) => format!("{list}[{index}].{rest}"),
                _ => name.clone(),
            };
            return Some((number + 1, table.clone()));
        }
        let key = line.split_once('=')?.0.trim().trim_matches(['"', '\'']);
        let is_key = !key.is_empty() && !key.contains([' ', '#', '{', '[', ',']);
        is_key.then(|| (number + 1, if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }))
    })
}

/// The line, from 1, in which a byte lies.
pub(super) fn line_of_byte(text: &str, at: usize) -> Option<usize> {
    (at <= text.len()).then(|| text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1)
}

/// The full name of what begins in a line.
pub(super) fn key_in_line(text: &str, line: usize) -> Option<String> {
    keys(text).find(|(number, _)| *number == line).map(|(_, key)| key)
}

/// The line of a key.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    keys(text).find(|(_, found)| found == key).map(|(line, _)| line)
}

/// The line of a key; of the table that should have it where it is missing.
pub(super) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    line_of(text, key).or_else(|| line_of_key(text, key.rsplit_once('.')?.0))
}
