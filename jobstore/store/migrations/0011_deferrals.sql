-- Tasks that wait without a worker.

-- Where the task goes on, and with what: Resumption as JSON. Kept while that try is not over.
ALTER TABLE job ADD COLUMN resume TEXT;

-- What a job waits for that is deferred or rescheduled: there is a row exactly while it is.
CREATE TABLE deferral (
  job_seq     INTEGER PRIMARY KEY,
  fence       INTEGER NOT NULL,           -- of the attempt that deferred: an older trigger is void
  kind        TEXT    NOT NULL,
  params      TEXT    NOT NULL,           -- JSON, by kind: jobstore/triggers/kinds.py
  says        TEXT    NOT NULL,           -- for people
  next_method TEXT,                       -- NULL: begins again
  arguments   TEXT    NOT NULL,           -- JSON
  timeout_s   REAL,                       -- NULL: waits for ever
  on_timeout  TEXT,                       -- the method to go on in then; NULL: the try has failed
  since       INTEGER NOT NULL
) STRICT;
CREATE INDEX deferral_question ON deferral (job_seq) WHERE kind = 'question';

CREATE TRIGGER deferral_is_over AFTER UPDATE OF status ON job
WHEN OLD.status IN ('deferred', 'rescheduled') AND NEW.status <> OLD.status
BEGIN
  DELETE FROM deferral WHERE job_seq = OLD.seq;
END;

-- URLs that tasks gave to others, each good for one message.
CREATE TABLE callback (
  id          TEXT    PRIMARY KEY,        -- UUIDv7
  job_seq     INTEGER NOT NULL,
  secret_hash BLOB    NOT NULL,           -- SHA-256
  event       TEXT,                       -- what was posted, as JSON; NULL: nothing yet
  posted_at   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX callback_job ON callback (job_seq);

CREATE TRIGGER job_is_pruned AFTER DELETE ON job
BEGIN
  DELETE FROM deferral WHERE job_seq = OLD.seq;
  DELETE FROM callback WHERE job_seq = OLD.seq;
END;
