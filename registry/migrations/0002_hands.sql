-- Who wished what when, how long a pause lasts, and what operators set beside what a worker said.
ALTER TABLE worker ADD COLUMN desired_by TEXT;
ALTER TABLE worker ADD COLUMN desired_at INTEGER;   -- microseconds since 1970
ALTER TABLE worker ADD COLUMN pause_s    REAL;      -- NULL: until somebody resumes it
ALTER TABLE worker ADD COLUMN is_now     INTEGER NOT NULL DEFAULT 0;    -- of a stop: without grace
ALTER TABLE worker ADD COLUMN set_slots  INTEGER;   -- NULL: those with which it was started
ALTER TABLE worker ADD COLUMN set_labels TEXT NOT NULL DEFAULT '{}';    -- null: it has no such

CREATE TABLE told (                  -- the latest of what operators did to each worker
  seq       INTEGER PRIMARY KEY,
  worker_id TEXT    NOT NULL,
  at        INTEGER NOT NULL,
  by        TEXT    NOT NULL,
  what      TEXT    NOT NULL,
  reason    TEXT    NOT NULL,
  for_s     REAL
) STRICT;
CREATE INDEX told_worker ON told (worker_id, seq);
