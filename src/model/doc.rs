/// One option of a table in a configuration file, for `watchbell kinds`, the reference pages and
/// the JSON Schema.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// The key in the table.
    pub name: &'static str,
    /// What goes there: `string`, `integer`, `boolean`, `duration`, `rate`, `table`, `list`,
    /// `secret`.
    pub ty: &'static str,
    /// The default in TOML, `required`, or empty where absence has a meaning of its own.
    pub default: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What goes there more precisely than `ty` says.
    pub shape: Shape,
}

/// What goes into an option, where its type leaves something open.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// What the type says: a list is one of texts, a table has keys of the user's and texts.
    Plain,
    /// One of these words, or a list of them.
    Words(&'static [&'static str]),
    /// The type, or another one: `integer`, `string`, `number`, `list`, `table`.
    Or(&'static str),
    /// One of these words, or another type.
    WordsOr(&'static [&'static str], &'static str),
    /// A list of whole numbers.
    Numbers,
    /// A table with these keys, or a list of such tables where the type is `list`.
    Keys(&'static [OptionDoc]),
    /// Whatever TOML can say.
    Any,
}

impl OptionDoc {
    /// One option.
    pub const fn new(
        name: &'static str,
        ty: &'static str,
        default: &'static str,
        summary: &'static str,
    ) -> Self {
        Self { name, ty, default, summary, shape: Shape::Plain }
    }

    /// One that takes these words and no others.
    #[must_use]
    pub const fn words(self, words: &'static [&'static str]) -> Self {
        Self { shape: Shape::Words(words), ..self }
    }

    /// One that takes a value of another type as well.
    #[must_use]
    pub const fn or(self, ty: &'static str) -> Self {
        let shape = match self.shape {
            Shape::Words(words) => Shape::WordsOr(words, ty),
            _ => Shape::Or(ty),
        };
        Self { shape, ..self }
    }

    /// One whose list holds whole numbers.
    #[must_use]
    pub const fn numbers(self) -> Self {
        Self { shape: Shape::Numbers, ..self }
    }

    /// One whose table, or each table of its list, has these keys.
    #[must_use]
    pub const fn keys(self, keys: &'static [Self]) -> Self {
        Self { shape: Shape::Keys(keys), ..self }
    }

    /// One that takes anything.
    #[must_use]
    pub const fn any(self) -> Self {
        Self { shape: Shape::Any, ..self }
    }
}
