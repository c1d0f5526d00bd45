//! A rule as an expression over fields: what lowering makes of Sigma, and what the engine compiles.
//!
//! Two-valued throughout: a test of a missing field is false, and its negation true.

mod relation;

use palisade_events::schema::AnyColumn;

pub(crate) use self::relation::Relation;
use crate::predicate::Predicate;
use crate::text::Case;

/// Where the values of a field come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A column of the event table.
    Column(AnyColumn),
    /// A path of the original payload.
    Raw(Box<str>),
    /// All text of the event, for keywords.
    Event,
}

/// A boolean expression over the fields of one event.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    /// Some value of the field passes some of the tests.
    Any(Source, Vec<Predicate>),
    /// Some value of one field relates to some value of another.
    Related(Source, Relation, Case, Source),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// At least so many of the expressions.
    AtLeast(usize, Vec<Expr>),
}

impl Expr {
    /// Calls `see` with every field that the expression reads.
    pub(crate) fn sources<'e>(&'e self, see: &mut impl FnMut(&'e Source)) {
        match self {
            Self::Any(source, _) => see(source),
            Self::Related(left, _, _, right) => {
                see(left);
                see(right);
            }
            Self::And(all) | Self::Or(all) | Self::AtLeast(_, all) => all.iter().for_each(|e| e.sources(see)),
            Self::Not(inner) => inner.sources(see),
        }
    }
}

/// A field and its tests as the rule wrote them, kept to explain a match.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Field name in the rule; empty for keywords.
    pub(crate) field: Box<str>,
    /// Where its values come from.
    pub(crate) sources: Vec<Source>,
    /// Tests, any of which makes a value worth showing.
    pub(crate) tests: Vec<Predicate>,
}
