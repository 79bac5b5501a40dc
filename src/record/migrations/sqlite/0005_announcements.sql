-- What people tell the readers of the public status page.
CREATE TABLE announcements (
    id TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL
) STRICT;
