//! Command lines: which of a program's arguments are secrets, said by the options before them.
//!
//! One reading serves arguments wherever they stand apart: lists, the `command` parameters of an exec request, and one
//! text of arguments beside the name of its program. Command lines amid other words are for expressions (see `patterns`).
//!
//! Not here: where programs and their arguments stand in a document (see `tree`).

use std::ops::Range;

use super::SecretKind;
use super::kind::{MARKER, is_marker};
use super::names::announces;

/// A program with options of its own that announce secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Clients of MySQL and MariaDB: `-pX`. By itself, `-p` asks for the password.
    Mysql,
    /// `-p X` and `-pX`, before the program that it runs.
    Sshpass,
    /// `-u name:X`, and the same for proxies.
    Curl,
    /// `-a X` and `--pass X`.
    RedisCli,
}

/// Programs that take the same options as `mysql`. The server is none: it takes no password.
const MYSQL: [&str; 23] = [
    "mysql",
    "mysqladmin",
    "mysqlanalyze",
    "mysqlbinlog",
    "mysqlcheck",
    "mysqldump",
    "mysqlimport",
    "mysqloptimize",
    "mysqlpump",
    "mysqlrepair",
    "mysqlsh",
    "mysqlshow",
    "mysqlslap",
    "mysql_upgrade",
    "mariabackup",
    "mariadb",
    "mariadb-admin",
    "mariadb-backup",
    "mariadb-binlog",
    "mariadb-check",
    "mariadb-dump",
    "mariadb-import",
    "mariadb-show",
];

impl Program {
    /// The program that a path or a name tells.
    fn of(path: &str) -> Option<Self> {
        let name = path.rsplit(['/', '\\']).next()?;
        let is = |known: &str| {
            name.get(..known.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(known))
                && matches!(name.get(known.len()..), Some("" | ".exe" | ".EXE"))
        };
        match name.as_bytes().first().map(u8::to_ascii_lowercase)? {
            b'c' => is("curl").then_some(Self::Curl),
            b's' => is("sshpass").then_some(Self::Sshpass),
            b'r' => is("redis-cli").then_some(Self::RedisCli),
            b'm' => MYSQL.iter().any(|known| is(known)).then_some(Self::Mysql),
            _ => None,
        }
    }
}

/// Some of the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Programs(u8);

impl Programs {
    /// Those that a text names: a path, a name, or a command line with them.
    pub(super) fn of(text: &str) -> Self {
        let mut all = Self::default();
        text.split_whitespace().filter_map(Program::of).for_each(|program| all.add(program));
        all
    }

    /// The one that an image is named for, which runs if nothing else is asked for.
    pub(super) fn of_image(image: &str) -> Self {
        let name = image.rsplit('/').next().unwrap_or(image);
        Self::of(name.split([':', '@']).next().unwrap_or(name))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, program: Program) -> bool {
        self.0 & Self::bit(program) != 0
    }

    pub(super) fn add(&mut self, program: Program) {
        self.0 |= Self::bit(program);
    }

    /// Both.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn bit(program: Program) -> u8 {
        1 << program as u8
    }
}

/// What an option says of the argument after it.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// All of it is a secret.
    Secret(SecretKind),
    /// What stands after the user's name and a colon is a password.
    UserPassword,
}

/// A command line that is read argument by argument.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    programs: Programs,
    next: Option<Next>,
}

impl CommandLine {
    /// The arguments of one of these programs; others may turn up among them.
    pub(super) fn of(programs: Programs) -> Self {
        Self { programs, next: None }
    }

    /// Reads an argument: where in it a secret begins, which goes on to its end, and of which kind it is.
    pub(super) fn secret(&mut self, argument: &str) -> Option<(usize, SecretKind)> {
        let announced = self.next.take();
        let attached = argument.starts_with('-').then(|| self.option(argument)).flatten();
        if let Some(program) = Program::of(argument) {
            self.programs.add(program);
        }
        let found = match announced {
            Some(Next::Secret(kind)) => Some((0, kind)),
            Some(Next::UserPassword) => password_of_user(argument, 0),
            None => attached,
        };
        found.filter(|(start, _)| argument.get(*start..).is_some_and(|secret| !secret.is_empty() && !is_marker(secret)))
    }

    /// Steps over an argument that is no text: the kind of secret that it is announced to be.
    pub(super) fn other(&mut self) -> Option<SecretKind> {
        match self.next.take() {
            Some(Next::Secret(kind)) => Some(kind),
            _ => None,
        }
    }

    /// Reads an option: what it announces, and the secret that is attached to it.
    fn option(&mut self, option: &str) -> Option<(usize, SecretKind)> {
        if let Some(kind) = announces(option) {
            self.next = Some(Next::Secret(kind));
            return None;
        }
        if let Some((name, _)) = option.split_once('=')
            && let Some(kind) = announces(name)
        {
            return Some((name.len() + 1, kind));
        }
        let password = Next::Secret(SecretKind::Password);
        if self.programs.has(Program::RedisCli) && matches!(option, "-a" | "--pass") {
            self.next = Some(password);
        } else if self.programs.has(Program::Sshpass) && ["-p", "-e", "-f", "-d"].iter().any(|o| option.starts_with(o))
        {
            // It takes one of them; what follows is for the program that it runs.
            self.programs.0 &= !Programs::bit(Program::Sshpass);
            match option.strip_prefix("-p") {
                Some("") => self.next = Some(password),
                Some(_) => return Some((2, SecretKind::Password)),
                None => {}
            }
        } else if self.programs.has(Program::Mysql) && option.len() > 2 && option.starts_with("-p") {
            return Some((2, SecretKind::Password));
        } else if self.programs.has(Program::Curl) {
            return self.curl(option);
        }
        None
    }

    fn curl(&mut self, option: &str) -> Option<(usize, SecretKind)> {
        let value = user_option(option)?;
        if value < option.len() {
            return password_of_user(option, value);
        }
        self.next = Some(Next::UserPassword);
        None
    }
}

/// Where the value of curl's option for a user begins: at its end if the next argument is it.
fn user_option(option: &str) -> Option<usize> {
    if let Some(long) = option.strip_prefix("--") {
        let name = long.split('=').next().filter(|name| matches!(*name, "user" | "proxy-user"))?;
        return Some((2 + name.len() + 1).min(option.len()));
    }
    // Short options may stand together if they take no value.
    let letters = option.strip_prefix('-')?;
    let at = letters.find(['u', 'U'])?;
    letters[..at].chars().all(|c| "#012346aBfgGiIjJkKlLMnNOpqRsSvVZ".contains(c)).then_some(1 + at + 1)
}

/// Where the password begins in `name:password`. The colon of a marker parts nothing.
fn password_of_user(argument: &str, start: usize) -> Option<(usize, SecretKind)> {
    let mut at = start;
    loop {
        let rest = argument.get(at..)?;
        let colon = rest.find(':')?;
        match rest.find(MARKER).filter(|marker| *marker < colon) {
            Some(marker) => at += marker + rest.get(marker..)?.find('>')? + 1,
            None => return Some((at + colon + 1, SecretKind::Password)),
        }
    }
}

/// Whether a word is a long option.
pub(super) fn is_option(word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The words of a text of arguments, without the quotes around them.
pub(super) fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    // Quotes without another one after them are no quotes.
    let last = |quote: char| text.rfind(quote).unwrap_or(0);
    let (last_double, last_single) = (last('"'), last('\''));
    std::iter::from_fn(move || {
        at += text.get(at..)?.find(|c: char| !c.is_whitespace())?;
        let start = at;
        let (mut quote, mut is_escaped) = (None, false);
        let mut end = text.len();
        for (offset, c) in text[start..].char_indices() {
            let here = start + offset;
            match (quote, c) {
                _ if is_escaped => is_escaped = false,
                (Some('"'), '\\') => is_escaped = true,
                (Some(open), _) => quote = Some(open).filter(|open| *open != c),
                // In the midst of a word they are what people write, not what shells read.
                (None, '"' | '\'') if here == start || text[start..].starts_with('-') => {
                    let last = if c == '"' { last_double } else { last_single };
                    quote = Some(c).filter(|_| here < last);
                }
                (None, c) if c.is_whitespace() => {
                    end = here;
                    break;
                }
                _ => {}
            }
        }
        at = end;
        let word = &text[start..end];
        let is_quoted = |q: char| word.len() > 1 && word.starts_with(q) && word.ends_with(q);
        Some(if is_quoted('"') || is_quoted('\'') { start + 1..end - 1 } else { start..end })
    })
}

/// What a key says of the value under it, where a program and its arguments stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It names the program, or is a command line that begins with it.
    Program,
    /// It names the image that a container runs.
    Image,
    /// It holds the arguments, as a list or as one text.
    Arguments,
    /// It holds either, as a list: the program, or the arguments of an entry point.
    Command,
}

/// The role of a key, with what is before its last word: `process.args` are the arguments of `process.name`.
pub(super) fn role(key: &str) -> Option<(&str, Role)> {
    const ROLES: [(&str, Role); 15] = [
        ("name", Role::Program),
        ("comm", Role::Program),
        ("exe", Role::Program),
        ("exepath", Role::Program),
        ("path", Role::Program),
        ("binary", Role::Program),
        ("executable", Role::Program),
        ("program", Role::Program),
        ("command", Role::Program),
        ("entrypoint", Role::Program),
        ("image", Role::Image),
        ("args", Role::Arguments),
        ("argv", Role::Arguments),
        ("arguments", Role::Arguments),
        ("cmd", Role::Command),
    ];
    let (stem, name) = match key.rfind(['.', '_']) {
        Some(joint) => (&key[..joint], &key[joint + 1..]),
        None => ("", key),
    };
    let known = ROLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some((stem, known.1))
}

#[cfg(test)]
mod tests;
