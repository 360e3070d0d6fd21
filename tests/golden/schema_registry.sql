CREATE TABLE worker (
    id                 TEXT PRIMARY KEY,
    name               TEXT NOT NULL UNIQUE,
    incarnation        INTEGER NOT NULL,
    labels             TEXT NOT NULL,
    slots              INTEGER NOT NULL,
    host               TEXT NOT NULL,
    pid                INTEGER NOT NULL,
    version            TEXT NOT NULL,
    enrolled_at        INTEGER NOT NULL,
    desired            TEXT NOT NULL,
    desired_reason     TEXT,
    desired_deadline_s REAL,
    has_left           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
