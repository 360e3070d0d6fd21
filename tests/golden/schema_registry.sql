CREATE TABLE told (
  seq       INTEGER PRIMARY KEY,
  worker_id TEXT    NOT NULL,
  at        INTEGER NOT NULL,
  by        TEXT    NOT NULL,
  what      TEXT    NOT NULL,
  reason    TEXT    NOT NULL,
  for_s     REAL
) STRICT;
CREATE INDEX told_worker ON told (worker_id, seq);
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
, desired_by TEXT, desired_at INTEGER, pause_s    REAL, is_now     INTEGER NOT NULL DEFAULT 0, set_slots  INTEGER, set_labels TEXT NOT NULL DEFAULT '{}') STRICT, WITHOUT ROWID;
