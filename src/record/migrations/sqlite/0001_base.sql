-- A check's name is written once; results refer to its number.
CREATE TABLE checks (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A list of names of facts, as a JSON array. Nearly all results of a kind share one, so that each
-- result needs to hold only the values.
CREATE TABLE shapes (
    id INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE
) STRICT;

-- One run. It is stored under its check and time, so that the newest results of a check lie
-- together, and so that writing the same result twice does not double it.
CREATE TABLE results (
    check_id INTEGER NOT NULL,
    at INTEGER NOT NULL,         -- milliseconds since the Unix epoch
    status INTEGER NOT NULL,     -- 0 up, 1 degraded, 2 down, 3 unknown
    latency_us INTEGER NOT NULL,
    reasons TEXT,                -- a JSON array; null where there are none
    shape_id INTEGER,            -- null where facts holds a whole JSON value
    facts TEXT,                  -- a JSON array of the values; null where there are none
    PRIMARY KEY (check_id, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE states (
    check_id INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE incidents (
    id TEXT PRIMARY KEY NOT NULL,
    check_name TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    resolved_at INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX incidents_by_age ON incidents (opened_at, id);
CREATE INDEX incidents_by_check ON incidents (check_name, opened_at, id);
CREATE INDEX incidents_open ON incidents (opened_at, id) WHERE resolved_at IS NULL;
CREATE INDEX incidents_resolved ON incidents (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE notices (
    id TEXT PRIMARY KEY NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    sent_at INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX notices_by_age ON notices (at, id);
CREATE INDEX notices_by_channel ON notices (channel, at, id);
CREATE INDEX notices_by_state ON notices (state, at, id);
CREATE INDEX notices_sent ON notices (sent_at) WHERE sent_at IS NOT NULL;

CREATE TABLE notice_incidents (
    notice_id TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    PRIMARY KEY (notice_id, incident_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_incidents_by_incident ON notice_incidents (incident_id, notice_id);
