//! Columns by the names that a public schema gives them: each column is read from its own path in the schema, nested or
//! spelled with dots, and a format adds which other paths tell the same.
//!
//! Not here: which paths those are, and what only one schema spells its own way (see [`Notes`]).

use std::borrow::Cow;

use palisade_events::entity::workload_of_pod;
use palisade_events::fields::FieldRef;
use palisade_events::schema::{AnyColumn, COLUMNS, Column, Int, Text, Time, Word, Words};
use palisade_events::{EventBuilder, FieldPlan, col};

pub(crate) use self::values::{direction, first, moment};
use self::values::{integer, put, says_something, spelled};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::network::Connection;
use crate::put::dns_name;
use crate::zone::Zone;

mod values;

/// Values held back until a document is read; schemas have some dozens of paths that are.
const LATE_MAX: usize = 1024;

/// What only the driver knows of a row, or the format itself decides.
const NOT_READ: [&str; 20] = [
    "event_uid",
    "time",
    "time_original",
    "class_uid",
    "activity_id",
    "source",
    "format",
    "origin",
    "partition",
    "record_offset",
    "line",
    "message_index",
    "metadata_logged_time",
    "record_key",
    "lane_max_before",
    "late",
    "records",
    "redacted",
    "truncated",
    "raw",
];

/// Beginnings of the names of columns that tell of one thing together: a process is not pieced together from two.
const THINGS: [&str; 8] = [
    "process_parent_",
    "process_user_",
    "process_",
    "container_",
    "src_endpoint_",
    "dst_endpoint_",
    "actor_user_",
    "resource_",
];

/// What is at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning<N> {
    /// Fills a column, unless a path of lower rank does; values of rank 0 fill it at once.
    Fills(AnyColumn, u8),
    /// Belongs to something that stands this far from what the column is about: it fills the column if nothing nearer
    /// says anything of that.
    Implies(AnyColumn, u8),
    /// All beneath is read as what is beneath another path, from this far. Of a list, only the first member is.
    Reads(&'static str, u8),
    /// The format itself reads it.
    Note(N),
}

impl<N> Meaning<N> {
    /// Another spelling of a word, of this rank.
    pub(crate) fn word(column: Word, rank: u8) -> Self {
        Self::Fills(AnyColumn::Word(column), rank)
    }

    /// Another spelling of a text.
    pub(crate) fn text(column: Text, rank: u8) -> Self {
        Self::Fills(AnyColumn::Text(column), rank)
    }

    /// Another spelling of words; those of rank 0 from all paths are one list.
    pub(crate) fn words(column: Words, rank: u8) -> Self {
        Self::Fills(AnyColumn::Words(column), rank)
    }

    /// Another spelling of a number.
    pub(crate) fn int(column: Int, rank: u8) -> Self {
        Self::Fills(AnyColumn::Int(column), rank)
    }

    /// Another spelling of a time.
    pub(crate) fn time(column: Time, rank: u8) -> Self {
        Self::Fills(AnyColumn::Time(column), rank)
    }

    /// A word that something else tells, from this far.
    pub(crate) fn implied(column: Word, distance: u8) -> Self {
        Self::Implies(AnyColumn::Word(column), distance)
    }
}

/// What documents of a schema hold where.
#[derive(Debug)]
pub(crate) struct Names<N> {
    paths: FieldPlan,
    /// By path number.
    steps: Vec<Vec<Step<N>>>,
}

#[derive(Clone, Copy, Debug)]
enum Step<N> {
    Now(Target),
    Late(Target, u8, u8),
    Jump { node: usize, distance: u8 },
    Note(N),
}

#[derive(Clone, Copy, Debug)]
struct Target {
    column: AnyColumn,
    /// Index in [`THINGS`].
    thing: Option<usize>,
}

impl Target {
    fn of(column: AnyColumn) -> Self {
        let name = match COLUMNS.get(column.index()) {
            // Whose parent it is decides whose ancestors they are.
            Some(column) if column.name == col::PROCESS_ANCESTORS.name() => col::PARENT_PROCESS_NAME.name(),
            Some(column) => column.name,
            None => "",
        };
        Self { column, thing: THINGS.iter().position(|thing| name.starts_with(thing)) }
    }

    /// Whether several values decide together what becomes of this one.
    fn is_held(self) -> bool {
        match self.column {
            AnyColumn::Words(_) => true,
            AnyColumn::Word(word) => [
                col::SRC_ENDPOINT_IP,
                col::DST_ENDPOINT_IP,
                col::CONNECTION_PROTOCOL,
                col::CONTAINER_IMAGE_NAME,
                col::ACTOR_USER_NAME,
                col::POD_NAME,
                col::RESOURCE_TYPE,
            ]
            .contains(&word),
            AnyColumn::Int(int) => [col::SRC_ENDPOINT_PORT, col::DST_ENDPOINT_PORT].contains(&int),
            AnyColumn::Text(text) => text == col::RESOURCE_NAME,
            _ => false,
        }
    }
}

impl<N: Copy> Names<N> {
    /// Columns at their own paths, `instead` of which some paths mean something else, and paths of the format's own
    /// `besides`.
    pub(crate) fn new(
        path_of: fn(&Column) -> &'static str,
        instead: &[(&'static str, Meaning<N>)],
        besides: &[(&'static str, Meaning<N>)],
    ) -> Self {
        let mut wanted: Vec<(&'static str, Meaning<N>)> = Vec::new();
        for column in COLUMNS {
            let path = path_of(column);
            let is_other = instead.iter().any(|(other, _)| *other == path);
            if !path.is_empty() && !is_other && !NOT_READ.contains(&column.name) {
                wanted.extend(AnyColumn::named(column.name).map(|handle| (path, Meaning::Fills(handle, 0))));
            }
        }
        wanted.extend(instead.iter().chain(besides).copied());
        let paths = FieldPlan::new(wanted.iter().map(|(path, _)| *path));
        let mut steps = vec![Vec::new(); paths.paths().len()];
        for (path, meaning) in wanted {
            let step = match meaning {
                Meaning::Fills(column, rank) => {
                    let target = Target::of(column);
                    if rank == 0 && !target.is_held() {
                        Some(Step::Now(target))
                    } else {
                        Some(Step::Late(target, 0, rank))
                    }
                }
                Meaning::Implies(column, distance) => Some(Step::Late(Target::of(column), distance, 0)),
                Meaning::Reads(other, distance) => node_at(&paths, other).map(|node| Step::Jump { node, distance }),
                Meaning::Note(note) => Some(Step::Note(note)),
            };
            if let Some(number) = paths.number(path)
                && let Some(of_path) = steps.get_mut(number)
            {
                of_path.extend(step);
            }
        }
        Self { paths, steps }
    }
}

/// The node beneath a path; that of the root for an empty one.
fn node_at(paths: &FieldPlan, path: &str) -> Option<usize> {
    let tree = paths.tree();
    let mut node = tree.root()?;
    for key in path.split('.').filter(|key| !key.is_empty()) {
        node = tree.step(node, key)?.child?;
    }
    Some(node)
}

/// Where in a document a value is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    node: usize,
    /// How far what is here stands from what the event is about.
    pub(crate) distance: u8,
    /// How often it was led elsewhere: a list's values are in this order.
    depth: u8,
}

impl Place {
    /// The same, standing so much further off.
    pub(crate) fn further(self, by: u8) -> Self {
        Self { distance: self.distance.saturating_add(by), ..self }
    }
}

/// What a format reads by itself.
pub(crate) trait Notes<'i> {
    /// Names such a value.
    type Note: Copy;

    /// Takes a value.
    fn note(
        &mut self,
        note: Self::Note,
        place: Place,
        value: Value<'_, 'i>,
        late: &mut Late<'i>,
        row: &mut EventBuilder,
    );
}

/// Reads one document.
pub(crate) struct Named<'n, 'i, F: Notes<'i>> {
    names: &'n Names<F::Note>,
    /// What the format itself noticed.
    pub(crate) notes: F,
    late: Late<'i>,
}

impl<'n, 'i, F: Notes<'i>> Named<'n, 'i, F> {
    pub(crate) fn new(names: &'n Names<F::Note>, notes: F, zone: Zone, list_items_max: usize) -> Self {
        let late = Late {
            zone,
            list_items_max,
            scalars: Vec::new(),
            words: Vec::new(),
            nearest: [None; THINGS.len()],
            cut: false,
        };
        Self { names, notes, late }
    }

    /// The place of the document's root.
    pub(crate) fn root(&self) -> Place {
        Place { node: self.names.paths.tree().root().unwrap_or(0), distance: 0, depth: 0 }
    }

    /// Fills what was held back and what follows from it; tells whether something was cut off.
    pub(crate) fn finish(self, row: &mut EventBuilder) -> (F, bool) {
        let Self { notes, mut late, .. } = self;
        late.put_all(row);
        (notes, late.cut)
    }

    fn beneath(&mut self, place: Place, value: Value<'_, 'i>, row: &mut EventBuilder) {
        for (key, inner) in value.entries() {
            let Some(place) = self.key(place, key, inner, row) else { continue };
            self.beneath(place, inner, row);
            for item in inner.items() {
                self.beneath(place, item, row);
            }
        }
    }
}

impl<'i, F: Notes<'i>> Columns<'i> for Named<'_, 'i, F> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        let names = self.names;
        let found = names.paths.tree().step(place.node, key)?;
        let mut is_elsewhere = false;
        for step in found.leaves.iter().filter_map(|&path| names.steps.get(path)).flatten() {
            match *step {
                Step::Now(target) if place.distance == 0 => {
                    let value = first(value);
                    if says_something(value) {
                        self.late.see(target, 0);
                        put(target.column, value, self.late.zone, row);
                    }
                }
                Step::Now(target) => self.late.take(target, place, 0, value),
                Step::Late(target, distance, rank) => {
                    self.late.take(target, place.further(distance), rank, value);
                }
                Step::Jump { node, distance } => {
                    is_elsewhere = true;
                    let there = Place { node, depth: place.depth.saturating_add(1), ..place.further(distance) };
                    self.beneath(there, value.items().next().unwrap_or(value), row);
                }
                Step::Note(note) => self.notes.note(note, place, value, &mut self.late, row),
            }
        }
        found.child.filter(|_| !is_elsewhere).map(|node| Place { node, ..place })
    }
}

/// What is held back until a document is read: the nearest and best of several values fills a column.
#[derive(Debug)]
pub(crate) struct Late<'i> {
    zone: Zone,
    list_items_max: usize,
    scalars: Vec<Scalar<'i>>,
    words: Vec<Item<'i>>,
    /// By thing: how far the nearest one stands that anything was said of.
    nearest: [Option<u8>; THINGS.len()],
    /// Whether a bound cut something off.
    pub(crate) cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Scalar<'i> {
    target: Target,
    distance: u8,
    rank: u8,
    value: FieldRef<'i>,
}

#[derive(Debug)]
struct Item<'i> {
    column: Words,
    distance: u8,
    rank: u8,
    depth: u8,
    text: Cow<'i, str>,
}

impl<'i> Late<'i> {
    fn see(&mut self, target: Target, distance: u8) {
        if let Some(thing) = target.thing
            && let Some(nearest) = self.nearest.get_mut(thing)
        {
            *nearest = Some(nearest.map_or(distance, |known| known.min(distance)));
        }
    }

    fn take(&mut self, target: Target, place: Place, rank: u8, value: Value<'_, 'i>) {
        let AnyColumn::Words(column) = target.column else {
            return self.offer_to(target, place.distance, rank, first(value));
        };
        if value.is_array() {
            for item in value.items().take(self.list_items_max + 1) {
                self.offer_item(column, place, rank, item);
            }
        } else {
            self.offer_item(column, place, rank, value);
        }
    }

    fn offer_item(&mut self, column: Words, place: Place, rank: u8, value: Value<'_, 'i>) {
        if let Some(text) = spelled(value.scalar()) {
            self.offer_word(column, place, rank, text);
        }
    }

    /// Adds to a list, after what stands in the same place.
    pub(crate) fn offer_word(&mut self, column: Words, place: Place, rank: u8, text: Cow<'i, str>) {
        // Several lists share the bound, each is cut to its own.
        if self.words.len() > self.list_items_max.saturating_mul(4) {
            self.cut = true;
        } else {
            let Place { distance, depth, .. } = place;
            self.words.push(Item { column, distance, rank, depth, text });
        }
    }

    /// Offers a value to a column.
    pub(crate) fn offer(&mut self, column: AnyColumn, place: Place, rank: u8, value: FieldRef<'i>) {
        self.offer_to(Target::of(column), place.distance, rank, value);
    }

    fn offer_to(&mut self, target: Target, distance: u8, rank: u8, value: FieldRef<'i>) {
        if !says_something(value) {
            return;
        }
        if self.scalars.len() >= LATE_MAX {
            self.cut = true;
        } else {
            self.scalars.push(Scalar { target, distance, rank, value });
        }
    }

    fn put_all(&mut self, row: &mut EventBuilder) {
        let mut scalars = std::mem::take(&mut self.scalars);
        scalars.sort_by_key(|scalar| (scalar.distance, scalar.rank));
        let mut held = Held::default();
        for Scalar { target, distance, value, .. } in scalars {
            let nearest = target.thing.and_then(|thing| self.nearest.get(thing).copied().flatten());
            if nearest.is_some_and(|nearest| nearest < distance) {
                continue;
            }
            self.see(target, distance);
            if target.is_held() {
                held.keep(target.column, value);
                continue;
            }
            match (target.column, value) {
                (AnyColumn::Word(column), FieldRef::Str(name)) if column == col::DNS_QUERY => {
                    dns_name(row, column, name);
                }
                (column, value) => put(column, value, self.zone, row),
            }
        }
        held.put(row);
        self.put_words(row);
    }

    fn put_words(&mut self, row: &mut EventBuilder) {
        let mut words = std::mem::take(&mut self.words);
        words.sort_by_key(|item| (item.column.index(), item.distance, item.rank, item.depth));
        for list in words.chunk_by(|a, b| a.column == b.column) {
            let Some(best) = list.first() else { continue };
            let thing = Target::of(AnyColumn::Words(best.column)).thing;
            let nearest = thing.and_then(|thing| self.nearest.get(thing).copied().flatten());
            if nearest.is_some_and(|nearest| nearest < best.distance) {
                continue;
            }
            let of_best = || list.iter().filter(|item| (item.distance, item.rank) == (best.distance, best.rank));
            row.put_words(best.column, of_best().map(|item| &*item.text).take(self.list_items_max));
            self.cut |= of_best().nth(self.list_items_max).is_some();
        }
    }
}

/// Values that decide together what they fill.
#[derive(Default)]
struct Held<'i> {
    src_ip: Option<&'i str>,
    src_port: Option<u16>,
    dst_ip: Option<&'i str>,
    dst_port: Option<u16>,
    protocol: Option<Cow<'i, str>>,
    image: Option<&'i str>,
    user: Option<Cow<'i, str>>,
    pod: Option<&'i str>,
    resource: Option<&'i str>,
    resource_name: Option<Cow<'i, str>>,
}

impl<'i> Held<'i> {
    fn keep(&mut self, column: AnyColumn, value: FieldRef<'i>) {
        let text = || match value {
            FieldRef::Str(text) => Some(text),
            _ => None,
        };
        let port = || integer(value).and_then(|port| u16::try_from(port).ok());
        match column {
            AnyColumn::Int(int) if int == col::SRC_ENDPOINT_PORT => self.src_port = self.src_port.or_else(port),
            AnyColumn::Int(_) => self.dst_port = self.dst_port.or_else(port),
            AnyColumn::Text(_) => keep_first(&mut self.resource_name, value),
            AnyColumn::Word(word) if word == col::SRC_ENDPOINT_IP => self.src_ip = self.src_ip.or_else(text),
            AnyColumn::Word(word) if word == col::DST_ENDPOINT_IP => self.dst_ip = self.dst_ip.or_else(text),
            AnyColumn::Word(word) if word == col::CONTAINER_IMAGE_NAME => self.image = self.image.or_else(text),
            AnyColumn::Word(word) if word == col::POD_NAME => self.pod = self.pod.or_else(text),
            AnyColumn::Word(word) if word == col::RESOURCE_TYPE => self.resource = self.resource.or_else(text),
            AnyColumn::Word(word) if word == col::CONNECTION_PROTOCOL => keep_first(&mut self.protocol, value),
            AnyColumn::Word(word) if word == col::ACTOR_USER_NAME => keep_first(&mut self.user, value),
            _ => {}
        }
    }

    fn put(self, row: &mut EventBuilder) {
        let Self { src_ip, src_port, dst_ip, dst_port, ref protocol, .. } = self;
        Connection { src_ip, src_port, dst_ip, dst_port, protocol: protocol.as_deref() }.put(row);
        if let Some(image) = self.image {
            Image::parse(image).put(row);
        }
        if let Some(user) = &self.user {
            row.put_word(col::ACTOR_USER_NAME, user);
            let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            if let Some((namespace, name)) = account {
                row.put_word(col::ACTOR_SERVICE_ACCOUNT, &format!("{namespace}/{name}"));
            }
        }
        let name = self.resource_name.as_deref();
        if let Some(resource) = self.resource {
            row.put_word(col::RESOURCE_TYPE, resource);
        }
        if let Some(name) = name {
            row.put_text(col::RESOURCE_NAME, name);
        }
        let mut pod = self.pod;
        match (self.resource.unwrap_or_default(), name) {
            ("pods" | "pod", Some(name)) => pod = pod.or(Some(name)),
            ("namespaces" | "namespace", Some(name)) => row.put_word(col::NAMESPACE_NAME, name),
            (
                "deployments"
                | "daemonsets"
                | "statefulsets"
                | "replicasets"
                | "jobs"
                | "cronjobs"
                | "replicationcontrollers",
                Some(name),
            ) => row.put_word(col::WORKLOAD_NAME, name),
            _ => {}
        }
        if let Some(pod) = pod {
            row.put_word(col::POD_NAME, pod);
            row.put_word(col::WORKLOAD_NAME, workload_of_pod(pod));
        }
    }
}

fn keep_first<'i>(slot: &mut Option<Cow<'i, str>>, value: FieldRef<'i>) {
    if slot.is_none() {
        *slot = spelled(value);
    }
}
