/// One option of a kind or a channel, for `watchbell kinds` and the reference pages.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// The key in the table.
    pub name: &'static str,
    /// What goes there: `string`, `integer`, `boolean`, `duration`, `table`, `list`, `secret`.
    pub ty: &'static str,
    /// The default in TOML, `required`, or empty where absence has a meaning of its own.
    pub default: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
}

impl OptionDoc {
    /// One option.
    pub const fn new(
        name: &'static str,
        ty: &'static str,
        default: &'static str,
        summary: &'static str,
    ) -> Self {
        Self { name, ty, default, summary }
    }
}
