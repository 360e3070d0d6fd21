-- History as other programs read it, with any SQLite client, and what pruning needs.

-- The Executioner's three tables, under its names. A job's end is in the words of this system.
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
  -- Below the database's folder. A small log has no file: it is in attempt.log_inline.
  CASE WHEN attempt.log_size > 0 AND attempt.log_inline IS NULL
       THEN 'files/logs/' || substr(attempt.id, -2) || '/' || attempt.id END AS log_file
FROM job
JOIN run ON run.id = job.run_id
LEFT JOIN attempt ON attempt.id = job.attempt_id;

-- Every try, the first one included: how it ended, whatever followed from that.
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

CREATE INDEX run_ended ON run (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX artifact_sha256 ON artifact (sha256);

-- What was pruned and is not all gone: nobody sees it any more, and after a crash the rest follows.
CREATE TABLE pruned_run (
  id       INTEGER PRIMARY KEY,
  root_run INTEGER NOT NULL
) STRICT;

CREATE TABLE pruned_log (
  attempt_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE pruned_blob (
  sha256 TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
