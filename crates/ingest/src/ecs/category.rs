//! Class and activity of a document, by ECS's own words for what an event is: kind, categories and types.
//!
//! Not here: any other field's meaning.

use crate::activity::{Activity, DETECTION, DNS, FILE, HTTP, NETWORK, PROCESS};
use crate::cloudtrail::operation::{API, Operation};
use crate::json::Value;

/// OCSF account change.
const ACCOUNT_CHANGE: i32 = 3001;
/// OCSF authentication.
const AUTHENTICATION: i32 = 3002;

const OTHER: i32 = 99;

/// Words kept of each list: ECS allows few beside each other.
const WORDS_MAX: usize = 8;

/// What a document says of what it is.
#[derive(Debug, Default)]
pub(super) struct Category<'i> {
    pub(super) kind: Option<&'i str>,
    categories: [Option<&'i str>; WORDS_MAX],
    types: [Option<&'i str>; WORDS_MAX],
    pub(super) operation: Option<&'i str>,
    pub(super) method: Option<&'i str>,
    pub(super) is_dns: bool,
    pub(super) dns_type: Option<&'i str>,
    /// Verb of a request to Kubernetes.
    pub(super) verb: Option<&'i str>,
}

impl<'i> Category<'i> {
    pub(super) fn add_categories(&mut self, value: Value<'_, 'i>) {
        add(&mut self.categories, value);
    }

    pub(super) fn add_types(&mut self, value: Value<'_, 'i>) {
        add(&mut self.types, value);
    }

    /// What enforcement did.
    pub(super) fn action(&self) -> Option<&'static str> {
        match () {
            () if self.is("denied") => Some("denied"),
            () if self.is("allowed") => Some("allowed"),
            () => None,
        }
    }

    fn is(&self, kind: &str) -> bool {
        self.types.contains(&Some(kind))
    }

    /// Class and activity; those of the base class where nothing is known.
    pub(super) fn activity(&self, provider: Option<&str>) -> Activity {
        if matches!(self.kind, Some("alert" | "signal")) {
            return Activity::new(DETECTION, 1);
        }
        if let Some(verb) = self.verb {
            return Activity::new(API, of_verb(verb));
        }
        // Of several categories, one whose activity is known tells more.
        let mut general = None;
        for category in self.categories.iter().flatten() {
            match self.in_category(category) {
                Some(activity) if activity.id != OTHER => return activity,
                activity => general = general.or(activity),
            }
        }
        let request = || {
            let service = provider.filter(|provider| provider.ends_with(".amazonaws.com"))?;
            let Operation { class, activity } = Operation::of(service, self.operation?, None);
            Some(Activity::new(class, activity))
        };
        let query = || self.is_dns.then(|| self.of_dns());
        general.or_else(request).or_else(query).unwrap_or(Activity::new(0, 0))
    }

    fn in_category(&self, category: &str) -> Option<Activity> {
        Some(match category {
            "process" => Activity::new(PROCESS, self.by_type(&[("start", 1), ("end", 2)])),
            "file" => {
                let named = match self.operation {
                    Some("rename" | "renamed") => Some(5),
                    Some("open" | "opened-file") => Some(14),
                    _ => None,
                };
                let types = [("creation", 1), ("deletion", 4), ("change", 3), ("access", 2)];
                Activity::new(FILE, named.unwrap_or_else(|| self.by_type(&types)))
            }
            "network" if self.is_dns => self.of_dns(),
            "network" => {
                let types = [("denied", 5), ("start", 1), ("end", 2), ("connection", 6), ("protocol", 6)];
                Activity::new(NETWORK, self.by_type(&types))
            }
            "web" => self.method.map_or(Activity::new(HTTP, OTHER), Activity::of_method),
            "authentication" | "session" => Activity::new(AUTHENTICATION, self.by_type(&[("start", 1), ("end", 2)])),
            "iam" => Activity::new(ACCOUNT_CHANGE, self.by_type(&[("creation", 1), ("deletion", 6)])),
            "api" => {
                let types = [("creation", 1), ("access", 2), ("change", 3), ("deletion", 4)];
                Activity::new(API, self.by_type(&types))
            }
            "intrusion_detection" | "malware" | "threat" | "vulnerability" => Activity::new(DETECTION, 1),
            _ => return None,
        })
    }

    fn of_dns(&self) -> Activity {
        let id = match self.dns_type {
            Some("query") => 1,
            Some("answer") => 2,
            _ => 6,
        };
        Activity::new(DNS, id)
    }

    /// The activity of the first type that the document has.
    fn by_type(&self, types: &[(&str, i32)]) -> i32 {
        types.iter().find(|(kind, _)| self.is(kind)).map_or(OTHER, |(_, id)| *id)
    }
}

/// Whether an activity is a request to a service.
pub(super) fn is_request(activity: Activity) -> bool {
    matches!(activity.class, API | ACCOUNT_CHANGE | AUTHENTICATION)
}

/// As for Kubernetes audit events.
fn of_verb(verb: &str) -> i32 {
    match verb {
        "create" => 1,
        "get" | "list" | "watch" => 2,
        "update" | "patch" => 3,
        "delete" | "deletecollection" => 4,
        _ => OTHER,
    }
}

fn add<'i>(words: &mut [Option<&'i str>; WORDS_MAX], value: Value<'_, 'i>) {
    for word in value.text().into_iter().chain(value.items().filter_map(Value::text)) {
        if let Some(slot) = words.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(word);
        }
    }
}
