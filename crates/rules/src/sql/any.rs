//! `sigma_any(columns…)`: a part of a rule that no plain expression says, evaluated row by row by its own predicates.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ahash::HashSet;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef as ArrowField, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr as Sql, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use palisade_events::fields::FieldRef;
use palisade_events::schema::{AnyColumn, COLUMNS, col};
use palisade_events::{FieldColumn, FieldPlan, id, time};

use super::read;
use crate::engine::{TEXTS, WORDS, event_text};
use crate::expr::{Expr, Relation, Source};
use crate::json::fields_of_texts;
use crate::predicate::{Predicate, text_of};
use crate::text::{Case, fold};

/// The expression as a call of the function that evaluates it. It is never null.
pub(super) fn row_test(expr: &Expr) -> Sql {
    let mut columns: Vec<AnyColumn> = Vec::new();
    let mut paths: Vec<&str> = Vec::new();
    let mut is_of_event = false;
    expr.sources(&mut |source| match source {
        Source::Column(column) => columns.push(*column),
        Source::Raw(path) => paths.push(path),
        Source::Event => is_of_event = true,
    });
    if is_of_event || !paths.is_empty() {
        columns.push(AnyColumn::Text(col::RAW));
    }
    if is_of_event {
        columns.extend(TEXTS.map(AnyColumn::Text));
        columns.extend(WORDS.map(AnyColumn::Word));
    }
    columns.sort_unstable_by_key(|column| column.index());
    columns.dedup();
    let shape = Shape { columns, plan: Arc::new(FieldPlan::new(paths)), is_of_event };
    let key = format!("{expr:?}");
    let call = shape.columns.iter().map(|column| read(*column)).collect();
    let function = RowTest {
        signature: Signature::any(shape.columns.len(), Volatility::Immutable),
        digest: id::content_hash("palisade.sigma_any.v1", key.as_bytes()),
        node: Node::of(expr, &shape),
        shape,
        key,
    };
    ScalarUDF::new_from_impl(function).call(call)
}

/// What a test reads: columns are arguments, in order; then come the paths of the payload, then the whole event.
#[derive(Debug)]
struct Shape {
    columns: Vec<AnyColumn>,
    plan: Arc<FieldPlan>,
    is_of_event: bool,
}

impl Shape {
    fn place(&self, column: AnyColumn) -> Option<usize> {
        self.columns.iter().position(|own| *own == column)
    }

    /// The place of a source's values among those of all sources.
    fn place_of(&self, source: &Source) -> Option<usize> {
        match source {
            Source::Column(column) => self.place(*column),
            Source::Raw(path) => Some(self.columns.len() + self.plan.number(path)?),
            Source::Event => Some(self.columns.len() + self.plan.paths().len()),
        }
    }
}

/// An expression over places of values. A place that is not there has no values.
#[derive(Debug)]
enum Node {
    Any(Option<usize>, Tests),
    Related(Option<usize>, Relation, Case, Option<usize>),
    And(Vec<Node>),
    Or(Vec<Node>),
    AtLeast(usize, Vec<Node>),
    Not(Box<Node>),
}

impl Node {
    fn of(expr: &Expr, shape: &Shape) -> Self {
        let nodes = |all: &[Expr]| all.iter().map(|expr| Self::of(expr, shape)).collect();
        match expr {
            Expr::Any(source, tests) => Self::Any(shape.place_of(source), Tests::new(tests)),
            Expr::Related(left, relation, case, right) => {
                Self::Related(shape.place_of(left), *relation, *case, shape.place_of(right))
            }
            Expr::And(all) => Self::And(nodes(all)),
            Expr::Or(all) => Self::Or(nodes(all)),
            Expr::AtLeast(n, all) => Self::AtLeast(*n, nodes(all)),
            Expr::Not(inner) => Self::Not(Box::new(Self::of(inner, shape))),
        }
    }

    fn holds(&self, cells: &[Cells], row: usize) -> bool {
        let at = |place: &Option<usize>| place.and_then(|place| cells.get(place));
        match self {
            Self::Any(place, tests) => at(place).is_some_and(|cells| cells.any(row, |value| tests.hold(value))),
            Self::Related(left, relation, case, right) => {
                let (Some(left), Some(right)) = (at(left), at(right)) else { return false };
                let left = left.texts(row, *case);
                !left.is_empty() && relation.any(&left, &right.texts(row, *case))
            }
            Self::And(all) => all.iter().all(|node| node.holds(cells, row)),
            Self::Or(all) => all.iter().any(|node| node.holds(cells, row)),
            Self::AtLeast(n, all) => all.iter().filter(|node| node.holds(cells, row)).take(*n).count() >= *n,
            Self::Not(inner) => !inner.holds(cells, row),
        }
    }
}

/// Tests of which any may hold. What compares folded text folds a value once; whole texts are looked up.
#[derive(Debug, Default)]
struct Tests {
    exact: HashSet<Box<str>>,
    folded: HashSet<Box<str>>,
    scans: Vec<Predicate>,
    others: Vec<Predicate>,
}

impl Tests {
    fn new(tests: &[Predicate]) -> Self {
        let mut own = Self::default();
        for test in tests {
            match test {
                Predicate::Equal(Case::Exact, text) => _ = own.exact.insert(text.clone()),
                Predicate::Equal(Case::Folded, text) => _ = own.folded.insert(text.clone()),
                Predicate::Contains(Case::Folded, text) => {
                    own.scans.push(Predicate::Contains(Case::Exact, text.clone()))
                }
                Predicate::Prefix(Case::Folded, text) => own.scans.push(Predicate::Prefix(Case::Exact, text.clone())),
                Predicate::Suffix(Case::Folded, text) => own.scans.push(Predicate::Suffix(Case::Exact, text.clone())),
                other => own.others.push(other.clone()),
            }
        }
        own
    }

    fn hold(&self, value: FieldRef<'_>) -> bool {
        if self.others.iter().any(|test| test.holds(value)) {
            return true;
        }
        let Some(text) = text_of(value) else { return false };
        if self.exact.contains(text.as_ref()) {
            return true;
        }
        if self.folded.is_empty() && self.scans.is_empty() {
            return false;
        }
        let text = fold(&text);
        self.folded.contains(text.as_ref()) || self.scans.iter().any(|test| test.holds(FieldRef::Str(&text)))
    }
}

/// The values of one source over a batch.
enum Cells {
    Text(StringArray),
    Words(ListArray, StringArray),
    Time(TimestampMicrosecondArray),
    Long(Int64Array),
    Int(Int32Array),
    Flag(BooleanArray),
    Raw(FieldColumn),
    Event(Vec<String>),
}

impl Cells {
    /// Reads a column, stored as whatever can be cast to its type.
    fn of(column: AnyColumn, array: &ArrayRef) -> Result<Self> {
        // Dictionaries are for the engine; here each row is looked at once.
        let array = cast(array, &COLUMNS[column.index()].kind.stored_type())?;
        Ok(match column {
            AnyColumn::Text(_) | AnyColumn::Word(_) => Self::Text(array.as_string().clone()),
            AnyColumn::Words(_) => {
                let lists = array.as_list::<i32>().clone();
                let items = lists.values().as_string().clone();
                Self::Words(lists, items)
            }
            AnyColumn::Time(_) => Self::Time(array.as_primitive::<TimestampMicrosecondType>().clone()),
            AnyColumn::Long(_) => Self::Long(array.as_primitive::<Int64Type>().clone()),
            AnyColumn::Int(_) => Self::Int(array.as_primitive::<Int32Type>().clone()),
            AnyColumn::Flag(_) => Self::Flag(array.as_boolean().clone()),
        })
    }

    /// The texts of the row's values, folded if case does not count.
    fn texts(&self, row: usize, case: Case) -> Vec<String> {
        let mut all = Vec::new();
        self.any(row, |value| {
            all.extend(text_of(value).map(|text| case.of(&text).into_owned()));
            false
        });
        all
    }

    /// Whether a value of the row passes.
    fn any(&self, row: usize, mut passes: impl FnMut(FieldRef<'_>) -> bool) -> bool {
        match self {
            Self::Text(all) => all.is_valid(row) && passes(FieldRef::Str(all.value(row))),
            Self::Time(all) => all.is_valid(row) && passes(FieldRef::Str(&time::format_rfc3339(all.value(row)))),
            Self::Long(all) => all.is_valid(row) && passes(FieldRef::Int(all.value(row))),
            Self::Int(all) => all.is_valid(row) && passes(FieldRef::Int(all.value(row).into())),
            Self::Flag(all) => all.is_valid(row) && passes(FieldRef::Bool(all.value(row))),
            Self::Raw(all) => all.codes(row).iter().any(|code| passes(all.values()[*code as usize].as_ref())),
            Self::Event(texts) => texts.get(row).is_some_and(|text| passes(FieldRef::Str(text))),
            Self::Words(lists, items) => {
                let offsets = lists.value_offsets();
                let mut range = offsets[row] as usize..offsets[row + 1] as usize;
                lists.is_valid(row)
                    && range.any(|item| items.is_valid(item) && passes(FieldRef::Str(items.value(item))))
            }
        }
    }
}

/// The function. Two are equal if their expressions are written the same.
#[derive(Debug)]
struct RowTest {
    signature: Signature,
    shape: Shape,
    node: Node,
    key: String,
    digest: String,
}

impl PartialEq for RowTest {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RowTest {}

impl Hash for RowTest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl RowTest {
    fn cells(&self, arrays: &[ArrayRef], rows: usize) -> Result<Vec<Cells>> {
        let Shape { columns, plan, is_of_event } = &self.shape;
        let mut all: Vec<Cells> =
            columns.iter().zip(arrays).map(|(column, array)| Cells::of(*column, array)).collect::<Result<_>>()?;
        let text = |column| match self.shape.place(column).and_then(|place| all.get(place)) {
            Some(Cells::Text(text)) => Some(text),
            _ => None,
        };
        let raw = text(AnyColumn::Text(col::RAW));
        let fields = raw.filter(|_| !plan.paths().is_empty()).map(|raw| fields_of_texts(plan, raw));
        let events = is_of_event.then(|| {
            let columns = TEXTS.map(AnyColumn::Text).into_iter().chain(WORDS.map(AnyColumn::Word));
            let columns: Vec<&StringArray> = columns.filter_map(text).collect();
            let at = |column: &'_ StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
            let text = |row: usize| {
                let others: Vec<String> = columns.iter().filter_map(|column| at(column, row)).collect();
                event_text(raw.and_then(|raw| at(raw, row)).as_deref(), others.iter().map(String::as_str))
            };
            (0..rows).map(text).collect()
        });
        all.extend(fields.into_iter().flatten().map(Cells::Raw));
        all.extend(events.map(Cells::Event));
        Ok(all)
    }
}

impl ScalarUDFImpl for RowTest {
    fn name(&self) -> &str {
        "sigma_any"
    }

    /// The same arguments do not make the same test.
    fn schema_name(&self, _args: &[Sql]) -> Result<String> {
        Ok(format!("sigma_any({})", self.digest))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<ArrowField> {
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        if args.args.len() != self.shape.columns.len() {
            return internal_err!("{} takes {} columns", self.name(), self.shape.columns.len());
        }
        let arrays = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let cells = self.cells(&arrays, rows)?;
        let holds: BooleanArray = (0..rows).map(|row| Some(self.node.holds(&cells, row))).collect();
        Ok(ColumnarValue::Array(Arc::new(holds)))
    }
}
