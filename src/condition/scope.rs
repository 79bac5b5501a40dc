//! What a condition sees: the values of its variables, each turned into a CEL value at most once
//! and only where the condition asks for it.

use super::words::{error_in_words, show};
use super::{Condition, Mention, Outcome, Source};
use crate::model::Fact;
use cel::common::ast::IdedExpr;
use cel::common::types::{
    CelBool, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
    CelUInt, STRING_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use serde_json::Value as Json;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

/// The name that takes a step of the budget when it is looked up.
pub(super) const STEP: &str = "@step";

/// How many rounds all loops of one evaluation may take together.
const STEPS: u32 = 10_000;

/// The functions are the same for all conditions: each evaluation opens a scope on top of this.
static BASE: LazyLock<Context<'static, 'static>> =
    LazyLock::new(|| Context::with_env(Arc::clone(&super::parse::ENV)));

/// What a condition can ask.
pub trait Scope: Send + Sync {
    /// The variable called `name`; `None` if it has no value here.
    fn variable(&self, name: &str) -> Option<Seen<'_>>;

    /// The answer to [`Condition::calls`]`[index]`; `None` if there is none yet.
    fn call(&self, _index: usize) -> Option<f64> {
        None
    }

    /// Why the variable called `name` has no value here, where that is known.
    fn why_absent(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// The value of a variable, borrowed from where it lives.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A yes or a no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// A text.
    Text(&'a str),
    /// A span of time.
    Duration(Duration),
    /// Anything with a structure.
    Json(&'a Json),
    /// A map of texts, such as the labels of a check.
    Texts(&'a BTreeMap<String, String>),
}

impl<'a> From<&'a Fact> for Seen<'a> {
    fn from(fact: &'a Fact) -> Self {
        match fact {
            Fact::Bool(yes) => Self::Bool(*yes),
            Fact::Int(number) => Self::Int(*number),
            Fact::Double(number) => Self::Double(*number),
            Fact::Text(text) => Self::Text(text),
            Fact::Duration(span) => Self::Duration(*span),
            Fact::Json(json) => Self::Json(json),
        }
    }
}

impl<'a> Seen<'a> {
    fn value(self) -> Box<dyn Val + 'a> {
        match self {
            Self::Bool(yes) => Box::new(CelBool::from(yes)),
            Self::Int(number) => Box::new(CelInt::from(number)),
            Self::Double(number) => Box::new(CelDouble::from(number)),
            Self::Text(text) => Box::new(CelString::from(text)),
            Self::Duration(span) => {
                // CEL's durations end at 292 years; nothing here lasts as long.
                let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
                Box::new(CelDuration::from(chrono::Duration::nanoseconds(nanos)))
            }
            Self::Json(json) => json_value(json),
            Self::Texts(texts) => {
                let entries = texts.iter().map(|(key, text)| {
                    let value: Box<dyn Val + 'a> = Box::new(CelString::from(text.as_str()));
                    (CelMapKey::from(key.as_str()), value)
                });
                Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
            }
        }
    }

    /// What stands at the end of the path, without turning the rest into CEL values.
    fn at(self, keys: &[String]) -> Option<Box<dyn Val + 'a>> {
        match (self, keys) {
            (Self::Json(json), keys) => {
                let mut found = json;
                for key in keys {
                    found = found.as_object()?.get(key.as_str())?;
                }
                Some(json_value(found))
            }
            (Self::Texts(texts), [key]) => {
                let text = texts.get(key)?;
                Some(Box::new(CelString::from(text.as_str())))
            }
            _ => None,
        }
    }
}

fn json_value(json: &Json) -> Box<dyn Val + '_> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(yes) => Box::new(CelBool::from(*yes)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(items) => {
            Box::new(CelList::from(items.iter().map(json_value).collect::<Vec<_>>()))
        }
        Json::Object(entries) => {
            let entries =
                entries.iter().map(|(key, item)| (CelMapKey::from(key.as_str()), json_value(item)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

/// Answers the interpreter's questions during one evaluation.
pub(super) struct Resolver<'a> {
    condition: &'a Condition,
    scope: &'a dyn Scope,
    /// One for each slot of the condition; filled when it is first asked for.
    values: Vec<OnceLock<Option<Box<dyn Val + 'a>>>>,
    steps: AtomicU32,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(condition: &'a Condition, scope: &'a dyn Scope) -> Self {
        let values = condition.slots.iter().map(|_| OnceLock::new()).collect();
        Self { condition, scope, values, steps: AtomicU32::new(STEPS) }
    }

    /// Evaluates `expr` and tells what it says.
    pub(super) fn outcome(&self, expr: &IdedExpr) -> Outcome {
        let context = self.context();
        let error = match Value::resolve_val(expr, &context) {
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(yes) if *yes.inner() => return Outcome::Holds,
                Some(_) => return Outcome::Fails,
                None => {
                    let message = format!("it is {}, neither true nor false", show(&*value));
                    return Outcome::Broken(message);
                }
            },
            Err(error) => error,
        };
        // What was not found decides over what has no data: it is the worse news.
        if let Some(name) = self.absent(&error) {
            return Outcome::Broken(self.not_found(name));
        }
        match &error {
            ExecutionError::UndeclaredReference(name) if ***name == *STEP => {
                Outcome::Broken(format!("it takes more than {STEPS} steps"))
            }
            ExecutionError::UndeclaredReference(name) if name.starts_with("@w") => Outcome::NoData,
            ExecutionError::NoSuchKey(_) => Outcome::Broken(
                self.missing_path()
                    .map_or_else(|| error_in_words(&error), |path| format!("{path} is missing")),
            ),
            error => Outcome::Broken(error_in_words(error)),
        }
    }

    /// The value of a part of the condition, in words; `None` if there is nothing to say.
    pub(super) fn explain(&self, mention: &Mention) -> Option<String> {
        let context = self.context();
        let text = &mention.text;
        match Value::resolve_val(&mention.expr, &context) {
            Ok(value) => Some(format!("{text} is {}", show(&*value))),
            Err(ExecutionError::UndeclaredReference(name)) if name.starts_with("@w") => {
                Some(format!("{text} has no data yet"))
            }
            Err(ExecutionError::UndeclaredReference(name)) => Some(self.not_found(&name)),
            Err(
                ExecutionError::NoSuchKey(_)
                | ExecutionError::NoSuchOverload(_)
                | ExecutionError::IndexOutOfBounds(_),
            ) => Some(format!("{text} is missing")),
            Err(_) => None,
        }
    }

    fn context<'b>(&'b self) -> Context<'b, 'b> {
        // The base outlives everything; shortened, it can be the parent of this scope.
        let base: &'b Context<'b, 'b> = &BASE;
        let mut context = base.new_inner_scope();
        context.set_variable_resolver(self);
        context
    }

    /// The variable that the evaluation asked for in vain, if that is why it failed.
    fn absent(&self, error: &ExecutionError) -> Option<&'a str> {
        let ExecutionError::UndeclaredReference(_) = error else { return None };
        let slots = self.condition.slots.iter().zip(&self.values);
        let absent = |value: &OnceLock<Option<_>>| matches!(value.get(), Some(None));
        slots
            .filter(|(slot, _)| matches!(slot.source, Source::Variable))
            .find_map(|(slot, value)| absent(value).then_some(slot.name.as_str()))
    }

    fn not_found(&self, name: &str) -> String {
        match self.scope.why_absent(name) {
            Some(why) => format!("`{name}` was not found by this run ({why})"),
            None => format!("`{name}` was not found by this run"),
        }
    }

    /// The path that the evaluation asked for in vain.
    fn missing_path(&self) -> Option<&'a str> {
        let slots = self.condition.slots.iter().zip(&self.values);
        slots.filter(|(slot, _)| matches!(slot.source, Source::Path { .. })).find_map(
            |(slot, value)| matches!(value.get(), Some(None)).then_some(slot.name.as_str()),
        )
    }

    fn find(&self, source: &Source, name: &str) -> Option<Box<dyn Val + 'a>> {
        match source {
            Source::Variable => self.scope.variable(name).map(Seen::value),
            Source::Path { variable, keys } => self.scope.variable(variable)?.at(keys),
            Source::Call(index) => {
                let number = self.scope.call(*index)?;
                Some(Box::new(CelDouble::from(number)))
            }
        }
    }
}

impl VariableResolver for Resolver<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(constant) = name.strip_prefix("@c") {
            let index: usize = constant.parse().ok()?;
            return Some(CowVal::Borrowed(self.condition.constants.get(index)?.as_ref()));
        }
        if name == STEP {
            let left = self.steps.load(Ordering::Relaxed).checked_sub(1)?;
            self.steps.store(left, Ordering::Relaxed);
            return Some(CowVal::owned(CelBool::from(true)));
        }
        let index = self.condition.slots.iter().position(|slot| slot.name == name)?;
        let source = &self.condition.slots[index].source;
        let value = self.values[index].get_or_init(|| self.find(source, name)).as_deref()?;
        Some(CowVal::Borrowed(value))
    }
}

/// The standard library of CEL, and the function that a literal pattern is matched with.
pub(super) fn environment() -> Env {
    let mut env = Env::stdlib().with_optional_support(false);
    let declared = env.add_overload(
        "@matches",
        "matches_compiled",
        vec![STRING_TYPE, Type::new_unspecified_type(PATTERN)],
        matches_compiled,
    );
    debug_assert!(declared.is_ok(), "no other function has this name");
    env
}

const PATTERN: &str = "pattern";
static PATTERN_TYPE: Type = Type::new_unspecified_type(PATTERN);

/// A regular expression that was compiled at load, as a value for [`matches_compiled`].
#[derive(Debug)]
pub(super) struct Pattern(regex::Regex);

impl Pattern {
    pub(super) fn new(regex: regex::Regex) -> Self {
        Self(regex)
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self(self.0.clone()))
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

fn matches_compiled<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().and_then(|arg| arg.downcast_ref::<CelString>());
    let pattern = args.get(1).and_then(|arg| arg.downcast_ref::<Pattern>());
    match (text, pattern) {
        (Some(text), Some(pattern)) => {
            Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner()))))
        }
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}
