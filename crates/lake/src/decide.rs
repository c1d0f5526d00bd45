//! What became of a commit: a pure function over what was meant and what the log says.
//!
//! A put that failed may have landed; a put that found its place taken may have found itself there. So the answer rests
//! on the contents of the log (commit ids, application transactions), never on version numbers being equal.
//!
//! Not here: reading the log and putting entries ([`crate::lake`]).

use std::collections::BTreeMap;

/// What a commit is meant to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Names the commit, and is written into it. Two commits with one name are the same commit.
    pub commit_uid: String,
    /// Application id of the owner, and the epoch it holds; `None` for writers that own nothing.
    pub owner: Option<(String, i64)>,
    /// Application transactions: id and new version. The owner's own is added by the commit.
    pub txns: Vec<(String, i64)>,
}

/// What the log says since the version that the commit was built on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The version that carries our commit id.
    pub ours: Option<u64>,
    /// The newest version in the log.
    pub head: u64,
    /// The version that we tried to write.
    pub tried: u64,
    /// Newest application transactions of other commits, by application id.
    pub txns: BTreeMap<String, i64>,
    /// A change of schema, properties or protocol, in words.
    pub altered: Option<String>,
}

/// What became of a commit, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Landed {
        /// At this version.
        version: u64,
    },
    /// Another owner has taken over: stop.
    Fenced {
        /// Its epoch.
        epoch: i64,
    },
    /// Unrelated commits took the place: put it after them.
    Rebase {
        /// The newest of them.
        onto: u64,
    },
    /// The place is free still: put it there again.
    Retry,
    /// What it was built on is no longer so: reload, drop what the table has, and build it anew.
    Conflict {
        /// What changed.
        why: String,
    },
}

/// Decides what became of a commit.
///
/// ```
/// use palisade_lake::{Intent, Observed, Outcome, decide};
/// let intent = Intent { commit_uid: "job/7".into(), owner: None, txns: vec![("job/topic/0".into(), 42)] };
/// // The put was answered with a timeout, yet the log holds our commit id.
/// let observed = Observed { ours: Some(12), head: 13, tried: 12, ..Observed::default() };
/// assert_eq!(decide(&intent, &observed), Outcome::Landed { version: 12 });
/// ```
pub fn decide(intent: &Intent, observed: &Observed) -> Outcome {
    if let Some(version) = observed.ours {
        return Outcome::Landed { version };
    }
    if let Some((owner, epoch)) = &intent.owner {
        match observed.txns.get(owner) {
            Some(found) if found > epoch => return Outcome::Fenced { epoch: *found },
            // With our epoch or below it, someone writes who should have been fenced or is our double.
            Some(found) => return Outcome::Conflict { why: format!("another commit holds {owner} at epoch {found}") },
            None => {}
        }
    }
    if let Some(altered) = &observed.altered {
        return Outcome::Conflict { why: altered.clone() };
    }
    for (app_id, version) in &intent.txns {
        if let Some(found) = observed.txns.get(app_id) {
            return Outcome::Conflict { why: format!("{app_id} moved to {found} while {version} was being committed") };
        }
    }
    if observed.head >= observed.tried {
        return Outcome::Rebase { onto: observed.head };
    }
    Outcome::Retry
}

/// Decides whether a commit may be put at all, from what the table is known to have: `None` if it may.
pub(crate) fn refuse(intent: &Intent, known: &BTreeMap<String, i64>) -> Option<Outcome> {
    if let Some((owner, epoch)) = &intent.owner {
        match known.get(owner) {
            Some(found) if found > epoch => return Some(Outcome::Fenced { epoch: *found }),
            Some(found) if found == epoch => {}
            found => {
                let found = found.map_or_else(|| "no epoch".into(), |found| format!("epoch {found}"));
                return Some(Outcome::Conflict { why: format!("{owner} has {found} in the log, not {epoch}") });
            }
        }
    }
    intent.txns.iter().find_map(|(app_id, version)| {
        let found = known.get(app_id).filter(|found| *found > version)?;
        Some(Outcome::Conflict { why: format!("{app_id} is at {found} already, beyond {version}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        Intent { commit_uid: "c".into(), owner: Some(("job/owner".into(), 3)), txns: vec![("job/t/0".into(), 40)] }
    }

    fn seen(ours: Option<u64>, head: u64, txns: &[(&str, i64)], altered: Option<&str>) -> Observed {
        let txns = txns.iter().map(|(id, version)| ((*id).into(), *version)).collect();
        Observed { ours, head, tried: 11, txns, altered: altered.map(Into::into) }
    }

    #[test]
    fn every_observation_has_its_outcome() {
        let conflict = |why: &str| Outcome::Conflict { why: why.into() };
        let cases = [
            ("a put that failed and did not land", seen(None, 10, &[], None), Outcome::Retry),
            ("a timed-out put that landed", seen(Some(11), 11, &[], None), Outcome::Landed { version: 11 }),
            (
                "landed, and others came after, even a new owner",
                seen(Some(11), 14, &[("job/owner", 4)], None),
                Outcome::Landed { version: 11 },
            ),
            (
                "another writer's unrelated commit",
                seen(None, 11, &[("other/t/0", 9)], None),
                Outcome::Rebase { onto: 11 },
            ),
            ("an optimize without transactions", seen(None, 13, &[], None), Outcome::Rebase { onto: 13 }),
            ("a higher epoch", seen(None, 11, &[("job/owner", 4)], None), Outcome::Fenced { epoch: 4 }),
            (
                "a higher epoch and our partition moved",
                seen(None, 12, &[("job/owner", 5), ("job/t/0", 60)], None),
                Outcome::Fenced { epoch: 5 },
            ),
            (
                "a double with our epoch",
                seen(None, 11, &[("job/owner", 3)], None),
                conflict("another commit holds job/owner at epoch 3"),
            ),
            (
                "our partition was moved by a commit without owner",
                seen(None, 11, &[("job/t/0", 40)], None),
                conflict("job/t/0 moved to 40 while 40 was being committed"),
            ),
            (
                "txn regressed behind ours",
                seen(None, 11, &[("job/t/0", 12)], None),
                conflict("job/t/0 moved to 12 while 40 was being committed"),
            ),
            ("the schema changed", seen(None, 11, &[], Some("columns changed")), conflict("columns changed")),
        ];
        for (name, observed, expected) in cases {
            assert_eq!(decide(&intent(), &observed), expected, "{name}");
        }
    }

    #[test]
    fn a_writer_that_owns_nothing_goes_after_any_owner() {
        let intent = Intent { commit_uid: "d".into(), owner: None, txns: Vec::new() };
        let observed = seen(None, 12, &[("job/owner", 9), ("job/t/0", 50)], None);
        assert_eq!(decide(&intent, &observed), Outcome::Rebase { onto: 12 });
    }

    #[test]
    fn a_stale_intent_is_refused_before_it_is_put() {
        let known = |pairs: &[(&str, i64)]| pairs.iter().map(|(id, v)| ((*id).into(), *v)).collect();
        assert_eq!(refuse(&intent(), &known(&[("job/owner", 3), ("job/t/0", 40)])), None);
        assert_eq!(refuse(&intent(), &known(&[("job/owner", 4)])), Some(Outcome::Fenced { epoch: 4 }));
        for pairs in [&[("job/owner", 3), ("job/t/0", 41)][..], &[("job/owner", 2)], &[]] {
            let refused = refuse(&intent(), &known(pairs));
            assert!(matches!(refused, Some(Outcome::Conflict { .. })), "{pairs:?}: {refused:?}");
        }
    }
}
