-- Of a whole run. What a retry or a resumed run must keep beyond its jobs is in `settings`.
ALTER TABLE run ADD COLUMN on_error TEXT NOT NULL DEFAULT 'continue';
ALTER TABLE run ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';  -- JSON: what of params, inherit_env,
                                                -- plugins, security, notify, schedule is not as usual
ALTER TABLE run ADD COLUMN root_run INTEGER;     -- the first of its chain of retried and resumed runs; itself
ALTER TABLE run ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;   -- the how-manieth of that chain
ALTER TABLE run ADD COLUMN schedule TEXT;        -- the schedule that started it
ALTER TABLE run ADD COLUMN scheduled_for INTEGER;                -- the time of that schedule, microseconds
ALTER TABLE run ADD COLUMN is_stopped INTEGER NOT NULL DEFAULT 0;  -- by a failure, where on_error says so
ALTER TABLE run ADD COLUMN cancelled_jobs INTEGER NOT NULL DEFAULT 0;  -- by a person
ALTER TABLE run ADD COLUMN open_main INTEGER NOT NULL DEFAULT 0;  -- jobs for whose end the watching ones wait
ALTER TABLE run ADD COLUMN main_failures INTEGER NOT NULL DEFAULT 0;  -- those of them that failed

WITH RECURSIVE chain (id, root, attempt) AS (
  SELECT id, id, 1 FROM run WHERE retry_of IS NULL
  UNION ALL
  SELECT run.id, chain.root, chain.attempt + 1 FROM run JOIN chain ON run.retry_of = chain.id
)
UPDATE run SET root_run = chain.root, attempt = chain.attempt FROM chain WHERE chain.id = run.id;
UPDATE run SET cancelled_jobs =
  (SELECT count(*) FROM job WHERE job.run_id = run.id AND job.status = 'cancelled')
  WHERE status IN ('pending', 'running');

CREATE INDEX run_root ON run (root_run, attempt);
CREATE INDEX run_name ON run (name, id);

ALTER TABLE stage ADD COLUMN is_reached INTEGER NOT NULL DEFAULT 0;  -- all before it have ended
ALTER TABLE stage ADD COLUMN is_spoilt INTEGER NOT NULL DEFAULT 0;  -- one before it did not succeed
ALTER TABLE stage ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;  -- here and before, allowed ones too
ALTER TABLE stage ADD COLUMN cancelled_jobs INTEGER NOT NULL DEFAULT 0;  -- by a person

UPDATE stage SET is_reached = 1 WHERE status <> 'pending';
UPDATE stage SET cancelled_jobs =
  (SELECT count(*) FROM job WHERE job.run_id = stage.run_id AND job.stage = stage.position
   AND job.status = 'cancelled')
  WHERE status IN ('pending', 'running');

ALTER TABLE job ADD COLUMN condition TEXT NOT NULL DEFAULT 'on_success';  -- `when` of the document
ALTER TABLE job ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;  -- of what it waits for, allowed ones too
ALTER TABLE job ADD COLUMN is_main INTEGER NOT NULL DEFAULT 0;   -- one for whose end watching jobs wait
ALTER TABLE job ADD COLUMN watches_run INTEGER NOT NULL DEFAULT 0;  -- waits for the end of all main jobs
ALTER TABLE job ADD COLUMN lock TEXT;
ALTER TABLE job ADD COLUMN held_for TEXT;        -- while held: max_workers, lock, approval
ALTER TABLE job ADD COLUMN needs_approval INTEGER NOT NULL DEFAULT 0;  -- until somebody approved it
ALTER TABLE job ADD COLUMN approved_by TEXT;
ALTER TABLE job ADD COLUMN marked_by TEXT;       -- who took it for a success
ALTER TABLE job ADD COLUMN elapsed_s REAL NOT NULL DEFAULT 0;  -- from its first try's start to its last end

UPDATE job SET held_for = 'max_workers' WHERE status = 'held';

DROP INDEX job_held;
CREATE INDEX job_held     ON job (run_id, priority DESC, seq) WHERE held_for = 'max_workers';
CREATE INDEX job_locked   ON job (lock, priority DESC, seq) WHERE held_for = 'lock';
CREATE INDEX job_watching ON job (run_id) WHERE watches_run = 1;

-- Locks that are taken. A job holds its lock from when it may be queued until it ends or waits for a retry.
CREATE TABLE lock (
  name   TEXT    PRIMARY KEY,
  holder INTEGER NOT NULL                 -- job.seq
) STRICT, WITHOUT ROWID;

-- How the attempt itself ended, whatever followed for its job: success, failed, timeout,
-- precheck_failed, postcheck_failed, cancelled, drained, lost. NULL: it did not run, or still runs.
ALTER TABLE attempt ADD COLUMN outcome TEXT;
UPDATE attempt SET outcome = iif(status = 'lost', 'lost', job_status)
  WHERE status IN ('lost', 'reported');
