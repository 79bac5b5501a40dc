-- The days of all checks are asked for together, and are few among the hours.
CREATE INDEX rollups_of_days ON rollups (check_id, page) WHERE level = 2;
