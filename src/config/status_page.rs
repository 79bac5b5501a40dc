use super::section::Section;

/// What `[status_page]` says of the public status page.
#[derive(Debug, Default)]
pub struct StatusPageSettings {
    /// What stands at its top; the name of the daemon if absent.
    pub title: Option<String>,
    /// A sentence below.
    pub description: Option<String>,
    /// The label by whose values the checks are grouped.
    pub group_by: Option<String>,
}

/// The longest text, in characters.
const LONGEST: usize = 500;

pub(super) fn read_status_page(table: &mut Section<'_>) -> StatusPageSettings {
    StatusPageSettings {
        title: table.built("title", shown),
        description: table.built("description", shown),
        group_by: table.built("group_by", shown),
    }
}

/// A text that people read: on one line, and there.
pub(super) fn shown(text: String) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("is empty: leave it out".to_owned());
    }
    if trimmed.chars().any(char::is_control) {
        return Err("holds a control character; it is one line of text".to_owned());
    }
    if trimmed.chars().count() > LONGEST {
        return Err(format!("is longer than {LONGEST} characters"));
    }
    Ok(trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_shown_is_one_line_that_is_there() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = shown(text.to_owned());
            assert_eq!(read.as_deref().map_err(|why| &**why), expected, "{text:?}");
        };
        check(" Shop status ", Ok("Shop status"));
        check("  ", Err("is empty: leave it out"));
        check("a\nb", Err("holds a control character; it is one line of text"));
        check(&"x".repeat(501), Err("is longer than 500 characters"));
    }
}
