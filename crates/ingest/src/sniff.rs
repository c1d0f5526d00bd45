//! Telling a file's format from its first record, for when nobody said it.
//!
//! Not here: reading the file (see [`crate::file`]).

use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::file::open_content;

/// Bytes looked at: enough for a first record of usual size.
const LOOK_BYTES: u64 = 256 << 10;

/// The format of a record, by what only that format has. `None` if it is none that is known.
pub fn format_of(record: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(record);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('{') {
        if text.contains("\"auditID\"") || text.contains("audit.k8s.io") {
            return Some("k8s_audit");
        }
        let is_falco =
            text.contains("\"output_fields\"") || (text.contains("\"rule\"") && text.contains("\"priority\""));
        return is_falco.then_some("falco");
    }
    let is_auditd = (text.starts_with("type=") || text.starts_with("node=")) && text.contains("msg=audit(");
    is_auditd.then_some("auditd")
}

/// The format of a file, by its first non-empty line. `None` if it cannot be read or told.
pub fn format_of_file(path: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    open_content(path).ok()?.take(LOOK_BYTES).read_to_end(&mut head).ok()?;
    let first = head.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    format_of(first)
}

/// All files that paths name, folders included, in path order; hidden files are left out.
pub fn files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let visible = |e: &walkdir::DirEntry| e.depth() == 0 || e.file_name().as_encoded_bytes().first() != Some(&b'.');
        let found = WalkDir::new(path).follow_links(true).into_iter().filter_entry(visible).filter_map(Result::ok);
        files.extend(found.filter(|e| e.file_type().is_file()).map(|e| e.into_path()));
    }
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_what_only_they_have() {
        for (record, format) in [
            (r#"{"kind":"Event","auditID":"a","stage":"Panic"}"#, Some("k8s_audit")),
            (r#"{"output":"x","priority":"Warning","rule":"y","time":"z"}"#, Some("falco")),
            ("type=SYSCALL msg=audit(1481077308.360:529): arch=c000003e", Some("auditd")),
            ("node=n1 type=EOE msg=audit(1481077308.360:529):", Some("auditd")),
            (r#"{"some":"thing"}"#, None),
            ("a,b,c", None),
        ] {
            assert_eq!(format_of(record.as_bytes()), format, "{record}");
        }
    }
}
