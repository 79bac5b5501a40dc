//! Conditions in CEL: compiled and checked once, evaluated often, explained in words.
//!
//! A condition sees named variables (the facts of a run, the parts of an incident) and may call
//! functions whose values its scope knows (windows over past results). Everything that can be
//! found out without a run is found at load: an unknown name, operands that never fit, a literal
//! that does not parse.

mod check;
mod functions;
mod parse;
mod prepare;
mod scope;
#[cfg(test)]
mod tests;
mod words;

pub use scope::{Scope, Seen};
pub use words::shorten;

use crate::model::{FactType, did_you_mean};
use cel::common::ast::IdedExpr;
use cel::common::value::Val;
use scope::Resolver;
use std::fmt;

/// The longest source of a condition, in bytes.
pub const LONGEST: usize = 4096;

/// A name that a condition may use, and the type that it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// The name.
    pub name: &'a str,
    /// The type.
    pub ty: FactType,
}

/// A call of a function that the scope answers, such as `p99('latency_ms', '10m')`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function.
    pub name: String,
    /// Its arguments, all of them texts.
    pub args: Vec<String>,
    /// Where it stands in the source, in bytes.
    pub offset: Option<usize>,
}

/// Why a condition was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionProblem {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the source, in bytes.
    pub offset: Option<usize>,
}

impl ConditionProblem {
    /// A problem at `offset`.
    pub fn new(message: impl Into<String>, offset: Option<usize>) -> Self {
        Self { message: message.into(), hint: None, offset }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the nearest of `candidates` to `wrong` as the hint, if one is near.
    #[must_use]
    pub fn did_you_mean<'a>(
        mut self,
        wrong: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.hint = did_you_mean(wrong, candidates).or(self.hint);
        self
    }
}

impl fmt::Display for ConditionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConditionProblem {}

/// What a condition said of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Holds,
    /// No.
    Fails,
    /// It hangs on a call for which the scope has no value yet: a window without data.
    NoData,
    /// It could not be evaluated, for the reason in words: a variable that this scope does not
    /// have, a path that leads nowhere, values that do not go together.
    Broken(String),
}

/// A condition that compiled: cheap to evaluate, again and again, from any thread.
#[derive(Debug)]
pub struct Condition {
    source: String,
    expr: IdedExpr,
    /// What evaluation asks the scope for, each at most once.
    slots: Vec<Slot>,
    /// Literals that were worked out at load: durations, timestamps, patterns.
    constants: Vec<Box<dyn Val>>,
    /// The parts whose values explain an outcome.
    mentions: Vec<Mention>,
    calls: Vec<Call>,
}

/// A name in the rewritten expression, and where its value comes from.
#[derive(Debug)]
struct Slot {
    name: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A variable of the scope.
    Variable,
    /// A path into a variable, as the keys that lead there from the variable.
    Path { variable: String, keys: Vec<String> },
    /// The answer to the call of that index.
    Call(usize),
}

/// A part of the condition as the user wrote it, and how to evaluate it alone.
#[derive(Debug)]
struct Mention {
    text: String,
    expr: IdedExpr,
}

impl Condition {
    /// Compiles `source`, which may use `variables` and call the functions named in `calls` with
    /// literal texts.
    ///
    /// What those calls mean is the caller's to check, in [`Condition::calls`]; each of them
    /// stands for a double.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(
        source: &str,
        variables: &[Variable<'_>],
        calls: &[&str],
    ) -> Result<Self, ConditionProblem> {
        let (expr, info) = parse::parse(source)?;
        let calls = check::check(&expr, &info, variables, calls)?;
        prepare::prepare(source, expr, &info, variables, calls)
    }

    /// The condition as the user wrote it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the condition uses the variable `name`.
    pub fn references(&self, name: &str) -> bool {
        self.slots.iter().any(|slot| match &slot.source {
            Source::Variable => slot.name == name,
            Source::Path { variable, .. } => variable == name,
            Source::Call(_) => false,
        })
    }

    /// The calls that the scope has to answer; [`Scope::call`] is asked by their index.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Evaluates the condition.
    ///
    /// The work is bounded: all macros of a condition together take at most ten thousand steps,
    /// past which it counts as broken.
    pub fn evaluate(&self, scope: &dyn Scope) -> Outcome {
        Resolver::new(self, scope).outcome(&self.expr)
    }

    /// Whether the condition holds; for conditions without calls of the scope.
    ///
    /// # Errors
    /// Why it could not be evaluated, in words.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, String> {
        match self.evaluate(scope) {
            Outcome::Holds => Ok(true),
            Outcome::Fails => Ok(false),
            Outcome::NoData => Err("there is no data yet".to_owned()),
            Outcome::Broken(why) => Err(why),
        }
    }

    /// The values that the condition looked at, in words: `status is 503, body.db is 'error'`.
    /// Empty for a condition that looks at nothing.
    pub fn explain(&self, scope: &dyn Scope) -> String {
        let resolver = Resolver::new(self, scope);
        let parts: Vec<String> =
            self.mentions.iter().filter_map(|mention| resolver.explain(mention)).collect();
        parts.join(", ")
    }
}
