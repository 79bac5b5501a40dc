//! The page about templates lists what the structs hold, in the words of their own comments.

const PAGE: &str = include_str!("../../../docs/templates.md");
const BEGIN: &str = "<!-- The tables come from the comments in src/render; a test compares. -->\n";
const END: &str = "<!-- End of the tables. -->";

/// Each struct that templates see: how they reach it, its name, and the file where it stands.
const STRUCTS: [(&str, &str, &str); 9] = [
    ("", "Context", include_str!("../context.rs")),
    ("counts", "Counts", include_str!("../context.rs")),
    ("held", "HeldContext", include_str!("../context.rs")),
    ("picture", "PictureContext", include_str!("../context.rs")),
    ("incident", "IncidentContext", include_str!("../incident.rs")),
    ("incident.previous", "PreviousContext", include_str!("../past.rs")),
    ("incident.links", "LinkContext", include_str!("../links.rs")),
    ("incident.actions", "ActionContext", include_str!("../links.rs")),
    ("incident.timeline", "TimelineContext", include_str!("../incident.rs")),
];

/// The fields of a struct with their comments, in the order of the source.
fn fields(name: &str, source: &str) -> Vec<(String, String)> {
    let start = format!("pub struct {name} {{");
    let body = source.split_once(&start).unwrap().1.split_once("\n}").unwrap().0;
    let mut fields = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            comment.push(words);
        } else if let Some((field, _)) =
            line.strip_prefix("pub ").and_then(|line| line.split_once(':'))
        {
            fields.push((field.to_owned(), comment.join(" ")));
            comment.clear();
        }
    }
    fields
}

fn tables() -> String {
    let mut out = String::new();
    for (way, name, source) in STRUCTS {
        let title = match way {
            "" => "What a message has".to_owned(),
            "incident" => "`incident`, and each of `incidents`".to_owned(),
            "incident.links" => "each of `incident.links`".to_owned(),
            "incident.actions" => "each of `incident.actions`".to_owned(),
            "incident.timeline" => "each of `incident.timeline` and `incident.tried`".to_owned(),
            way => format!("`{way}`"),
        };
        out += &format!("\n### {title}\n\n| name | what it holds |\n|---|---|\n");
        for (field, comment) in fields(name, source) {
            assert!(!comment.is_empty(), "{name}.{field} says nothing");
            out += &format!("| `{field}` | {} |\n", comment.replace('|', "\\|"));
        }
    }
    out
}

#[test]
fn the_page_about_templates_lists_all_that_they_are_given() {
    let found = PAGE.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
    let expected = format!("{}\n", tables());
    assert!(found == expected, "put this into docs/templates.md:\n{expected}");
}

#[test]
fn what_a_template_is_given_has_the_names_of_the_structs() {
    use super::letter;
    use crate::model::What;
    use crate::render::{Context, sample};
    let incidents = sample::incidents();
    let context = Context::of(&letter(What::Opened, &incidents[..1]));
    let json = serde_json::to_value(&context).unwrap();
    for (name, value, source) in [
        ("Context", &json, STRUCTS[0].2),
        ("Counts", &json["counts"], STRUCTS[1].2),
        ("IncidentContext", &json["incident"], STRUCTS[4].2),
    ] {
        let mut listed: Vec<String> = fields(name, source).into_iter().map(|it| it.0).collect();
        let mut given: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        listed.sort();
        given.sort();
        assert_eq!(listed, given);
    }
}
