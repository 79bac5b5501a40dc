//! "Did you mean": the known word that a mistyped one was probably meant to be.

/// The candidate that `wrong` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(wrong.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The nearest of `candidates` as a question: "did you mean `status`?".
pub fn did_you_mean<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(wrong, candidates).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest};

    #[test]
    fn a_typing_error_finds_its_word_and_another_word_finds_none() {
        let known = ["status", "latency", "body"];
        let check = |wrong, expected| assert_eq!(nearest(wrong, known), expected, "{wrong}");
        check("statsu", Some("status"));
        check("latencyy", Some("latency"));
        check("bdy", Some("body"));
        check("headers", None);
        assert_eq!(did_you_mean("stauts", known).as_deref(), Some("did you mean `status`?"));
    }
}
