CREATE TABLE artifact (
  attempt_id TEXT    NOT NULL,
  path       TEXT    NOT NULL,
  size_bytes INTEGER NOT NULL,
  sha256     TEXT    NOT NULL,
  PRIMARY KEY (attempt_id, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_sha256 ON artifact (sha256);
CREATE TABLE attempt (
  id         TEXT    PRIMARY KEY,
  job_seq    INTEGER NOT NULL,
  fence      INTEGER NOT NULL,
  worker_id  TEXT    NOT NULL,
  claim_id   TEXT    NOT NULL,
  status     TEXT    NOT NULL,
  claimed_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at   INTEGER,
  host       TEXT,
  pid        INTEGER,
  exit_code  INTEGER,
  signal     INTEGER,
  reason     TEXT,
  receipt_id TEXT,
  result_digest TEXT,
  job_status TEXT,
  log_size   INTEGER NOT NULL DEFAULT 0,
  log_sha256 TEXT,
  log_lost   INTEGER NOT NULL DEFAULT 0,
  log_inline BLOB,
  usage      TEXT,
  evidence   TEXT, outcome TEXT,
  UNIQUE (job_seq, fence)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_claim ON attempt (worker_id, claim_id);
CREATE INDEX attempt_live  ON attempt (status) WHERE status IN ('claimed', 'running');
CREATE TABLE backfill (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  schedule  TEXT    NOT NULL,
  kind      TEXT    NOT NULL,
  status    TEXT    NOT NULL,
  since     INTEGER NOT NULL,
  until     INTEGER NOT NULL,
  times     INTEGER NOT NULL,
  started   INTEGER NOT NULL DEFAULT 0,
  next_at   INTEGER,
  last_run  INTEGER,
  submit_key TEXT UNIQUE
) STRICT;
CREATE INDEX backfill_running ON backfill (id) WHERE status = 'running';
CREATE TABLE bundle (
  run_id INTEGER NOT NULL,
  sha256 TEXT    NOT NULL,
  PRIMARY KEY (run_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_sha256 ON bundle (sha256);
CREATE TABLE callback (
  id          TEXT    PRIMARY KEY,
  job_seq     INTEGER NOT NULL,
  secret_hash BLOB    NOT NULL,
  event       TEXT,
  posted_at   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX callback_job ON callback (job_seq);
CREATE TABLE chain_start (
  event_seq INTEGER NOT NULL,
  run_id    INTEGER NOT NULL
) STRICT;
CREATE TABLE component (
  id          TEXT    PRIMARY KEY,
  owner       TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  host        TEXT    NOT NULL,
  pid         INTEGER NOT NULL,
  interval_s  REAL    NOT NULL,
  status      TEXT    NOT NULL,
  fence       INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  beat_at     INTEGER NOT NULL,
  ended_at    INTEGER,
  reason      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX component_place ON component (kind, name, fence);
CREATE TABLE connection (
  name   TEXT PRIMARY KEY,
  sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE deferral (
  job_seq     INTEGER PRIMARY KEY,
  fence       INTEGER NOT NULL,
  kind        TEXT    NOT NULL,
  params      TEXT    NOT NULL,
  says        TEXT    NOT NULL,
  next_method TEXT,
  arguments   TEXT    NOT NULL,
  timeout_s   REAL,
  on_timeout  TEXT,
  since       INTEGER NOT NULL
) STRICT;
CREATE TRIGGER deferral_is_over AFTER UPDATE OF status ON job
WHEN OLD.status IN ('deferred', 'rescheduled') AND NEW.status <> OLD.status
BEGIN
  DELETE FROM deferral WHERE job_seq = OLD.seq;
END;
CREATE INDEX deferral_question ON deferral (job_seq) WHERE kind = 'question';
CREATE TABLE edge (
  upstream   INTEGER NOT NULL,
  downstream INTEGER NOT NULL,
  PRIMARY KEY (upstream, downstream)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_downstream ON edge (downstream);
CREATE TABLE event (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  at         INTEGER NOT NULL,
  kind       TEXT    NOT NULL,
  run_id     INTEGER NOT NULL,
  job_id     TEXT,
  attempt_id TEXT,
  facts      TEXT    NOT NULL
, digest BLOB) STRICT;
CREATE INDEX event_run ON event (run_id, seq);
CREATE TABLE job (
  seq           INTEGER PRIMARY KEY,
  run_id        INTEGER NOT NULL,
  id            TEXT    NOT NULL,
  stage         INTEGER NOT NULL,
  spec          TEXT    NOT NULL,
  status        TEXT    NOT NULL,
  priority      INTEGER NOT NULL,
  selector_id   INTEGER NOT NULL,
  allow_failure INTEGER NOT NULL,
  waits         INTEGER NOT NULL,
  fence         INTEGER NOT NULL DEFAULT 0,
  tries         INTEGER NOT NULL DEFAULT 0,
  losses        INTEGER NOT NULL DEFAULT 0,
  refusals      INTEGER NOT NULL DEFAULT 0,
  is_cancelled  INTEGER NOT NULL DEFAULT 0,
  delay_s       REAL,
  queue_timeout_s REAL,
  attempt_id    TEXT,
  exit_code     INTEGER,
  reason        TEXT,
  started_at    INTEGER,
  ended_at      INTEGER, condition TEXT NOT NULL DEFAULT 'on_success', failures INTEGER NOT NULL DEFAULT 0, is_main INTEGER NOT NULL DEFAULT 0, watches_run INTEGER NOT NULL DEFAULT 0, lock TEXT, held_for TEXT, needs_approval INTEGER NOT NULL DEFAULT 0, approved_by TEXT, marked_by TEXT, elapsed_s REAL NOT NULL DEFAULT 0, successes INTEGER NOT NULL DEFAULT 0, mapping TEXT, mapped_by INTEGER, map_index INTEGER, resume TEXT,
  UNIQUE (run_id, id)
) STRICT;
CREATE INDEX job_held     ON job (run_id, priority DESC, seq) WHERE held_for = 'max_workers';
CREATE VIEW job_history AS
SELECT
  job.seq    AS id,
  job.run_id AS run_id,
  run.name   AS application_name,
  job.id     AS job_id,
  job.status AS status,
  strftime('%Y-%m-%dT%H:%M:%S', job.started_at / 1000000, 'unixepoch')
    || printf('.%03dZ', job.started_at / 1000 % 1000) AS start_time,
  strftime('%Y-%m-%dT%H:%M:%S', job.ended_at / 1000000, 'unixepoch')
    || printf('.%03dZ', job.ended_at / 1000 % 1000) AS end_time,
  coalesce(
    json_extract(job.spec, '$.command'),
    (SELECT group_concat(value, char(10)) FROM json_each(job.spec, '$.script')),
    (SELECT group_concat(value, ' ') FROM json_each(job.spec, '$.argv'))
  ) AS command,
  job.exit_code AS exit_code,
  max(job.tries - 1, 0) AS retry_count,

  CASE WHEN attempt.log_size > 0 AND attempt.log_inline IS NULL
       THEN 'files/logs/' || substr(attempt.id, -2) || '/' || attempt.id END AS log_file
FROM job
JOIN run ON run.id = job.run_id
LEFT JOIN attempt ON attempt.id = job.attempt_id;
CREATE INDEX job_instances ON job (mapped_by, map_index) WHERE mapped_by IS NOT NULL;
CREATE TRIGGER job_is_pruned AFTER DELETE ON job
BEGIN
  DELETE FROM deferral WHERE job_seq = OLD.seq;
  DELETE FROM callback WHERE job_seq = OLD.seq;
END;
CREATE INDEX job_locked   ON job (lock, priority DESC, seq) WHERE held_for = 'lock';
CREATE INDEX job_queued   ON job (selector_id, priority DESC, seq) WHERE status = 'queued';
CREATE INDEX job_retrying ON job (seq) WHERE status = 'retrying';
CREATE INDEX job_stage    ON job (run_id, stage) WHERE status = 'blocked';
CREATE INDEX job_watching ON job (run_id) WHERE watches_run = 1;
CREATE TABLE lock (
  name   TEXT    PRIMARY KEY,
  holder INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE notification (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id     INTEGER NOT NULL,
  run_status TEXT    NOT NULL,
  kind       TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  status     TEXT    NOT NULL,
  tries      INTEGER NOT NULL DEFAULT 0,
  waited_s   REAL    NOT NULL DEFAULT 0,
  error      TEXT,
  created_at INTEGER NOT NULL,
  sent_at    INTEGER
, question TEXT) STRICT;
CREATE INDEX notification_run     ON notification (run_id, id);
CREATE INDEX notification_waiting ON notification (id) WHERE status = 'waiting';
CREATE TABLE pruned_blob (
  sha256 TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE pruned_log (
  attempt_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE pruned_run (
  id       INTEGER PRIMARY KEY,
  root_run INTEGER NOT NULL
) STRICT;
CREATE VIEW retry_history AS
SELECT
  attempt.job_seq * 1000000 + attempt.fence AS id,
  job.run_id AS run_id,
  job.id     AS job_id,
  (SELECT count(*) FROM attempt AS earlier WHERE earlier.job_seq = attempt.job_seq
    AND earlier.fence <= attempt.fence AND earlier.started_at IS NOT NULL) AS attempt_number,
  strftime('%Y-%m-%dT%H:%M:%S', attempt.started_at / 1000000, 'unixepoch')
    || printf('.%03dZ', attempt.started_at / 1000 % 1000) AS timestamp,
  (attempt.ended_at - attempt.started_at) / 1000000.0 AS duration,
  coalesce(attempt.outcome, attempt.status) = 'success' AS success,
  attempt.exit_code AS exit_code,
  coalesce(attempt.outcome, attempt.status) AS status
FROM attempt
JOIN job ON job.seq = attempt.job_seq
JOIN run ON run.id = job.run_id
WHERE attempt.started_at IS NOT NULL;
CREATE TABLE run (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT    NOT NULL,
  status        TEXT    NOT NULL,
  submit_key    TEXT    NOT NULL UNIQUE,
  submit_digest TEXT    NOT NULL,
  description   TEXT,
  max_workers   INTEGER,
  retry_of      INTEGER,
  admitted      INTEGER NOT NULL DEFAULT 0,
  open_jobs     INTEGER NOT NULL,
  failed_jobs   INTEGER NOT NULL DEFAULT 0,
  is_cancelled  INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL,
  started_at    INTEGER,
  ended_at      INTEGER
, on_error TEXT NOT NULL DEFAULT 'continue', settings TEXT NOT NULL DEFAULT '{}', root_run INTEGER, attempt INTEGER NOT NULL DEFAULT 1, schedule TEXT, scheduled_for INTEGER, is_stopped INTEGER NOT NULL DEFAULT 0, cancelled_jobs INTEGER NOT NULL DEFAULT 0, open_main INTEGER NOT NULL DEFAULT 0, main_failures INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX run_ended ON run (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX run_name ON run (name, id);
CREATE INDEX run_root ON run (root_run, attempt);
CREATE VIEW run_summary AS
SELECT
  run.id   AS run_id,
  run.name AS application_name,
  strftime('%Y-%m-%dT%H:%M:%S', run.started_at / 1000000, 'unixepoch')
    || printf('.%03dZ', run.started_at / 1000 % 1000) AS start_time,
  strftime('%Y-%m-%dT%H:%M:%S', run.ended_at / 1000000, 'unixepoch')
    || printf('.%03dZ', run.ended_at / 1000 % 1000) AS end_time,
  run.status AS status,
  count(job.seq) AS total_jobs,
  count(CASE WHEN job.status = 'success' THEN 1 END) AS completed_jobs,
  count(CASE WHEN job.status IN ('failed', 'timeout', 'precheck_failed', 'postcheck_failed')
             THEN 1 END) AS failed_jobs,
  count(CASE WHEN job.status = 'skipped' THEN 1 END) AS skipped_jobs,
  CASE run.status WHEN 'success' THEN 0 WHEN 'failed' THEN 1 WHEN 'cancelled' THEN 1 END
    AS exit_code
FROM run LEFT JOIN job ON job.run_id = run.id
GROUP BY run.id;
CREATE TABLE schedule (
  name          TEXT    PRIMARY KEY,
  cron          TEXT    NOT NULL,
  timezone      TEXT    NOT NULL,
  catch_up      TEXT    NOT NULL,
  overlap       TEXT    NOT NULL,
  pipeline      TEXT    NOT NULL,
  is_paused     INTEGER NOT NULL DEFAULT 0,
  handled_until INTEGER NOT NULL,
  next_at       INTEGER,
  queue         TEXT    NOT NULL DEFAULT '[]',
  last_at       INTEGER,
  last_run      INTEGER,
  skipped_at    INTEGER,
  skipped_why   TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE selector (
  id     INTEGER PRIMARY KEY,
  labels TEXT    NOT NULL,
  slots  INTEGER NOT NULL DEFAULT 1,
  UNIQUE (labels, slots)
) STRICT;
CREATE TABLE sqlite_sequence(name,seq);
CREATE TABLE stage (
  run_id      INTEGER NOT NULL,
  position    INTEGER NOT NULL,
  name        TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  open_jobs   INTEGER NOT NULL,
  failed_jobs INTEGER NOT NULL DEFAULT 0, is_reached INTEGER NOT NULL DEFAULT 0, is_spoilt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, cancelled_jobs INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE tombstone (
  run_id    INTEGER PRIMARY KEY,
  first_seq INTEGER,
  last_seq  INTEGER,
  events    INTEGER NOT NULL,
  digest    BLOB,
  pruned_at INTEGER NOT NULL
) STRICT;
CREATE TABLE variable (
  key         TEXT    PRIMARY KEY,
  sealed      BLOB    NOT NULL,
  description TEXT    NOT NULL,
  is_secret   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE xcom (
  attempt_id TEXT NOT NULL,
  key        TEXT NOT NULL,
  value      TEXT NOT NULL, sha256 TEXT, size_bytes INTEGER, kind TEXT, length INTEGER,
  PRIMARY KEY (attempt_id, key)
) STRICT;
CREATE INDEX xcom_sha256 ON xcom (sha256) WHERE sha256 IS NOT NULL;
