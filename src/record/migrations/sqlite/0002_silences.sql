-- A time in which nobody wants to hear of certain incidents.
CREATE TABLE silences (
    id TEXT PRIMARY KEY NOT NULL,
    ends_at INTEGER NOT NULL,    -- milliseconds since the Unix epoch
    body TEXT NOT NULL
) STRICT;
CREATE INDEX silences_by_end ON silences (ends_at);
