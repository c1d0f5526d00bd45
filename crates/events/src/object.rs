//! Kubernetes objects over time: an [`ObjectVersion`] is what one message showed of one object, from then on.
//!
//! Not here: how objects are read from messages (the decoders), and until when a version held, which the next one tells
//! (the views of a hunt).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::facts::{lane_columns, lane_fields, longs, texts, time_type, times};
use crate::position::Lane;
use crate::time::Micros;

/// What a message showed of a Kubernetes object: its state from `time` on, until another version follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// Lane it came on.
    pub lane: Arc<Lane>,
    /// Kafka offset, or the record's number in a file.
    pub offset: i64,
    /// Index of the event within its message.
    pub index: u32,
    /// The event that showed it.
    pub event_uid: String,
    /// Cluster that it lives in; empty if none is stated.
    pub cluster: String,
    /// From when it is so: when this state was seen.
    pub time: Micros,
    /// Whether it is there, done or gone.
    pub change: ObjectChange,
    /// Kind as in manifests, singular: `Pod`.
    pub kind: String,
    /// API group and version: `v1`, `apps/v1`.
    pub api_version: String,
    /// Namespace; `None` for what lives in none.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Uid; empty if the message has none.
    pub uid: String,
    /// The API server's mark of this state: opaque, for comparing only.
    pub resource_version: Option<String>,
    /// Counts changes of what is wanted.
    pub generation: Option<i64>,
    /// Kind of the topmost owner, as far as known: `Deployment`.
    pub workload_kind: Option<String>,
    /// Name of the topmost owner, as far as known; that of a ReplicaSet without its hash, which is its Deployment's.
    pub workload_name: Option<String>,
    /// Kind of the controller among its owners.
    pub owner_kind: Option<String>,
    /// Name of the controller among its owners.
    pub owner_name: Option<String>,
    /// Uid of the controller among its owners.
    pub owner_uid: Option<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Addresses that lead to it: of a pod, a service and its load balancer, a node; external ones too.
    pub addresses: Vec<String>,
    /// Node that a pod runs on.
    pub node: Option<String>,
    /// Service account that a pod runs as.
    pub service_account: Option<String>,
    /// Its containers and what they run.
    pub images: Vec<ObjectImage>,
}

impl Default for ObjectVersion {
    /// An object without name on a lane without name: for decoders, which fill in what a message says.
    fn default() -> Self {
        Self {
            lane: Arc::new(Lane::channel("", "")),
            offset: 0,
            index: 0,
            event_uid: String::new(),
            cluster: String::new(),
            time: 0,
            change: ObjectChange::Seen,
            kind: String::new(),
            api_version: String::new(),
            namespace: None,
            name: String::new(),
            uid: String::new(),
            resource_version: None,
            generation: None,
            workload_kind: None,
            workload_name: None,
            owner_kind: None,
            owner_name: None,
            owner_uid: None,
            labels: Vec::new(),
            addresses: Vec::new(),
            node: None,
            service_account: None,
            images: Vec::new(),
        }
    }
}

/// Whether an object is there, done or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ObjectChange {
    /// It is there, and like this.
    #[default]
    Seen,
    /// It is there, and has run to its end: nothing of it runs any more, and no address leads to it.
    Ended,
    /// It is gone; this was its last state.
    Deleted,
}

impl ObjectChange {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seen, Self::Ended, Self::Deleted];

    /// The name as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Ended => "ended",
            Self::Deleted => "deleted",
        }
    }
}

/// A container of an object, and what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ObjectImage {
    /// Name of the container.
    pub container: String,
    /// Image as it was asked for, tag included.
    pub image: String,
    /// Digest of the image that runs, as `sha256:…`.
    pub digest: Option<String>,
    /// Id of the running container, without its runtime's prefix: 64 hex digits.
    pub container_uid: Option<String>,
}

/// The schema of the objects table, without its `date` partition column.
pub fn objects_schema() -> SchemaRef {
    let must = |name: &str| Field::new(name, DataType::Utf8, false);
    let may = |name: &str| Field::new(name, DataType::Utf8, true);
    let list = |name: &str| Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), false);
    let mut fields = lane_fields();
    fields.extend([
        Field::new("message_index", DataType::Int32, false),
        must("event_uid"),
        must("cluster_name"),
        Field::new("time", time_type(), false),
        must("change"),
        must("kind"),
        must("api_version"),
        may("namespace_name"),
        must("name"),
        must("uid"),
        may("resource_version"),
        Field::new("generation", DataType::Int64, true),
        may("workload_kind"),
        may("workload_name"),
        may("owner_kind"),
        may("owner_name"),
        may("owner_uid"),
        list("labels"),
        list("addresses"),
        may("node"),
        may("service_account"),
        list("container_names"),
        list("container_images"),
        list("container_image_uids"),
        list("container_uids"),
    ]);
    Arc::new(Schema::new(fields))
}

/// Versions of objects as a record batch of [`objects_schema`]. The lists about containers have one item a container
/// each, in the same order, null where nothing is known.
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn objects_batch(objects: &[ObjectVersion]) -> crate::Result<RecordBatch> {
    let must = |get: fn(&ObjectVersion) -> &str| texts(objects.iter().map(|o| Some(get(o))));
    let may = |get: fn(&ObjectVersion) -> &Option<String>| texts(objects.iter().map(|o| get(o).as_deref()));
    let mut columns = lane_columns(objects.iter().map(|o| (o.lane.as_ref(), o.offset)));
    columns.extend([
        Arc::new(objects.iter().map(|o| Some(i32::try_from(o.index).unwrap_or(i32::MAX))).collect::<Int32Array>())
            as ArrayRef,
        must(|o| &o.event_uid),
        must(|o| &o.cluster),
        times(objects.iter().map(|o| Some(o.time))),
        must(|o| o.change.name()),
        must(|o| &o.kind),
        must(|o| &o.api_version),
        may(|o| &o.namespace),
        must(|o| &o.name),
        must(|o| &o.uid),
        may(|o| &o.resource_version),
        longs(objects.iter().map(|o| o.generation)),
        may(|o| &o.workload_kind),
        may(|o| &o.workload_name),
        may(|o| &o.owner_kind),
        may(|o| &o.owner_name),
        may(|o| &o.owner_uid),
        labels(objects),
        lists(objects, |o| &o.addresses, |address| Some(address.as_str())),
        may(|o| &o.node),
        may(|o| &o.service_account),
        lists(objects, |o| &o.images, |image| Some(image.container.as_str())),
        lists(objects, |o| &o.images, |image| Some(image.image.as_str())),
        lists(objects, |o| &o.images, |image| image.digest.as_deref()),
        lists(objects, |o| &o.images, |image| image.container_uid.as_deref()),
    ]);
    Ok(RecordBatch::try_new(objects_schema(), columns)?)
}

/// A list of text for each object: what `text` finds in its `items`.
fn lists<T>(objects: &[ObjectVersion], items: fn(&ObjectVersion) -> &Vec<T>, text: fn(&T) -> Option<&str>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for object in objects {
        for item in items(object) {
            builder.values().append_option(text(item));
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// Labels as `key=value`, a text that every reader of lists can look for.
fn labels(objects: &[ObjectVersion]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for object in objects {
        for (key, value) in &object.labels {
            builder.values().append_value(format!("{key}={value}"));
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    fn words(batch: &RecordBatch, column: &str, row: usize) -> Vec<Option<String>> {
        let list = batch.column_by_name(column).unwrap().as_list::<i32>().value(row);
        list.as_string::<i32>().iter().map(|item| item.map(str::to_owned)).collect()
    }

    #[test]
    fn a_batch_holds_each_object_in_its_row_and_each_container_at_its_place() {
        let pod = ObjectVersion {
            lane: Arc::new(Lane::kafka("inventory", "objects", 3)),
            offset: 7,
            index: 2,
            event_uid: "e".into(),
            cluster: "east".into(),
            time: 11,
            kind: "Pod".into(),
            api_version: "v1".into(),
            namespace: Some("shop".into()),
            name: "cart-7d4b9-x2x4z".into(),
            uid: "u".into(),
            generation: Some(4),
            workload_name: Some("cart".into()),
            labels: vec![("app".into(), "cart".into()), ("empty".into(), String::new())],
            addresses: vec!["10.1.0.4".into(), "fd00::4".into()],
            images: vec![
                ObjectImage { container: "cart".into(), image: "r.example/cart:1".into(), ..ObjectImage::default() },
                ObjectImage {
                    container: "proxy".into(),
                    image: "r.example/proxy:2".into(),
                    digest: Some("sha256:ab".into()),
                    container_uid: Some("cd".into()),
                },
            ],
            ..ObjectVersion::default()
        };
        let gone = ObjectVersion { change: ObjectChange::Deleted, name: "n1".into(), ..ObjectVersion::default() };
        let batch = objects_batch(&[pod, gone]).unwrap();
        assert_eq!(batch.schema(), objects_schema());
        let text = |column: &str| batch.column_by_name(column).unwrap().as_string::<i32>().clone();
        assert_eq!(text("change").iter().flatten().collect::<Vec<_>>(), ["seen", "deleted"]);
        assert_eq!(text("namespace_name").iter().collect::<Vec<_>>(), [Some("shop"), None]);
        assert_eq!(text("origin").value(0), "objects");
        let some = |items: &[&str]| items.iter().map(|item| Some((*item).to_owned())).collect::<Vec<_>>();
        for (column, expected) in [
            ("labels", some(&["app=cart", "empty="])),
            ("addresses", some(&["10.1.0.4", "fd00::4"])),
            ("container_names", some(&["cart", "proxy"])),
            ("container_images", some(&["r.example/cart:1", "r.example/proxy:2"])),
            ("container_image_uids", vec![None, Some("sha256:ab".into())]),
            ("container_uids", vec![None, Some("cd".into())]),
        ] {
            assert_eq!(words(&batch, column, 0), expected, "{column}");
            assert!(words(&batch, column, 1).is_empty(), "{column}");
        }
        assert_eq!(batch.column_by_name("generation").unwrap().null_count(), 1);
    }

    #[test]
    fn no_objects_are_a_batch_without_rows() {
        assert_eq!(objects_batch(&[]).unwrap().num_rows(), 0);
    }
}
