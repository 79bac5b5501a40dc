-- What people tell the readers of the public status page.
CREATE TABLE announcements (
    id TEXT COLLATE "C" PRIMARY KEY,
    body TEXT NOT NULL
);
