//! What can be found out about a condition without a run: unknown names, operands that never fit,
//! a result that is neither yes nor no.

use super::functions::{FUNCTIONS, MACROS, Signature, TYPES};
use super::words::{a, name_of, text_of_literal};
use super::{Call, ConditionProblem, Variable};
use crate::model::FactType;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

/// What is known of a value's type before there is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    Null,
    List,
    Map,
    Type,
    /// Known only when it is seen.
    Any,
}

impl Ty {
    /// The word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
            Self::Null => "null",
            Self::List => "list",
            Self::Map => "map",
            Self::Type => "type",
            Self::Any => "dyn",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether values of the two can be equal: numbers of all types compare by value.
    fn may_equal(self, other: Self) -> bool {
        self == other
            || self == Self::Any
            || other == Self::Any
            || (self.is_number() && other.is_number())
    }

    const fn has_order(self) -> bool {
        !matches!(self, Self::Null | Self::List | Self::Map | Self::Type)
    }
}

impl From<FactType> for Ty {
    fn from(ty: FactType) -> Self {
        match ty {
            FactType::Bool => Self::Bool,
            FactType::Int => Self::Int,
            FactType::Double => Self::Double,
            FactType::Text => Self::Text,
            FactType::Duration => Self::Duration,
            FactType::Map => Self::Map,
            FactType::Any => Self::Any,
        }
    }
}

/// Checks the whole of a condition, and gives the calls that its scope will have to answer, in the
/// order in which [`super::prepare`] meets them.
pub(super) fn check(
    expr: &IdedExpr,
    info: &SourceInfo,
    variables: &[Variable<'_>],
    calls: &[&str],
) -> Result<Vec<Call>, ConditionProblem> {
    let mut checker = Checker { info, variables, calls, locals: Vec::new(), found: Vec::new() };
    let ty = checker.ty(expr)?;
    if !matches!(ty, Ty::Bool | Ty::Any) {
        let what = name_of(expr).map_or_else(|| "it".to_owned(), |name| format!("`{name}`"));
        let message = format!("a condition says yes or no, but {what} is {}", a(ty));
        let problem = ConditionProblem::new(message, Some(0));
        return Err(problem.hint("compare it with something"));
    }
    Ok(checker.found)
}

struct Checker<'a> {
    info: &'a SourceInfo,
    variables: &'a [Variable<'a>],
    calls: &'a [&'a str],
    /// The names that macros bring in, innermost last.
    locals: Vec<(String, Ty)>,
    found: Vec<Call>,
}

type Checked<T> = Result<T, ConditionProblem>;

impl Checker<'_> {
    fn problem(&self, at: &IdedExpr, message: impl Into<String>) -> ConditionProblem {
        ConditionProblem::new(message, self.offset(at))
    }

    /// Where `at` stands: an operator, a name, or the start of a literal.
    fn offset(&self, at: &IdedExpr) -> Option<usize> {
        let offset = self.info.offset_for(at.id).map(|(start, _)| start as usize)?;
        // Of a call the parser notes the bracket; people look for the name.
        let (Expr::Call(call), Some(before)) = (&at.expr, self.info.source.get(..offset)) else {
            return Some(offset);
        };
        let name = before.trim_end();
        let is_name = name.ends_with(call.func_name.as_str());
        Some(if is_name { name.len() - call.func_name.len() } else { offset })
    }

    fn ty(&mut self, expr: &IdedExpr) -> Checked<Ty> {
        match &expr.expr {
            Expr::Unspecified => Err(self.problem(expr, "is not a condition")),
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.ident(expr, name),
            Expr::Select(select) => {
                if !select.test && name_of(expr).is_some_and(|name| TYPES.contains(&&*name)) {
                    return Ok(Ty::Type);
                }
                let operand = self.ty(&select.operand)?;
                if !matches!(operand, Ty::Map | Ty::Any) {
                    let what = describe(&select.operand);
                    let message = format!("{what} is {} and has no `{}`", a(operand), select.field);
                    return Err(self.problem(expr, message));
                }
                Ok(if select.test { Ty::Bool } else { Ty::Any })
            }
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                for element in &list.elements {
                    self.ty(element)?;
                }
                Ok(Ty::List)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(self.problem(expr, "a map has keys and values"));
                    };
                    let key = self.ty(&entry.key)?;
                    if !matches!(key, Ty::Text | Ty::Int | Ty::Uint | Ty::Bool | Ty::Any) {
                        let message = format!("{} cannot be a key of a map", a(key));
                        return Err(self.problem(&entry.key, message));
                    }
                    self.ty(&entry.value)?;
                }
                Ok(Ty::Map)
            }
            Expr::Struct(strct) => {
                let message = format!("there is no message type `{}`", strct.type_name);
                Err(self.problem(expr, message).hint("a map is written {'key': value}"))
            }
            Expr::Comprehension(comprehension) => {
                let range = self.ty(&comprehension.iter_range)?;
                if !matches!(range, Ty::List | Ty::Map | Ty::Any) {
                    let what = describe(&comprehension.iter_range);
                    let message = format!("{what} is {}, and has no elements", a(range));
                    return Err(self.problem(expr, message));
                }
                let init = self.ty(&comprehension.accu_init)?;
                let depth = self.locals.len();
                self.locals.push((comprehension.accu_var.clone(), init));
                self.locals.push((comprehension.iter_var.clone(), Ty::Any));
                self.ty(&comprehension.loop_step)?;
                self.locals.truncate(depth + 1);
                let result = self.ty(&comprehension.result);
                self.locals.truncate(depth);
                result
            }
        }
    }

    fn ident(&self, expr: &IdedExpr, name: &str) -> Checked<Ty> {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(*ty);
        }
        if let Some(variable) = self.variables.iter().find(|variable| variable.name == name) {
            return Ok(variable.ty.into());
        }
        if TYPES.contains(&name) {
            return Ok(Ty::Type);
        }
        if let Some(plain) = name.strip_prefix('.') {
            let problem = self.problem(expr, "a name does not start with a dot");
            return Err(problem.hint(format!("write `{plain}`")));
        }
        let problem = self.problem(expr, format!("unknown name `{name}`"));
        if self.calls.contains(&name) || FUNCTIONS.iter().any(|known| known.name == name) {
            return Err(problem.hint(format!("`{name}` is a function: write `{name}(…)`")));
        }
        let known: Vec<&str> = self.variables.iter().map(|variable| variable.name).collect();
        let all = format!("a text stands in quotes: '{name}'; known names: {}", known.join(", "));
        Err(problem.hint(all).did_you_mean(name, known))
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Checked<Ty> {
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::CONDITIONAL, None, [test, yes, no]) => {
                self.needs_bool(test, "`?`")?;
                let (yes, no) = (self.ty(yes)?, self.ty(no)?);
                Ok(if yes == no { yes } else { Ty::Any })
            }
            (operators::LOGICAL_AND, None, [left, right]) => self.both(left, "`&&`", right),
            (operators::LOGICAL_OR, None, [left, right]) => self.both(left, "`||`", right),
            (operators::LOGICAL_NOT, None, [operand]) => self.needs_bool(operand, "`!`"),
            (operators::NOT_STRICTLY_FALSE, None, [operand]) => self.ty(operand),
            (operators::NEGATE, None, [operand]) => {
                let ty = self.ty(operand)?;
                if matches!(ty, Ty::Int | Ty::Double | Ty::Any) {
                    return Ok(ty);
                }
                let message = format!("`-` needs a number, and {} is {}", describe(operand), a(ty));
                Err(self.problem(expr, message))
            }
            (operators::INDEX, None, [target, index]) => self.index(expr, target, index),
            (operators::IN, None, [element, container]) => self.within(expr, element, container),
            (operators::EQUALS | operators::NOT_EQUALS, None, [left, right]) => {
                let types = (self.ty(left)?, self.ty(right)?);
                if types.0.may_equal(types.1) {
                    return Ok(Ty::Bool);
                }
                Err(self.mismatch(expr, (left, right), types, "they are never equal"))
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                None,
                [left, right],
            ) => {
                let types = (self.ty(left)?, self.ty(right)?);
                if types.0.may_equal(types.1) && types.0.has_order() && types.1.has_order() {
                    return Ok(Ty::Bool);
                }
                Err(self.mismatch(expr, (left, right), types, "they cannot be compared"))
            }
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO,
                None,
                [left, right],
            ) => self.arithmetic(expr, name, left, right),
            _ if self.calls.contains(&name) => self.scope_call(expr, call),
            _ => self.function(expr, call),
        }
    }

    fn both(&mut self, left: &IdedExpr, operator: &str, right: &IdedExpr) -> Checked<Ty> {
        self.needs_bool(left, operator)?;
        self.needs_bool(right, operator).map_err(|problem| match compared(left) {
            // `status == 200 || 201`: people mean the same comparison again.
            Some(subject) if operator == "`||`" && literal(right).is_some() => {
                problem.hint(format!("write `{subject} in […]`, or the whole comparison again"))
            }
            _ => problem,
        })
    }

    fn needs_bool(&mut self, operand: &IdedExpr, operator: &str) -> Checked<Ty> {
        let ty = self.ty(operand)?;
        if matches!(ty, Ty::Bool | Ty::Any) {
            return Ok(Ty::Bool);
        }
        let what = describe(operand);
        let message = format!("{operator} needs a condition, and {what} is {}", a(ty));
        Err(self.problem(operand, message))
    }

    fn index(&mut self, expr: &IdedExpr, target: &IdedExpr, index: &IdedExpr) -> Checked<Ty> {
        let (container, key) = (self.ty(target)?, self.ty(index)?);
        let fits = match container {
            Ty::List => key.is_number() || key == Ty::Any,
            Ty::Map => matches!(key, Ty::Text | Ty::Bool | Ty::Any) || key.is_number(),
            Ty::Any => true,
            _ => {
                let what = describe(target);
                let message = format!("{what} is {}, and has no elements", a(container));
                return Err(self.problem(expr, message));
            }
        };
        if fits {
            return Ok(Ty::Any);
        }
        Err(self.problem(expr, format!("{} has no element {}", a(container), describe(index))))
    }

    fn within(&mut self, expr: &IdedExpr, element: &IdedExpr, container: &IdedExpr) -> Checked<Ty> {
        let types = (self.ty(element)?, self.ty(container)?);
        if types.1 == Ty::Text {
            let problem = self.problem(expr, "`in` looks into lists and maps, not into texts");
            let (text, part) = (name_of(container), name_of(element));
            return Err(match (text, part) {
                (Some(text), Some(part)) => {
                    problem.hint(format!("write `{text}.contains({part})`"))
                }
                _ => problem.hint("write `text.contains(part)`"),
            });
        }
        if !matches!(types.1, Ty::List | Ty::Map | Ty::Any) {
            let what = describe(container);
            let message = format!("`in` looks into lists and maps, and {what} is {}", a(types.1));
            return Err(self.problem(expr, message));
        }
        if let Expr::List(list) = &container.expr {
            for member in &list.elements {
                let other = self.ty(member)?;
                if !types.0.may_equal(other) {
                    let pair = (types.0, other);
                    return Err(self.mismatch(
                        expr,
                        (element, member),
                        pair,
                        "they are never equal",
                    ));
                }
            }
        }
        Ok(Ty::Bool)
    }

    fn arithmetic(
        &mut self,
        expr: &IdedExpr,
        operator: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Checked<Ty> {
        use Ty::{Any, Bytes, Double, Duration, Int, List, Text, Timestamp, Uint};
        let types = (self.ty(left)?, self.ty(right)?);
        let gives = match (operator, types) {
            (_, (Any, _) | (_, Any)) => Some(Any),
            (operators::MODULO, (Double, Double)) => None,
            (_, (Int, Int)) => Some(Int),
            (_, (Uint, Uint)) => Some(Uint),
            (_, (Double, Double)) => Some(Double),
            (operators::ADD, (Text, Text)) => Some(Text),
            (operators::ADD, (Bytes, Bytes)) => Some(Bytes),
            (operators::ADD, (List, List)) => Some(List),
            (operators::ADD | operators::SUBSTRACT, (Duration, Duration)) => Some(Duration),
            (operators::ADD, (Timestamp, Duration) | (Duration, Timestamp)) => Some(Timestamp),
            (operators::SUBSTRACT, (Timestamp, Duration)) => Some(Timestamp),
            (operators::SUBSTRACT, (Timestamp, Timestamp)) => Some(Duration),
            _ => None,
        };
        if let Some(gives) = gives {
            return Ok(gives);
        }
        let so = format!("`{}` does not go with them", operator.trim_matches('_'));
        let mut problem = self.mismatch(expr, (left, right), types, &so);
        let scales = matches!(operator, operators::MULTIPLY | operators::DIVIDE);
        if scales && (types.0 == Duration || types.1 == Duration) {
            problem = problem.hint("durations add and subtract; multiply numbers");
        }
        if !(types.0.is_number() && types.1.is_number()) || types.0 == types.1 {
            return Err(problem);
        }
        // Unlike comparisons, arithmetic takes both sides of one type.
        Err(match (types, (literal(left), literal(right))) {
            (_, (Some(LiteralValue::Int(number)), _) | (_, Some(LiteralValue::Int(number)))) => {
                problem.hint(format!("write `{}.0`", number.inner()))
            }
            ((Int | Uint, _), _) => problem.hint(format!("write `double({})`", plain(left))),
            (_, _) => problem.hint(format!("write `double({})`", plain(right))),
        })
    }

    /// Two operands that do not go together, with the likely remedy.
    fn mismatch(
        &self,
        at: &IdedExpr,
        (left, right): (&IdedExpr, &IdedExpr),
        (left_ty, right_ty): (Ty, Ty),
        so: &str,
    ) -> ConditionProblem {
        let message = format!(
            "{} is {} and {} is {}: {so}",
            describe(left),
            a(left_ty),
            describe(right),
            a(right_ty)
        );
        let problem = self.problem(at, message);
        let hint = remedy(left_ty, right).or_else(|| remedy(right_ty, left)).or_else(|| {
            let is_comparison = left_ty == Ty::Bool || right_ty == Ty::Bool;
            let chained = is_comparison && (compared(left).is_some() || compared(right).is_some());
            chained.then(|| "a chain is written `a < b && b < c`".to_owned())
        });
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    fn scope_call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Checked<Ty> {
        let name = &call.func_name;
        if call.target.is_some() {
            let problem = self.problem(expr, format!("`{name}` is not called on something"));
            return Err(problem.hint(format!("write `{name}(…)`")));
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            match &arg.expr {
                Expr::Literal(LiteralValue::String(text)) => args.push(text.inner().to_owned()),
                _ => {
                    let message = format!("`{name}` takes texts in quotes");
                    let problem = self.problem(arg, message);
                    return Err(match name_of(arg) {
                        Some(found) if literal(arg).is_none() => {
                            problem.hint(format!("write '{found}'"))
                        }
                        _ => problem,
                    });
                }
            }
        }
        let offset = self.offset(expr);
        self.found.push(Call { name: name.clone(), args, offset });
        Ok(Ty::Double)
    }

    fn function(&mut self, expr: &IdedExpr, call: &CallExpr) -> Checked<Ty> {
        let name = call.func_name.as_str();
        let named: Vec<&Signature> = FUNCTIONS.iter().filter(|known| known.name == name).collect();
        if named.is_empty() {
            return Err(self.unknown_function(expr, name));
        }
        let styled: Vec<&&Signature> =
            named.iter().filter(|known| known.target.is_some() == call.target.is_some()).collect();
        if styled.is_empty() {
            let problem = self.problem(expr, format!("`{name}` is not called like this"));
            return Err(problem.hint(match call.target {
                Some(_) => format!("write `{name}(value)`"),
                None => format!("write `value.{name}(…)`"),
            }));
        }
        let target = match &call.target {
            Some(target) => Some(self.ty(target)?),
            None => None,
        };
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.ty(arg)?);
        }
        if !styled.iter().any(|known| known.args.len() == args.len()) {
            let mut counts: Vec<usize> = styled.iter().map(|known| known.args.len()).collect();
            counts.dedup();
            let wanted: Vec<String> = counts.iter().map(ToString::to_string).collect();
            let plural = if counts == [1] { "argument" } else { "arguments" };
            let wanted = wanted.join(" or ").replace('0', "no");
            let message = format!("`{name}` takes {wanted} {plural}, not {}", args.len());
            return Err(self.problem(expr, message));
        }
        let fits = |wanted: Ty, found: Ty| wanted == found || wanted == Ty::Any || found == Ty::Any;
        let found = styled.iter().find(|known| {
            known.args.len() == args.len()
                && known.args.iter().zip(&args).all(|(wanted, found)| fits(*wanted, *found))
                && known.target.zip(target).is_none_or(|(wanted, found)| fits(wanted, found))
        });
        if let Some(found) = found {
            return Ok(found.gives);
        }
        let (what, found) = match (target, call.target.as_deref(), args.as_slice()) {
            (Some(target), Some(on), _)
                if !styled.iter().any(|known| known.target.is_some_and(|ty| fits(ty, target))) =>
            {
                (describe(on), target)
            }
            (.., args) => {
                let wrong = args.iter().position(|arg| *arg != Ty::Any).unwrap_or(0);
                (
                    call.args.get(wrong).map_or_else(|| "it".to_owned(), describe),
                    args.get(wrong).copied().unwrap_or(Ty::Any),
                )
            }
        };
        let problem = self.problem(expr, format!("`{name}` does not take {what}, {}", a(found)));
        Err(match (name, found) {
            ("duration", ty) if ty.is_number() => problem.hint("write duration('800ms')"),
            ("contains", Ty::List) => problem.hint("write `element in list`"),
            ("matches" | "contains" | "startsWith" | "endsWith", ty) if ty.is_number() => {
                problem.hint(format!("write `string({}).{name}(…)`", what.trim_matches('`')))
            }
            _ => problem,
        })
    }

    fn unknown_function(&self, expr: &IdedExpr, name: &str) -> ConditionProblem {
        if let Some((_, usage)) = MACROS.iter().find(|(known, _)| *known == name) {
            let problem = self.problem(expr, format!("`{name}` is not called like this"));
            return problem.hint(format!("write such as `{usage}`"));
        }
        let known = FUNCTIONS
            .iter()
            .map(|known| known.name)
            .chain(MACROS.iter().map(|(name, _)| *name))
            .chain(self.calls.iter().copied());
        let problem = self.problem(expr, format!("there is no function `{name}`"));
        match name.to_ascii_lowercase().as_str() {
            "len" | "length" | "count" => problem.hint("did you mean `size`?"),
            "avg_over_time" | "mean" => problem.hint("did you mean `avg`?"),
            "now" => problem.hint("conditions do not know the time"),
            _ => problem.did_you_mean(name, known),
        }
    }
}

/// What to write in the place of `literal`, where `wanted` is the type of the other side.
fn remedy(wanted: Ty, other: &IdedExpr) -> Option<String> {
    match (wanted, literal(other)?) {
        (Ty::Duration, LiteralValue::Int(number)) => {
            Some(format!("write duration('{}ms')", number.inner()))
        }
        (Ty::Duration, LiteralValue::Double(number)) => {
            Some(format!("write duration('{}ms')", number.inner()))
        }
        (Ty::Duration, LiteralValue::String(text)) => {
            Some(format!("write duration('{}')", text.inner()))
        }
        (Ty::Timestamp, LiteralValue::String(text)) => {
            Some(format!("write timestamp('{}')", text.inner()))
        }
        (wanted, LiteralValue::String(text))
            if wanted.is_number() && text.inner().parse::<f64>().is_ok() =>
        {
            Some(format!("write {} without quotes", text.inner()))
        }
        (Ty::Bool, LiteralValue::String(text)) if matches!(text.inner(), "true" | "false") => {
            Some(format!("write {} without quotes", text.inner()))
        }
        (Ty::Text, literal @ (LiteralValue::Int(_) | LiteralValue::Double(_))) => {
            Some(format!("write '{}' in quotes", text_of_literal(literal)))
        }
        _ => None,
    }
}

/// What `expr` compares, if it is a comparison.
fn compared(expr: &IdedExpr) -> Option<String> {
    let Expr::Call(call) = &expr.expr else { return None };
    let comparison = matches!(
        call.func_name.as_str(),
        operators::EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
    );
    if comparison { call.args.first().and_then(name_of) } else { None }
}

fn literal(expr: &IdedExpr) -> Option<&LiteralValue> {
    match &expr.expr {
        Expr::Literal(literal) => Some(literal),
        _ => None,
    }
}

const fn literal_type(literal: &LiteralValue) -> Ty {
    match literal {
        LiteralValue::Boolean(_) => Ty::Bool,
        LiteralValue::Bytes(_) => Ty::Bytes,
        LiteralValue::Double(_) => Ty::Double,
        LiteralValue::Int(_) => Ty::Int,
        LiteralValue::Null => Ty::Null,
        LiteralValue::String(_) => Ty::Text,
        LiteralValue::UInt(_) => Ty::Uint,
    }
}

fn plain(expr: &IdedExpr) -> String {
    name_of(expr).unwrap_or_else(|| "…".to_owned())
}

/// The operand as the user wrote it where that is short, else a stand-in.
fn describe(expr: &IdedExpr) -> String {
    name_of(expr).map_or_else(|| "this expression".to_owned(), |name| format!("`{name}`"))
}
