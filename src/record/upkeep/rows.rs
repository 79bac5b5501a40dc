//! The tables of a store, and their rows while they are on their way.

use crate::record::StoreError;
use sqlx::{ColumnIndex, Database, Decode, Row, Type};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

/// A table, the same in every store.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    /// What its rows are in order of.
    pub key: &'static str,
    /// Whether the database numbers its rows itself.
    pub is_numbered: bool,
    /// How many rows go together: not too many bytes.
    pub at_once: usize,
}

use Kind::{Bytes, Int, Text};

/// All that a store holds. What rows refer to comes first.
pub(super) static TABLES: [Table; 11] = [
    Table {
        name: "checks",
        columns: &[("id", Int), ("name", Text)],
        key: "id",
        is_numbered: true,
        at_once: 1000,
    },
    Table {
        name: "shapes",
        columns: &[("id", Int), ("names", Text)],
        key: "id",
        is_numbered: true,
        at_once: 1000,
    },
    Table {
        name: "results",
        columns: &[
            ("check_id", Int),
            ("at", Int),
            ("status", Int),
            ("latency_us", Int),
            ("reasons", Text),
            ("shape_id", Int),
            ("facts", Text),
            ("stands_ms", Int),
        ],
        key: "check_id, at",
        is_numbered: false,
        at_once: 1000,
    },
    Table {
        name: "blocks",
        columns: &[
            ("id", Int),
            ("check_id", Int),
            ("first_at", Int),
            ("last_at", Int),
            ("results", Int),
            ("body", Bytes),
        ],
        key: "id",
        is_numbered: true,
        at_once: 100,
    },
    Table {
        name: "rollups",
        columns: &[
            ("check_id", Int),
            ("level", Int),
            ("page", Int),
            ("tallies", Bytes),
            ("sketches", Bytes),
        ],
        key: "check_id, level, page",
        is_numbered: false,
        at_once: 100,
    },
    Table {
        name: "states",
        columns: &[("check_id", Int), ("body", Text)],
        key: "check_id",
        is_numbered: false,
        at_once: 500,
    },
    Table {
        name: "incidents",
        columns: &[
            ("id", Text),
            ("check_name", Text),
            ("opened_at", Int),
            ("resolved_at", Int),
            ("body", Text),
        ],
        key: "id",
        is_numbered: false,
        at_once: 200,
    },
    Table {
        name: "notices",
        columns: &[
            ("id", Text),
            ("channel", Text),
            ("state", Text),
            ("at", Int),
            ("sent_at", Int),
            ("body", Text),
        ],
        key: "id",
        is_numbered: false,
        at_once: 200,
    },
    Table {
        name: "notice_incidents",
        columns: &[("notice_id", Text), ("incident_id", Text)],
        key: "notice_id, incident_id",
        is_numbered: false,
        at_once: 1000,
    },
    Table {
        name: "silences",
        columns: &[("id", Text), ("ends_at", Int), ("body", Text)],
        key: "id",
        is_numbered: false,
        at_once: 200,
    },
    Table {
        name: "announcements",
        columns: &[("id", Text), ("body", Text)],
        key: "id",
        is_numbered: false,
        at_once: 200,
    },
];

impl Table {
    /// The names of the columns, as an INSERT lists them.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// The statement that reads it. PostgreSQL keeps some numbers in fewer bytes.
    pub fn select(&self) -> String {
        let column = |(name, kind): &(&str, Kind)| match kind {
            Int => format!("CAST({name} AS BIGINT)"),
            Text | Bytes => (*name).to_owned(),
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), self.name, self.key)
    }
}

/// A column of some rows.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

/// Some rows of a table, column by column.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub columns: Vec<Cells>,
    pub count: usize,
}

impl Rows {
    /// Those that a database gave for [`Table::select`].
    pub fn of<R>(table: &Table, rows: &[R]) -> Result<Self, StoreError>
    where
        R: Row,
        usize: ColumnIndex<R>,
        for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    {
        let mut columns = Vec::with_capacity(table.columns.len());
        for (place, (_, kind)) in table.columns.iter().enumerate() {
            columns.push(match kind {
                Int => Cells::Int(column(rows, place)?),
                Text => Cells::Text(column(rows, place)?),
                Bytes => Cells::Bytes(column(rows, place)?),
            });
        }
        Ok(Self { columns, count: rows.len() })
    }

    /// The number in a cell; zero where there is none.
    pub fn int(&self, row: usize, column: usize) -> i64 {
        self.maybe_int(row, column).unwrap_or_default()
    }

    /// The number in a cell.
    pub fn maybe_int(&self, row: usize, column: usize) -> Option<i64> {
        match self.columns.get(column) {
            Some(Cells::Int(cells)) => cells.get(row).copied().flatten(),
            _ => None,
        }
    }

    /// The text in a cell; an empty one where there is none.
    pub fn text(&self, row: usize, column: usize) -> &str {
        self.maybe_text(row, column).unwrap_or_default()
    }

    /// The text in a cell.
    pub fn maybe_text(&self, row: usize, column: usize) -> Option<&str> {
        match self.columns.get(column) {
            Some(Cells::Text(cells)) => cells.get(row).and_then(Option::as_deref),
            _ => None,
        }
    }

    /// The bytes in a cell; none where there are none.
    pub fn bytes(&self, row: usize, column: usize) -> &[u8] {
        match self.columns.get(column) {
            Some(Cells::Bytes(cells)) => cells.get(row).and_then(Option::as_deref),
            _ => None,
        }
        .unwrap_or_default()
    }
}

fn column<'r, R, T>(rows: &'r [R], place: usize) -> Result<Vec<Option<T>>, StoreError>
where
    R: Row,
    usize: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
    R::Database: Database<Row = R>,
{
    Ok(rows.iter().map(|row| row.try_get(place)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::TABLES;
    use crate::record::sqlite::MIGRATOR;
    use sqlx::{Connection as _, SqliteConnection};
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn every_table_and_column_of_the_schema_is_known() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        MIGRATOR.run(&mut conn).await.unwrap();
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
               AND m.name NOT LIKE 'sqlite%'",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let found: BTreeSet<(String, String)> = found.into_iter().collect();
        let known = TABLES.iter().flat_map(|table| {
            table.columns.iter().map(|(name, _)| (table.name.to_owned(), (*name).to_owned()))
        });
        assert_eq!(known.collect::<BTreeSet<_>>(), found);
    }
}
