//! Gets a checked condition ready for evaluation: literals are worked out, calls of the scope
//! become names, loops are counted, and what explains an outcome is noted.

use super::parse::ENV;
use super::scope::{Pattern, STEP};
use super::words::name_of;
use super::{Call, Condition, ConditionProblem, Mention, Slot, Source, Variable};
use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators,
};
use cel::common::types::CelString;
use cel::common::value::{CowVal, Val};

/// How many values a reason shows at most.
const MOST_MENTIONS: usize = 6;

/// The largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// Rewrites `expr` for evaluation.
pub(super) fn prepare(
    source: &str,
    mut expr: IdedExpr,
    info: &SourceInfo,
    variables: &[Variable<'_>],
    calls: Vec<Call>,
) -> Result<Condition, ConditionProblem> {
    let mut preparer = Preparer {
        info,
        variables,
        calls: &calls,
        locals: Vec::new(),
        slots: Vec::new(),
        constants: Vec::new(),
    };
    let mut mentions = Vec::new();
    preparer.mentions(&expr, &mut mentions);
    preparer.rewrite(&mut expr)?;
    for mention in &mut mentions {
        preparer.rewrite(&mut mention.expr)?;
    }
    let Preparer { slots, constants, .. } = preparer;
    Ok(Condition { source: source.to_owned(), expr, slots, constants, mentions, calls })
}

struct Preparer<'a> {
    info: &'a SourceInfo,
    variables: &'a [Variable<'a>],
    calls: &'a [Call],
    /// The names that macros bring in.
    locals: Vec<String>,
    slots: Vec<Slot>,
    constants: Vec<Box<dyn Val>>,
}

impl Preparer<'_> {
    fn is_variable(&self, name: &str) -> bool {
        !self.locals.iter().any(|local| local == name)
            && self.variables.iter().any(|variable| variable.name == name)
    }

    /// The index of the call of the scope that `call` is.
    fn scope_call(&self, call: &CallExpr) -> Option<usize> {
        let text = |arg: &IdedExpr| match &arg.expr {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
            _ => None,
        };
        let args: Option<Vec<String>> = call.args.iter().map(text).collect();
        let args = args?;
        call.target.is_none().then_some(())?;
        self.calls.iter().position(|known| known.name == call.func_name && known.args == args)
    }

    /// Notes the paths and calls whose values explain what `expr` says.
    fn mentions(&mut self, expr: &IdedExpr, found: &mut Vec<Mention>) {
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => {}
            Expr::Select(select) if select.test => {
                let plain = Expr::Select(SelectExpr { test: false, ..select.clone() });
                self.mentions(&IdedExpr { id: expr.id, expr: plain }, found);
            }
            Expr::Ident(_) | Expr::Select(_) => match self.path_root(expr) {
                Some(root) if self.is_variable(root) => note(expr, found),
                _ => {
                    if let Expr::Select(select) = &expr.expr {
                        self.mentions(&select.operand, found);
                    }
                }
            },
            Expr::Call(call) => {
                let is_path = self.path_root(expr).is_some_and(|root| self.is_variable(root));
                if is_path || self.scope_call(call).is_some() {
                    note(expr, found);
                    return;
                }
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.mentions(part, found);
                }
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.mentions(element, found);
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.mentions(&entry.value, found);
                    }
                }
            }
            Expr::Comprehension(comprehension) => {
                self.mentions(&comprehension.iter_range, found);
                self.locals.push(comprehension.iter_var.clone());
                self.mentions(&comprehension.loop_step, found);
                self.locals.pop();
            }
        }
    }

    /// The name that a path starts with: `body` of `body.items[0].name`.
    fn path_root<'e>(&self, expr: &'e IdedExpr) -> Option<&'e str> {
        match &expr.expr {
            Expr::Ident(name) => Some(name),
            Expr::Select(select) if !select.test => self.path_root(&select.operand),
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [target, IdedExpr { expr: Expr::Literal(_), .. }] => self.path_root(target),
                _ => None,
            },
            _ => None,
        }
    }

    fn rewrite(&mut self, expr: &mut IdedExpr) -> Result<(), ConditionProblem> {
        if let Some(replacement) = self.replacement(expr)? {
            expr.expr = replacement;
            return Ok(());
        }
        if let Some(names) = qualified(expr)
            && self.is_variable(&names[0])
        {
            self.slot_of_path(&names);
            return Ok(());
        }
        match &mut expr.expr {
            Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) => {}
            Expr::Select(select) => self.rewrite(&mut select.operand)?,
            Expr::Call(call) => {
                for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                    self.rewrite(part)?;
                }
            }
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.rewrite(element)?;
                }
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.rewrite(&mut entry.key)?;
                        self.rewrite(&mut entry.value)?;
                    }
                }
            }
            Expr::Comprehension(comprehension) => {
                self.rewrite(&mut comprehension.iter_range)?;
                self.rewrite(&mut comprehension.accu_init)?;
                let depth = self.locals.len();
                self.locals.push(comprehension.accu_var.clone());
                self.locals.push(comprehension.iter_var.clone());
                self.rewrite(&mut comprehension.loop_cond)?;
                self.rewrite(&mut comprehension.loop_step)?;
                self.locals.truncate(depth + 1);
                self.rewrite(&mut comprehension.result)?;
                self.locals.truncate(depth);
                count_steps(&mut comprehension.loop_cond, &mut comprehension.loop_step);
            }
        }
        Ok(())
    }

    /// What stands for `expr` in evaluation, if something cheaper does.
    fn replacement(&mut self, expr: &mut IdedExpr) -> Result<Option<Expr>, ConditionProblem> {
        let id = expr.id;
        let Expr::Call(call) = &mut expr.expr else { return Ok(None) };
        if let Some(index) = self.scope_call(call) {
            let name = format!("@w{index}");
            self.slot(&name, || Source::Call(index));
            return Ok(Some(Expr::Ident(name)));
        }
        let name = call.func_name.clone();
        match (name.as_str(), call.target.is_some(), call.args.as_slice()) {
            ("duration" | "timestamp", false, [arg]) => {
                let Expr::Literal(LiteralValue::String(text)) = &arg.expr else { return Ok(None) };
                let value = self.work_out(arg, &name, text.inner())?;
                Ok(Some(self.constant(value)))
            }
            ("matches", is_member, args) if args.len() == if is_member { 1 } else { 2 } => {
                let Some(arg) = args.last() else { return Ok(None) };
                let Expr::Literal(LiteralValue::String(text)) = &arg.expr else { return Ok(None) };
                let pattern = self.pattern(arg, text.inner())?;
                let constant = self.constant(Box::new(pattern));
                let subject = match call.target.take() {
                    Some(target) => Some(*target),
                    None => call.args.drain(..1).next(),
                };
                let Some(mut subject) = subject else { return Ok(None) };
                self.rewrite(&mut subject)?;
                Ok(Some(Expr::Call(CallExpr {
                    func_name: "@matches".to_owned(),
                    target: None,
                    args: vec![subject, IdedExpr { id, expr: constant }],
                })))
            }
            _ => Ok(None),
        }
    }

    fn problem(&self, at: &IdedExpr, message: String) -> ConditionProblem {
        let offset = self.info.offset_for(at.id).map(|(start, _)| start as usize);
        ConditionProblem::new(message, offset)
    }

    /// Calls `function` with the literal `text` once and for all.
    fn work_out(
        &self,
        at: &IdedExpr,
        function: &str,
        text: &str,
    ) -> Result<Box<dyn Val>, ConditionProblem> {
        let hint = match function {
            "duration" if text.ends_with(['d', 'w', 'y']) => {
                "the largest unit is the hour: write duration('24h')"
            }
            "duration" => "write such as '800ms', '1.5s', '2m' or '1h30m'",
            _ => "write such as '2026-01-31T12:00:00Z'",
        };
        let refuse = || {
            let message = format!("'{}' is not a {function}", super::shorten(text, 40));
            self.problem(at, message).hint(hint)
        };
        // The crate takes '5m 30s' for five minutes: it ignores what follows what it understood.
        if function == "duration" && !is_whole_duration(text) {
            return Err(refuse());
        }
        let args = vec![CowVal::owned(CelString::from(text.to_owned()))];
        let call = ENV.find_overload(function, &args).ok_or_else(refuse)?;
        call(args).map(CowVal::into_owned).map_err(|_| refuse())
    }

    fn pattern(&self, at: &IdedExpr, text: &str) -> Result<Pattern, ConditionProblem> {
        let built = regex::RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build();
        built.map(Pattern::new).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                self.problem(at, "the pattern is too large".to_owned())
            }
            error => {
                let text = error.to_string();
                let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("the pattern is not a regular expression: {why}");
                self.problem(at, message).hint("write \\\\ for a backslash, or r'…'")
            }
        })
    }

    fn constant(&mut self, value: Box<dyn Val>) -> Expr {
        self.constants.push(value);
        Expr::Ident(format!("@c{}", self.constants.len() - 1))
    }

    fn slot(&mut self, name: &str, source: impl FnOnce() -> Source) {
        if !self.slots.iter().any(|slot| slot.name == name) {
            self.slots.push(Slot { name: name.to_owned(), source: source() });
        }
    }

    /// A slot for the path and one for the variable that it starts from, which is asked for where
    /// the path leads nowhere.
    fn slot_of_path(&mut self, names: &[String]) {
        let Some((variable, keys)) = names.split_first() else { return };
        self.slot(variable, || Source::Variable);
        if !keys.is_empty() {
            let (variable, keys) = (variable.clone(), keys.to_vec());
            self.slot(&names.join("."), || Source::Path { variable, keys });
        }
    }
}

/// Notes `expr`, unless it is noted already.
fn note(expr: &IdedExpr, found: &mut Vec<Mention>) {
    let Some(text) = name_of(expr) else { return };
    if found.len() < MOST_MENTIONS && !found.iter().any(|mention| mention.text == text) {
        found.push(Mention { text, expr: expr.clone() });
    }
}

/// The names of a path that has nothing but names: `body.db.state`.
fn qualified(expr: &IdedExpr) -> Option<Vec<String>> {
    match &expr.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) if !select.test => {
            let mut names = qualified(&select.operand)?;
            names.push(select.field.clone());
            Some(names)
        }
        _ => None,
    }
}

/// Makes each round of a loop take one step of the evaluation's budget.
///
/// The interpreter has a fast path for loops that only append to a list, which it knows by their
/// shape: there the guard of the step counts, elsewhere the condition of the loop.
fn count_steps(loop_cond: &mut IdedExpr, loop_step: &mut IdedExpr) {
    match &mut loop_step.expr {
        Expr::Call(step) if is_append(step) => {
            let accu = step.args[0].clone();
            let append = std::mem::take(loop_step);
            let tick = IdedExpr { id: append.id, expr: Expr::Ident(STEP.to_owned()) };
            *loop_step = conditional(tick, append, accu);
        }
        Expr::Call(step)
            if step.func_name == operators::CONDITIONAL
                && matches!(&step.args[..], [_, IdedExpr { expr: Expr::Call(then), .. }, _]
                    if is_append(then)) =>
        {
            count(&mut step.args[0]);
        }
        _ => count(loop_cond),
    }
}

fn is_append(step: &CallExpr) -> bool {
    step.func_name == operators::ADD
        && matches!(&step.args[..], [accu, list]
            if matches!(&accu.expr, Expr::Ident(name) if name == "@result")
                && matches!(list.expr, Expr::List(_)))
}

/// Puts a step before the condition. Not with `&&`, which swallows the error of a spent budget.
fn count(condition: &mut IdedExpr) {
    let test = std::mem::take(condition);
    let tick = IdedExpr { id: test.id, expr: Expr::Ident(STEP.to_owned()) };
    let no = Expr::Literal(LiteralValue::Boolean(false.into()));
    let no = IdedExpr { id: test.id, expr: no };
    *condition = conditional(tick, test, no);
}

fn conditional(test: IdedExpr, yes: IdedExpr, no: IdedExpr) -> IdedExpr {
    let call = CallExpr {
        func_name: operators::CONDITIONAL.to_owned(),
        target: None,
        args: vec![test, yes, no],
    };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

/// Whether all of `text` is a duration as CEL writes it: numbers with units, no spaces.
fn is_whole_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let unit = ["ms", "us", "ns", "h", "m", "s"]
            .into_iter()
            .find(|unit| rest[number..].starts_with(unit));
        match unit {
            Some(unit) if number > 0 => rest = &rest[number + unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}
