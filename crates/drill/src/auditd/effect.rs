//! What a touch is to the kernel: which system call, with which arguments, and the paths that it walks.
//!
//! Not here: whether anybody watches (see `rules`).

use std::borrow::Cow;

use crate::act::{Access, Touch};
use crate::text::base;

/// The folder that relative paths begin at is the working one.
const AT_FDCWD: Option<u64> = Some(0xffff_ff9c);

/// What part a path plays in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Parent,
    Create,
    Delete,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Parent => "PARENT",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
        }
    }
}

pub(super) struct Effect<'t> {
    pub(super) number: u64,
    pub(super) name: &'static str,
    /// Absent where the argument is an address.
    pub(super) args: [Option<u64>; 4],
    /// What it returns when all is well.
    pub(super) exit: i64,
    pub(super) paths: Vec<(Kind, Cow<'t, str>)>,
}

impl<'t> Effect<'t> {
    /// Of a touch by a program of that name.
    pub(super) fn of(touch: &Touch<'t>, name: &str) -> Self {
        let path = touch.path;
        let at = |kind| (kind, Cow::Borrowed(path));
        let below = |path: &str| (Kind::Parent, Cow::Owned(folder(path).to_owned()));
        let effect = |number, name, args, exit, paths| Self { number, name, args, exit, paths };
        match touch.access {
            // O_RDONLY | O_CLOEXEC
            Access::Read => effect(257, "openat", [AT_FDCWD, None, Some(0x8_0000), Some(0)], 3, vec![at(Kind::Normal)]),
            // O_WRONLY | O_CREAT | O_TRUNC, as shells open what they write to.
            Access::Write | Access::Create => {
                let kind = if touch.access == Access::Create { Kind::Create } else { Kind::Normal };
                let args = [AT_FDCWD, None, Some(0x241), Some(0o666)];
                effect(257, "openat", args, 3, vec![below(path), at(kind)])
            }
            Access::Delete => {
                let args = [AT_FDCWD, None, Some(0), None];
                effect(263, "unlinkat", args, 0, vec![below(path), at(Kind::Delete)])
            }
            Access::Rename => {
                let (old, new) = renamed(touch);
                let args = [AT_FDCWD, None, AT_FDCWD, None];
                let paths = vec![below(&old), below(&new), (Kind::Delete, old), (Kind::Create, new)];
                effect(264, "renameat", args, 0, paths)
            }
            Access::Attributes if matches!(name, "chown" | "chgrp") => {
                effect(260, "fchownat", [AT_FDCWD, None, Some(0), Some(0)], 0, vec![at(Kind::Normal)])
            }
            Access::Attributes => {
                let octal = |arg: &&str| u64::from_str_radix(arg, 8).ok();
                let mode = touch.by.argv.iter().skip(1).find_map(octal).unwrap_or(0o644);
                effect(268, "fchmodat", [AT_FDCWD, None, Some(mode & 0o7777), None], 0, vec![at(Kind::Normal)])
            }
            // MS_BIND, or nothing in particular.
            Access::Mount => {
                let is_bind = touch.by.argv.iter().any(|arg| matches!(*arg, "--bind" | "--rbind" | "bind"));
                let flags = Some(if is_bind { 0x1000 } else { 0 });
                effect(165, "mount", [None, None, None, flags], 0, vec![at(Kind::Normal)])
            }
        }
    }
}

/// The old and the new path of what is renamed: the program's last arguments, if the touched path is one of them.
fn renamed<'t>(touch: &Touch<'t>) -> (Cow<'t, str>, Cow<'t, str>) {
    let path = touch.path;
    match touch.by.argv {
        [_, .., old, new] if *old == path && !new.starts_with('-') => (Cow::Borrowed(path), Cow::Borrowed(*new)),
        [_, .., old, new] if *new == path && !old.starts_with('-') => (Cow::Borrowed(*old), Cow::Borrowed(path)),
        _ => (Cow::Borrowed(path), Cow::Owned([path, ".old"].concat())),
    }
}

/// The folder of a path, with the slash that the kernel leaves at its end.
fn folder(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.len() - base(path).len() {
        0 => "./",
        length => &path[..length],
    }
}
