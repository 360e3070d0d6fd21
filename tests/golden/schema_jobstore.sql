CREATE TABLE artifact (
  attempt_id TEXT    NOT NULL,
  path       TEXT    NOT NULL,
  size_bytes INTEGER NOT NULL,
  sha256     TEXT    NOT NULL,
  PRIMARY KEY (attempt_id, path)
) STRICT, WITHOUT ROWID;
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
  evidence   TEXT,
  UNIQUE (job_seq, fence)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_claim ON attempt (worker_id, claim_id);
CREATE INDEX attempt_live  ON attempt (status) WHERE status IN ('claimed', 'running');
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
) STRICT;
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
  ended_at      INTEGER,
  UNIQUE (run_id, id)
) STRICT;
CREATE INDEX job_held     ON job (run_id, priority DESC, seq) WHERE status = 'held';
CREATE INDEX job_queued   ON job (selector_id, priority DESC, seq) WHERE status = 'queued';
CREATE INDEX job_retrying ON job (seq) WHERE status = 'retrying';
CREATE INDEX job_stage    ON job (run_id, stage) WHERE status = 'blocked';
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
) STRICT;
CREATE TABLE selector (
  id     INTEGER PRIMARY KEY,
  labels TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE sqlite_sequence(name,seq);
CREATE TABLE stage (
  run_id      INTEGER NOT NULL,
  position    INTEGER NOT NULL,
  name        TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  open_jobs   INTEGER NOT NULL,
  failed_jobs INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;
