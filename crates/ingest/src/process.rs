//! Processes: what their executable's path and their arguments say of them.
//!
//! Not here: which column tells of whom.

/// The last part of a path: what a process is called when only its executable is known.
pub(crate) fn name_of(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => name,
        _ => path,
    }
}

/// Writes a command line: the executable, then its arguments as they were given.
pub(crate) fn write_line<'a>(line: &mut String, executable: &str, arguments: impl IntoIterator<Item = &'a str>) {
    line.clear();
    line.push_str(executable);
    for argument in arguments {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(argument);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lines_are_those_of_the_executable() {
        for (path, name) in
            [("/usr/bin/sh", "sh"), ("sh", "sh"), ("<kernel>", "<kernel>"), ("/opt/x/", "x"), ("/", "/"), ("", "")]
        {
            assert_eq!(name_of(path), name, "{path}");
        }
        let mut line = "left over".to_owned();
        write_line(&mut line, "/bin/sh", ["-c", "id"]);
        assert_eq!(line, "/bin/sh -c id");
        write_line(&mut line, "", ["ls", "", "-l"]);
        assert_eq!(line, "ls  -l");
    }
}
