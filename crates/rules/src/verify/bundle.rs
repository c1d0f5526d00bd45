//! What a pack, a folder or a file holds, as text: rules, exceptions and tests with the paths they came from.
//!
//! Not here: what the rules mean, which [`RuleSet`] says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::exception::Exception;
use crate::load::{self, Context, Folder, Loaded};
use crate::pack::{PackInfo, Problem, Reading, RuleSet};
use crate::rule::Rule;
use crate::{Error, Result, starter};

/// The rules of one pack with its tests and exceptions, or those of a folder or a file that is no pack.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Name of the pack, else the path as it was given.
    pub name: String,
    /// The pack's description, if it is a pack.
    pub info: Option<PackInfo>,
    /// What is loaded for it; nothing for the pack that is built in.
    paths: Vec<PathBuf>,
    /// Whether it has a folder of correlations.
    correlates: bool,
    pub(super) rules: Vec<Text>,
    pub(super) exceptions: Vec<Text>,
    pub(super) tests: Vec<Text>,
}

/// A file and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// One document of a rule file, a mapping, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Document<'b> {
    pub(super) path: &'b Path,
    pub(super) value: Value,
}

/// An exception that was loaded, with the document that says so.
#[derive(Debug)]
pub(super) struct Excepting<'b> {
    pub(super) exception: Exception,
    pub(super) document: Document<'b>,
    pub(super) context: Context,
}

impl Bundle {
    /// The pack that comes with the library, with its tests.
    ///
    /// # Errors
    /// When its description cannot be read, which the tests of this crate exclude.
    pub fn starter() -> Result<Self> {
        let info = starter::info()?;
        let texts = |all: &[(&str, &str)]| -> Vec<Text> {
            all.iter().map(|(name, text)| Text { path: name.into(), text: (*text).to_owned() }).collect()
        };
        Ok(Self {
            name: info.name.clone(),
            info: Some(info),
            paths: Vec::new(),
            correlates: true,
            rules: texts(starter::RULES),
            exceptions: texts(starter::EXCEPTIONS),
            tests: texts(starter::TESTS),
        })
    }

    /// Reads files and folders. Each pack is a bundle of its own, wherever it lies; what else a path holds is one.
    ///
    /// # Errors
    /// When a path does not exist or cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for path in paths {
            let mut loose = Vec::new();
            let mut packs = Vec::new();
            search(path, &mut loose, &mut packs)?;
            if !loose.is_empty() || packs.is_empty() {
                all.push(Self {
                    name: path.display().to_string(),
                    info: None,
                    // An empty folder is loaded all the same, so that it is said to be empty in one way.
                    paths: if loose.is_empty() { vec![path.clone()] } else { loose.clone() },
                    correlates: false,
                    rules: loose.into_iter().map(Text::read).collect::<Result<_>>()?,
                    exceptions: Vec::new(),
                    tests: Vec::new(),
                });
            }
            for pack in packs {
                all.push(Self::pack(pack)?);
            }
        }
        Ok(all)
    }

    fn pack(folder: PathBuf) -> Result<Self> {
        let described = Text::read(folder.join("pack.toml"))?;
        // A description that cannot be read is a problem of loading.
        let info: Option<PackInfo> = PackInfo::parse(&described.text).ok();
        let texts = |part: &str| -> Result<Vec<Text>> {
            let (mut files, mut packs) = (Vec::new(), Vec::new());
            let part = folder.join(part);
            if part.is_dir() {
                search(&part, &mut files, &mut packs)?;
            }
            files.into_iter().map(Text::read).collect()
        };
        Ok(Self {
            name: info.as_ref().map_or_else(|| folder.display().to_string(), |info| info.name.clone()),
            info,
            correlates: folder.join("correlations").is_dir(),
            rules: texts("rules")?,
            exceptions: texts("exceptions")?,
            tests: texts("tests")?,
            paths: vec![folder],
        })
    }

    /// Loads the rules, and says what is wrong with them.
    ///
    /// # Errors
    /// As [`RuleSet::load`].
    pub fn load(&self, reading: Reading) -> Result<(RuleSet, Vec<Problem>)> {
        if self.paths.is_empty() {
            Ok((RuleSet::starter()?, Vec::new()))
        } else {
            RuleSet::load_as(&self.paths, reading)
        }
    }

    /// What is the same for all its documents.
    ///
    /// # Errors
    /// What is wrong with the files that say so.
    pub(super) fn context(&self, reading: Reading) -> Result<Context, String> {
        let mut loaded = Loaded::default();
        let found = match (&self.info, self.paths.first()) {
            (Some(_), Some(folder)) => load::context_of_pack(folder, reading, &mut loaded),
            _ => Context::new(reading).map(Some),
        };
        let mut context = found.map_err(|e| e.to_string())?.ok_or_else(|| {
            loaded.problems.first().map_or_else(|| "its pack does not load".to_owned(), ToString::to_string)
        })?;
        if let (Some(info), true) = (&self.info, self.paths.is_empty()) {
            context.info = info.clone();
        }
        Ok(context)
    }

    /// Its exceptions, and what is wrong with those that were left out.
    pub(super) fn excepting(&self, reading: Reading) -> (Vec<Excepting<'_>>, Vec<Problem>) {
        let (mut all, mut loaded) = (Vec::new(), Loaded::default());
        for (texts, folder) in [(&self.rules, Folder::Rules), (&self.exceptions, Folder::Exceptions)] {
            for document in texts.iter().flat_map(Text::documents) {
                if document.value.get("filter").is_none() {
                    continue;
                }
                let mut refused = |why: String| {
                    let (path, rule) = (document.path.to_owned(), document.text("title").map(str::to_owned));
                    loaded.problems.push(Problem { path, rule, why, fatal: true });
                };
                let (mut context, text) = match (self.context(reading), serde_yaml_ng::to_string(&document.value)) {
                    (Ok(context), Ok(text)) => (context, text),
                    (Err(why), _) => {
                        refused(why);
                        continue;
                    }
                    (_, Err(why)) => {
                        refused(why.to_string());
                        continue;
                    }
                };
                context.folder = folder;
                load::documents(document.path, &text, &context, &mut loaded);
                all.extend(loaded.exceptions.pop().map(|(_, exception)| Excepting { exception, document, context }));
            }
        }
        (all, loaded.problems)
    }

    /// The files of its rules, by the ids of the rules.
    pub fn files(&self) -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::new();
        for document in self.documents().iter().filter(|document| document.is_rule()) {
            let title = document.text("title").unwrap_or_default();
            let uid = document.text("id").map_or_else(|| Rule::uid_of_title(title), str::to_owned);
            // Of two with one id, the first is loaded.
            files.entry(uid).or_insert_with(|| document.path.to_owned());
        }
        files
    }

    /// Where it is, if nothing in it is loaded: no rules, no exceptions, and no correlations beside them.
    pub(super) fn emptiness(&self) -> Option<&Path> {
        let mut texts = self.rules.iter().chain(&self.exceptions);
        let is_empty = !self.correlates && texts.all(|file| load::is_blank(&file.text));
        self.paths.first().filter(|_| is_empty).map(PathBuf::as_path)
    }

    /// The rules' documents.
    pub(super) fn documents(&self) -> Vec<Document<'_>> {
        self.rules.iter().flat_map(Text::documents).collect()
    }
}

impl Text {
    fn read(path: PathBuf) -> Result<Self> {
        match fs::read(&path) {
            // Text that is not UTF-8 is a problem of loading.
            Ok(bytes) => Ok(Self { text: load::unmarked(&String::from_utf8_lossy(&bytes)).to_owned(), path }),
            Err(why) => Err(Error::Unread { path, why }),
        }
    }

    /// The mappings of the file, up to the first that is no YAML: loading says what is wrong with that.
    pub(super) fn documents(&self) -> Vec<Document<'_>> {
        let all = serde_yaml_ng::Deserializer::from_str(&self.text);
        let values = all.map(Value::deserialize).take_while(std::result::Result::is_ok).flatten();
        values.filter(Value::is_mapping).map(|value| Document { path: &self.path, value }).collect()
    }
}

impl Document<'_> {
    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value.get(key).and_then(Value::as_str)
    }

    /// Whether it is a rule over one event.
    pub(super) fn is_rule(&self) -> bool {
        self.value.get("detection").is_some_and(Value::is_mapping)
    }
}

/// Gathers rule files and the folders of packs, in the order of their paths.
fn search(path: &Path, files: &mut Vec<PathBuf>, packs: &mut Vec<PathBuf>) -> Result<()> {
    let unread = |why: std::io::Error| Error::Unread { path: path.to_owned(), why };
    if !fs::metadata(path).map_err(unread)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if path.join("pack.toml").is_file() {
        packs.push(path.to_owned());
        return Ok(());
    }
    for entry in load::entries(path)? {
        if entry.is_dir() || entry.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            search(&entry, files, packs)?;
        }
    }
    Ok(())
}
