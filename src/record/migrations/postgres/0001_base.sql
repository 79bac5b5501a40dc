-- A check's name is written once; what is kept of it refers to its number.
CREATE TABLE checks (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- A list of names of facts, as a JSON array. Nearly all results of a kind share one, so that each
-- result needs to hold only the values.
CREATE TABLE shapes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    names TEXT NOT NULL UNIQUE
);

-- One run. Times are milliseconds since the Unix epoch.
CREATE TABLE results (
    check_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    latency_us BIGINT NOT NULL,
    stands_ms BIGINT NOT NULL,   -- for how long it says how the check is, if no other follows
    shape_id BIGINT,             -- null where facts holds a whole JSON value
    status SMALLINT NOT NULL,    -- 0 up, 1 degraded, 2 down, 3 unknown; 8 on top in maintenance
    reasons TEXT,                -- a JSON array; null where there are none
    facts TEXT,                  -- a JSON array of the values; null where there are none
    PRIMARY KEY (check_id, at)
);

-- Older results of a check, some hundred together. Two blocks may overlap in time, if a clock went
-- back.
CREATE TABLE blocks (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    check_id BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    results BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX blocks_by_end ON blocks (check_id, last_at, id);
-- They are pressed already.
ALTER TABLE blocks ALTER COLUMN body SET STORAGE EXTERNAL;

-- Counts of a check by minute, hour or day, many on a page.
CREATE TABLE rollups (
    check_id BIGINT NOT NULL,
    level SMALLINT NOT NULL,     -- 0 minute, 1 hour, 2 day
    page BIGINT NOT NULL,        -- where the page begins
    tallies BYTEA NOT NULL,
    sketches BYTEA NOT NULL,
    PRIMARY KEY (check_id, level, page)
);

CREATE TABLE states (
    check_id BIGINT PRIMARY KEY,
    body TEXT NOT NULL
);

CREATE TABLE incidents (
    id TEXT COLLATE "C" PRIMARY KEY,
    check_name TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    resolved_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX incidents_by_age ON incidents (opened_at, id);
CREATE INDEX incidents_by_check ON incidents (check_name, opened_at, id);
CREATE INDEX incidents_open ON incidents (opened_at, id) WHERE resolved_at IS NULL;
CREATE INDEX incidents_resolved ON incidents (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE notices (
    id TEXT COLLATE "C" PRIMARY KEY,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,
    at BIGINT NOT NULL,
    sent_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX notices_by_age ON notices (at, id);
CREATE INDEX notices_by_channel ON notices (channel, at, id);
CREATE INDEX notices_by_state ON notices (state, at, id);
CREATE INDEX notices_sent ON notices (sent_at) WHERE sent_at IS NOT NULL;

CREATE TABLE notice_incidents (
    notice_id TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    PRIMARY KEY (notice_id, incident_id)
);
CREATE INDEX notice_incidents_by_incident ON notice_incidents (incident_id, notice_id);

-- A time in which nobody wants to hear of certain incidents.
CREATE TABLE silences (
    id TEXT COLLATE "C" PRIMARY KEY,
    ends_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX silences_by_end ON silences (ends_at);
