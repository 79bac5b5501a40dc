-- Milliseconds for which a result says how its check is, if no other follows. What was written
-- before this was known is taken to say it for two minutes.
ALTER TABLE results ADD COLUMN stands_ms INTEGER NOT NULL DEFAULT 120000;

-- Older results of a check, some hundred together. Two blocks may overlap in time, if a clock went
-- back.
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    check_id INTEGER NOT NULL,
    first_at INTEGER NOT NULL,   -- milliseconds since the Unix epoch
    last_at INTEGER NOT NULL,
    results INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX blocks_by_end ON blocks (check_id, last_at);

-- Counts of a check by minute, hour or day, many on a page.
CREATE TABLE rollups (
    check_id INTEGER NOT NULL,
    level INTEGER NOT NULL,      -- 0 minute, 1 hour, 2 day
    page INTEGER NOT NULL,       -- where the page begins: milliseconds since the Unix epoch
    tallies BLOB NOT NULL,
    sketches BLOB NOT NULL,
    PRIMARY KEY (check_id, level, page)
) STRICT;
