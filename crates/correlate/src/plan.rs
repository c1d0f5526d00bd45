//! From SQL to a plan, and from the plan to what must be kept of each event.
//!
//! Refused, since they would make stream and history differ: functions that are not immutable, LIMIT, DISTINCT ON,
//! window functions and ordered aggregates without a total order (one that `event_uid` ends ties of), tables other than
//! `events`, and anything but a query.
//!
//! Kept rows: DataFusion pushes to each scan of `events` the filters that every row of that scan must pass. A row that
//! passes those of no scan cannot matter to the query. A filter counts only where it is a function of the row alone;
//! one with a subquery, an outer reference or a placeholder counts as TRUE. Leaving a filter out keeps more rows, never
//! fewer, and the whole query runs again over what was kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, TableReference};
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::expr::{AggregateFunctionParams, Sort, WindowFunctionDefinition};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use palisade_events::EntityKind;
use palisade_events::finding::ENTITY_COLUMNS;
use palisade_events::schema::COLUMNS;

use crate::table::{self, WindowTable};

/// The name of the table.
pub(crate) const TABLE: &str = "events";

/// Columns kept whatever the query: order, identity and position of the evidence. Those that name its entities are too
/// ([`ENTITY_COLUMNS`]).
const ALWAYS: [&str; 7] = ["event_uid", "time", "source", "origin", "partition", "record_offset", "line"];

/// Memory that one run of a query may use.
const MEMORY_BYTES_MAX: usize = 512 << 20;

/// Aggregates whose result depends on the order of their rows.
const ORDERED_AGGREGATES: [&str; 5] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// A query that was checked, and what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Columns of the result.
    pub(crate) result: Arc<DFSchema>,
    /// Which rows are kept; `None` keeps all.
    pub(crate) keep: Option<Expr>,
    /// Which columns are kept, ascending.
    pub(crate) kept: Vec<usize>,
}

impl Plan {
    pub(crate) fn result_columns(&self) -> Vec<String> {
        self.result.fields().iter().map(|f| f.name().clone()).collect()
    }

    pub(crate) fn kept_columns(&self) -> Vec<&'static str> {
        self.kept.iter().map(|&c| COLUMNS[c].name).collect()
    }
}

/// A session in which queries run: one partition, so that order is fixed, and nothing but the one table.
pub(crate) fn session(table: Arc<WindowTable>) -> Result<SessionState, DataFusionError> {
    // A plan whose operators hand filters to one another while they run could not run again.
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_information_schema(false)
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES_MAX, 1.0).build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    context.register_table(TABLE, table)?;
    Ok(context.state())
}

/// The optimised plan of a checked query. Planning over a table in memory never waits, so any executor will do.
pub(crate) fn optimised(state: &SessionState, sql: &str) -> Result<LogicalPlan, DataFusionError> {
    state.optimize(&futures::executor::block_on(state.create_logical_plan(sql))?)
}

/// Checks a query.
pub(crate) fn compile(sql: &str) -> Result<Plan, String> {
    let say = |e: DataFusionError| e.strip_backtrace();
    let state = session(Arc::default()).map_err(say)?;
    let plan = futures::executor::block_on(state.create_logical_plan(sql))
        .map_err(|e| unknown_table(&e).unwrap_or_else(|| say(e)))?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|e| format!("only a query is possible here: {}", say(e)))?;
    check(&plan)?;
    check_result(plan.schema())?;
    check_kinds(&plan)?;
    let optimised = state.optimize(&plan).map_err(say)?;
    // What DataFusion cannot run shows here, not at the first event.
    futures::executor::block_on(state.query_planner().create_physical_plan(&optimised, &state)).map_err(say)?;
    let (keep, kept) = retention(&optimised)?;
    Ok(Plan { result: Arc::clone(plan.schema()), keep, kept })
}

fn unknown_table(error: &DataFusionError) -> Option<String> {
    let text = error.strip_backtrace();
    let (_, rest) = text.split_once("table '")?;
    let (name, rest) = rest.split_once('\'')?;
    let name = name.rsplit('.').next().unwrap_or(name);
    rest.contains("not found").then(|| format!("there is no table `{name}`: a correlation reads `{TABLE}` alone"))
}

fn check(plan: &LogicalPlan) -> Result<(), String> {
    let mut problem = None;
    let walked = plan.apply_with_subqueries(|node| {
        problem = node_problem(node);
        if problem.is_none() {
            let inputs = node.inputs();
            node.apply_expressions(|expr| {
                expr.apply(|e| {
                    problem = expr_problem(e, &inputs);
                    Ok(if problem.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
                })
            })?;
        }
        Ok(if problem.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (problem, walked) {
        (Some(problem), _) => Err(problem),
        (None, Err(e)) => Err(e.strip_backtrace()),
        (None, Ok(_)) => Ok(()),
    }
}

fn node_problem(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::TableScan(scan) if scan.table_name.table() != TABLE => {
            Some(format!("`{}` is not the table `{TABLE}`, which a correlation reads alone", scan.table_name))
        }
        LogicalPlan::TableScan(scan) if scan.fetch.is_some() => Some("LIMIT needs a total order".into()),
        LogicalPlan::Limit(limit) if !is_ordered(&limit.input) => {
            Some("LIMIT needs an ORDER BY that ends in `event_uid`, or which rows remain is left open".into())
        }
        LogicalPlan::Distinct(Distinct::On(on))
            if !on.sort_expr.as_deref().is_some_and(|order| is_total(order, &[&on.input])) =>
        {
            Some("DISTINCT ON needs an ORDER BY that ends in `event_uid`, or which rows remain is left open".into())
        }
        LogicalPlan::RecursiveQuery(_) => Some("recursive queries have no bound".into()),
        LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            Some("only a query is possible here".into())
        }
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => {
            Some("only a query is possible here".into())
        }
        LogicalPlan::Extension(_) => Some("extension nodes are not known here".into()),
        _ => None,
    }
}

fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(sort) => is_total(&sort.expr, &[&sort.input]),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().iter().all(|input| is_ordered(input))
        }
        _ => false,
    }
}

/// Whether an order over some inputs leaves no ties between events.
fn is_total(order: &[Sort], inputs: &[&LogicalPlan]) -> bool {
    order.iter().any(|sort| inputs.iter().any(|input| is_event_uid(&sort.expr, input)))
}

/// Whether an expression is an event's id, whatever it is called on the way.
fn is_event_uid(expr: &Expr, input: &LogicalPlan) -> bool {
    match (expr, input) {
        (Expr::Alias(alias), _) => is_event_uid(&alias.expr, input),
        (Expr::Column(column), LogicalPlan::Projection(projection)) => {
            let named = projection.expr.iter().find(|e| e.qualified_name().1 == column.name);
            named.is_some_and(|expr| is_event_uid(expr, &projection.input))
        }
        (Expr::Column(_), LogicalPlan::SubqueryAlias(alias)) => is_event_uid(expr, &alias.input),
        (Expr::Column(_), LogicalPlan::Sort(sort)) => is_event_uid(expr, &sort.input),
        (Expr::Column(_), LogicalPlan::Filter(filter)) => is_event_uid(expr, &filter.input),
        (Expr::Column(column), _) => column.name == "event_uid",
        _ => false,
    }
}

fn expr_problem(expr: &Expr, inputs: &[&LogicalPlan]) -> Option<String> {
    let changing = |name: &str, volatility: Volatility| match volatility {
        Volatility::Immutable => None,
        Volatility::Stable => {
            Some(format!("`{name}` gives another result at another time: compare with `time` instead"))
        }
        Volatility::Volatile => Some(format!("`{name}` gives another result at each call")),
    };
    match expr {
        Expr::ScalarFunction(call) => changing(call.func.name(), call.func.signature().volatility),
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
            Some("functions that take functions are not known here".into())
        }
        Expr::AggregateFunction(call) => changing(call.func.name(), call.func.signature().volatility)
            .or_else(|| unordered(call.func.name(), &call.params, inputs)),
        Expr::WindowFunction(call) => {
            let name = call.fun.name().to_owned();
            let plain = matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(_))
                && !ORDERED_AGGREGATES.contains(&name.as_str())
                && call.params.order_by.is_empty();
            changing(&name, call.fun.signature().volatility).or_else(|| {
                (!plain && !is_total(&call.params.order_by, inputs))
                    .then(|| format!("window function `{name}` needs an ORDER BY that ends in `event_uid`"))
            })
        }
        Expr::Placeholder(_) => Some("placeholders have no value here".into()),
        Expr::ScalarVariable(..) => Some("variables have no value here".into()),
        _ => None,
    }
}

fn unordered(name: &str, params: &AggregateFunctionParams, inputs: &[&LogicalPlan]) -> Option<String> {
    if !ORDERED_AGGREGATES.contains(&name) || is_total(&params.order_by, inputs) {
        return None;
    }
    // Distinct values in their own order have no ties.
    let by_itself =
        params.distinct && params.order_by.first().is_some_and(|sort| params.args.first() == Some(&sort.expr));
    (!by_itself).then(|| format!("`{name}` needs an ORDER BY that ends in `event_uid`, or its order is left open"))
}

fn check_result(schema: &DFSchema) -> Result<(), String> {
    let is_text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let find = |name: &str| schema.fields().iter().find(|f| f.name() == name).map(|f| f.data_type().clone());
    for name in ["entity_kind", "entity_name"] {
        if find(name).is_none() {
            return Err(format!("the result has no column `{name}`: which entity is a row about?"));
        }
    }
    for name in ["entity_kind", "entity_name", "cluster_name", "namespace_name"] {
        if let Some(found) = find(name).filter(|t| !is_text(t)) {
            return Err(format!("result column `{name}` is {found}, not text"));
        }
    }
    for name in ["first_seen", "last_seen"] {
        if let Some(found) = find(name).filter(|t| !matches!(t, DataType::Timestamp(TimeUnit::Microsecond, _))) {
            return Err(format!("result column `{name}` is {found}, not a time like that of events"));
        }
    }
    if let Some(found) = find("count").filter(|t| !t.is_integer()) {
        return Err(format!("result column `count` is {found}, not an integer"));
    }
    let is_list =
        |t: &DataType| matches!(t, DataType::List(item) | DataType::LargeList(item) if is_text(item.data_type()));
    if let Some(found) = find("evidence").filter(|t| !is_list(t)) {
        return Err(format!("result column `evidence` is {found}, not a list of event ids"));
    }
    let mut names = BTreeSet::new();
    match schema.fields().iter().find(|f| !names.insert(f.name().as_str())) {
        Some(twice) => Err(format!("the result has two columns `{}`", twice.name())),
        None => Ok(()),
    }
}

/// Refuses kinds of entities that are written out and unknown: nothing would ever be found.
fn check_kinds(plan: &LogicalPlan) -> Result<(), String> {
    let Some(column) = plan.schema().index_of_column_by_name(None, "entity_kind") else { return Ok(()) };
    match literals(plan, column).into_iter().find(|kind| EntityKind::named(kind).is_none()) {
        Some(unknown) => Err(unknown_kind(&unknown)),
        None => Ok(()),
    }
}

/// What is wrong with a kind of entity that nobody knows.
pub(crate) fn unknown_kind(kind: &str) -> String {
    let known: Vec<&str> = EntityKind::FALLBACK.into_iter().map(EntityKind::name).collect();
    format!("`entity_kind` is `{kind}`, which is none of {}", known.join(", "))
}

/// Texts that a column of a plan's result is, where they are written out.
fn literals(plan: &LogicalPlan, column: usize) -> Vec<String> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(column).map(|expr| expr.clone().unalias_nested().data);
            match expr {
                Some(Expr::Literal(value, _)) => value.try_as_str().flatten().map(str::to_owned).into_iter().collect(),
                _ => Vec::new(),
            }
        }
        LogicalPlan::Union(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().flat_map(|input| literals(input, column)).collect()
        }
        _ => Vec::new(),
    }
}

/// What must be kept: which rows, and which columns.
fn retention(optimised: &LogicalPlan) -> Result<(Option<Expr>, Vec<usize>), String> {
    let full = table::schema();
    let mut columns: BTreeSet<usize> = ALWAYS.iter().filter_map(|name| full.index_of(name).ok()).collect();
    columns.extend(ENTITY_COLUMNS.map(|(_, word)| word.index()));
    let mut scans: Vec<Option<Expr>> = Vec::new();
    let walked = optimised.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            columns.extend(scan.projection.iter().flatten());
            if scan.projection.is_none() {
                columns.extend(0..full.fields().len());
            }
            for filter in &scan.filters {
                columns.extend(filter.column_refs().iter().filter_map(|c| full.index_of(&c.name).ok()));
            }
            let filter = conjunction(scan.filters.iter().filter(|f| is_of_row(f)).cloned());
            if !scans.contains(&filter) {
                scans.push(filter);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|e| e.strip_backtrace())?;
    let keep = scans.into_iter().collect::<Option<Vec<Expr>>>().and_then(disjunction);
    Ok((keep, columns.into_iter().collect()))
}

/// Whether a filter is a function of the row alone.
fn is_of_row(filter: &Expr) -> bool {
    let other = filter.exists(|e| {
        Ok(match e {
            Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_) => true,
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            _ => false,
        })
    });
    !other.unwrap_or(true)
}

/// Whether evaluating an expression can never fail, so that a reader may apply it as a plain filter.
pub(crate) fn cannot_fail(expr: &Expr) -> bool {
    use datafusion::logical_expr::Operator::{
        And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or,
    };
    let failing = expr.exists(|e| {
        Ok(match e {
            Expr::Column(_) | Expr::Literal(..) | Expr::Not(_) | Expr::Like(_) | Expr::InList(_) | Expr::Between(_) => {
                false
            }
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsNotTrue(_) => false,
            Expr::IsFalse(_) | Expr::IsNotFalse(_) | Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => false,
            Expr::BinaryExpr(binary) => {
                !matches!(binary.op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
            }
            _ => true,
        })
    });
    !failing.unwrap_or(true)
}

/// The schema that filters of the table are resolved against.
pub(crate) fn qualified(schema: &arrow::datatypes::Schema) -> Result<DFSchema, DataFusionError> {
    DFSchema::try_from_qualified_schema(TableReference::bare(TABLE), schema)
}
