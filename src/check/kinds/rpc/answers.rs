//! What a run asked, and what came of it.

use super::endpoint::{Ask, CallError, Endpoint};
use super::{MOST_WORDS, Rpc, quantity};
use crate::check::Run;
use crate::check::support::absent::Absent;
use crate::check::support::value::{excerpt, fact_of};
use crate::model::Facts;
use futures_util::future::join_all;
use serde_json::{Map, Value as Json, json};
use std::time::Duration;

/// The code of a method that a server does not have.
///
/// See <https://www.jsonrpc.org/specification#error_object>.
const NO_SUCH_METHOD: i64 = -32601;

/// Why a run found no more.
#[derive(Debug)]
pub enum Finding {
    /// The server limits our rate, and so nothing is known of it.
    RateLimited(String),
    /// It failed, in words.
    Failed(String),
}

/// The answers of one run, in the order of its questions.
#[derive(Debug)]
pub struct Answers {
    results: std::vec::IntoIter<Result<Json, CallError>>,
    /// The highest number that a reference gave.
    pub best: Option<i64>,
    /// What each reference gave: a number, or words.
    references: Map<String, Json>,
    /// Facts that are not there.
    pub absent: Absent,
    /// The first failure that does not stop the reading.
    failed: Option<Finding>,
    /// The result of the call of the user's choice.
    own: Option<Json>,
}

impl Answers {
    /// The next answer.
    pub fn next(&mut self) -> Result<Json, CallError> {
        self.results.next().unwrap_or_else(|| Err(CallError::Odd("was not asked".to_owned())))
    }

    /// Reads the next answer, which a node need not give: `fact` is absent then, with the reason.
    pub fn offer(&mut self, node: &Rpc, fact: &'static str, method: &str, set: impl FnOnce(&Json)) {
        match self.next() {
            Ok(json) => {
                set(&json);
                let what = format!("the answer to {method} does not tell it");
                self.absent.because(fact, what);
            }
            Err(error) => self.absent.because(fact, node.why_not(&error, method)),
        }
    }

    /// Notes a failure, and lets the reading go on. The first counts.
    pub fn failed(&mut self, finding: Finding) {
        self.failed.get_or_insert(finding);
    }

    /// `fact` cannot be told for want of a reference.
    pub fn no_best(&mut self, fact: &'static str) {
        let words: Vec<String> =
            self.references.iter().map(|(name, what)| format!("{name}: {what}")).collect();
        self.absent.because(
            fact,
            match words.is_empty() {
                true => "there is no `reference` to compare with".to_owned(),
                false => format!("no reference answered: {}", words.join("; ")),
            },
        );
    }

    /// Writes down what is left to say, and gives the first failure, else `otherwise`.
    pub fn end(mut self, facts: &mut Facts, otherwise: Option<String>) -> Result<(), Finding> {
        if !self.references.is_empty() {
            let failed = self.references.values().filter(|what| what.is_string()).count();
            facts.set("references_failed", i64::try_from(failed).unwrap_or(i64::MAX));
            facts.set("references", Json::Object(std::mem::take(&mut self.references)));
        }
        if let Some(own) = self.own {
            facts.set("result", fact_of(own));
        }
        self.absent.note(facts);
        match (self.failed, otherwise) {
            (Some(finding), _) => Err(finding),
            (None, Some(what)) => Err(Finding::Failed(what)),
            (None, None) => Ok(()),
        }
    }
}

impl Rpc {
    /// Makes `asks`, and the call of the user's choice, and asks the references for their height,
    /// all at the same time. Where the server limits our rate, nothing else is told.
    pub(super) async fn ask(
        &self,
        run: &Run,
        mut asks: Vec<Ask>,
        height: (&str, Json),
    ) -> Result<Answers, Finding> {
        if let Some(call) = &self.call {
            asks.push(call.clone());
        }
        let (mut results, references) = tokio::join!(
            self.endpoint.all(&run.shared.http, &asks),
            self.heights(run, height.0, &height.1),
        );
        let limited = results.iter().find_map(|result| match result {
            Err(error @ CallError::RateLimited(_)) => Some(self.finding(error)),
            _ => None,
        });
        if let Some(limited) = limited {
            return Err(limited);
        }
        let (mut own, mut failed) = (None, None);
        if self.call.is_some() {
            match results.pop() {
                Some(Ok(result)) => own = Some(result),
                Some(Err(error)) => failed = Some(self.finding(&error)),
                None => {}
            }
        }
        let mut answers = Answers {
            results: results.into_iter(),
            best: references.iter().filter_map(|(_, height)| height.as_ref().ok()).max().copied(),
            references: Map::new(),
            absent: Absent::default(),
            failed,
            own,
        };
        for (index, (shown, height)) in references.into_iter().enumerate() {
            let name = match answers.references.contains_key(&shown) {
                true => format!("{shown} ({})", index + 1),
                false => shown,
            };
            answers.references.insert(name, height.map_or_else(Json::String, Json::from));
        }
        Ok(answers)
    }

    /// What each reference answers within half of the run's time, so that one that hangs does not
    /// make the node look bad.
    async fn heights(
        &self,
        run: &Run,
        method: &str,
        params: &Json,
    ) -> Vec<(String, Result<i64, String>)> {
        let patience: Duration = run.timeout / 2;
        let ask = |reference| async move {
            let call = Endpoint::call(reference, &run.shared.http, method, params);
            let height = match tokio::time::timeout(patience, call).await {
                Err(_) => Err("did not answer in time".to_owned()),
                Ok(Err(error)) => Err(reference.clean(&in_words(&error))),
                Ok(Ok(answer)) => {
                    quantity(&answer).ok_or_else(|| "answered something that is no number".into())
                }
            };
            (reference.shown().to_owned(), height)
        };
        join_all(self.references.iter().map(ask)).await
    }

    /// Why a method gave nothing.
    pub(super) fn why_not(&self, error: &CallError, method: &str) -> String {
        match error {
            CallError::Answered { code: NO_SUCH_METHOD, .. } => {
                format!("the node does not offer {method}")
            }
            error => self.words(error),
        }
    }

    pub(super) fn finding(&self, error: &CallError) -> Finding {
        let words = self.words(error);
        match error {
            CallError::RateLimited(_) => Finding::RateLimited(words),
            _ => Finding::Failed(words),
        }
    }

    pub(super) fn words(&self, error: &CallError) -> String {
        self.endpoint.clean(&in_words(error))
    }

    /// All of `batch` in one go; the error names the first call that failed.
    pub(super) async fn batch(&self, run: &Run, facts: &mut Facts) -> Result<(), Finding> {
        let answers = self.endpoint.all(&run.shared.http, &self.batch).await;
        let mut results = Vec::with_capacity(answers.len());
        let mut failed = None;
        for ((method, _), answer) in self.batch.iter().zip(answers) {
            match answer {
                Ok(result) => results.push(result),
                Err(error) => {
                    results.push(Json::Null);
                    let finding = match self.finding(&error) {
                        Finding::Failed(words) => {
                            let number = results.len();
                            let method = excerpt(method, MOST_WORDS);
                            Finding::Failed(format!("call {number} ({method}): {words}"))
                        }
                        limited => limited,
                    };
                    let limits = matches!(finding, Finding::RateLimited(_));
                    if failed.is_none() || limits {
                        failed = Some(finding);
                    }
                }
            }
        }
        facts.set("results", json!(results));
        failed.map_or(Ok(()), Err)
    }
}

fn in_words(error: &CallError) -> String {
    match error {
        CallError::Answered { code, message, .. } => {
            format!("the node answered error {code}: {message}")
        }
        CallError::RateLimited(what) => {
            format!("the endpoint limits our rate, so nothing is known of the node: {what}")
        }
        CallError::Odd(words) => words.clone(),
    }
}
