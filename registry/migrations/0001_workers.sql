CREATE TABLE worker (
    id                 TEXT PRIMARY KEY,     -- the same for all incarnations of one name
    name               TEXT NOT NULL UNIQUE,
    incarnation        INTEGER NOT NULL,     -- raised by every enrolment, never lowered
    labels             TEXT NOT NULL,        -- a JSON object
    slots              INTEGER NOT NULL,
    host               TEXT NOT NULL,
    pid                INTEGER NOT NULL,
    version            TEXT NOT NULL,
    enrolled_at        INTEGER NOT NULL,     -- microseconds since 1970, of this incarnation
    desired            TEXT NOT NULL,
    desired_reason     TEXT,                 -- NULL: no operator said anything
    desired_deadline_s REAL,
    has_left           INTEGER NOT NULL      -- 1: this incarnation said goodbye
) STRICT, WITHOUT ROWID;
