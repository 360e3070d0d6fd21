-- Large XComs by reference, and components: the long-running parts of an installation.

-- A value over the inline limit is a blob: `value` is then the JSON null, and these tell of it.
ALTER TABLE xcom ADD COLUMN sha256 TEXT;
ALTER TABLE xcom ADD COLUMN size_bytes INTEGER;
ALTER TABLE xcom ADD COLUMN kind TEXT;           -- as json_type() says it
ALTER TABLE xcom ADD COLUMN length INTEGER;      -- of a list
CREATE INDEX xcom_sha256 ON xcom (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE component (
  id          TEXT    PRIMARY KEY,
  owner       TEXT    NOT NULL,                  -- the worker that speaks for it
  kind        TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  host        TEXT    NOT NULL,
  pid         INTEGER NOT NULL,
  interval_s  REAL    NOT NULL,                  -- between its beats
  status      TEXT    NOT NULL,
  fence       INTEGER NOT NULL,                  -- raised by each that takes the place of another
  created_at  INTEGER NOT NULL,
  beat_at     INTEGER NOT NULL,
  ended_at    INTEGER,
  reason      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX component_place ON component (kind, name, fence);
