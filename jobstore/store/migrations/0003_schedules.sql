CREATE TABLE schedule (
  name          TEXT    PRIMARY KEY,      -- its pipeline's
  cron          TEXT    NOT NULL,
  timezone      TEXT    NOT NULL,
  catch_up      TEXT    NOT NULL,
  overlap       TEXT    NOT NULL,
  pipeline      TEXT    NOT NULL,         -- PipelineSpec as JSON
  is_paused     INTEGER NOT NULL DEFAULT 0,
  handled_until INTEGER NOT NULL,         -- microseconds, UTC: every time up to here was dealt with
  next_at       INTEGER,                  -- the first time after that
  queue         TEXT    NOT NULL DEFAULT '[]',  -- JSON: times that wait for the run before to end
  last_at       INTEGER,                  -- the time for which it last started a run
  last_run      INTEGER,
  skipped_at    INTEGER,                  -- the last time for which it started none, and why
  skipped_why   TEXT
) STRICT, WITHOUT ROWID;

-- A span of a schedule's times, worked off one run after another.
CREATE TABLE backfill (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  schedule  TEXT    NOT NULL,
  kind      TEXT    NOT NULL,             -- asked for, or what a downtime left behind
  status    TEXT    NOT NULL,
  since     INTEGER NOT NULL,
  until     INTEGER NOT NULL,             -- excluded
  times     INTEGER NOT NULL,
  started   INTEGER NOT NULL DEFAULT 0,   -- runs
  next_at   INTEGER,                      -- NULL: all were started
  last_run  INTEGER,
  submit_key TEXT UNIQUE                  -- the caller's Idempotency-Key; NULL: nobody asked for it
) STRICT;
CREATE INDEX backfill_running ON backfill (id) WHERE status = 'running';

-- What is to be told about the ends of runs, written in the transaction that ends the run.
CREATE TABLE notification (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id     INTEGER NOT NULL,
  run_status TEXT    NOT NULL,            -- how the run ended
  kind       TEXT    NOT NULL,
  target     TEXT    NOT NULL,            -- an address, or a URL, which may hold a secret
  status     TEXT    NOT NULL,
  tries      INTEGER NOT NULL DEFAULT 0,
  waited_s   REAL    NOT NULL DEFAULT 0,  -- between tries, while a service ran
  error      TEXT,                        -- of the last try
  created_at INTEGER NOT NULL,
  sent_at    INTEGER
) STRICT;
CREATE INDEX notification_waiting ON notification (id) WHERE status = 'waiting';
CREATE INDEX notification_run     ON notification (run_id, id);
