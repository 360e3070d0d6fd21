-- Tasks: functions with results, trigger rules, and jobs that become many when they are due.

ALTER TABLE job ADD COLUMN successes INTEGER NOT NULL DEFAULT 0;  -- of what it waits for
ALTER TABLE job ADD COLUMN mapping TEXT;         -- waiting: becomes many; unfolded: waits for those
ALTER TABLE job ADD COLUMN mapped_by INTEGER;    -- job.seq of the one that it is an instance of
ALTER TABLE job ADD COLUMN map_index INTEGER;
CREATE INDEX job_instances ON job (mapped_by, map_index) WHERE mapped_by IS NOT NULL;

-- What attempts of a run's jobs left for other jobs.
CREATE TABLE xcom (
  attempt_id TEXT NOT NULL,
  key        TEXT NOT NULL,
  value      TEXT NOT NULL,               -- JSON
  PRIMARY KEY (attempt_id, key)
) STRICT;

-- The files that a run's tasks are in: blobs, by their hash.
CREATE TABLE bundle (
  run_id INTEGER NOT NULL,
  sha256 TEXT    NOT NULL,
  PRIMARY KEY (run_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_sha256 ON bundle (sha256);

-- Texts and connections that pipelines share, encrypted.
CREATE TABLE variable (
  key         TEXT    PRIMARY KEY,
  sealed      BLOB    NOT NULL,
  description TEXT    NOT NULL,
  is_secret   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE connection (
  name   TEXT PRIMARY KEY,
  sealed BLOB NOT NULL                    -- Connection as JSON
) STRICT, WITHOUT ROWID;
