-- Each event carries a digest over itself and the event before it of the same run, so that none can
-- be changed, removed or put elsewhere unnoticed. NULL: it was written before there were chains.
ALTER TABLE event ADD COLUMN digest BLOB;

-- Up to these numbers nothing is chained.
CREATE TABLE chain_start (
  event_seq INTEGER NOT NULL,
  run_id    INTEGER NOT NULL
) STRICT;

INSERT INTO chain_start (event_seq, run_id)
VALUES (
  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0),
  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'run'), 0)
);

-- What is left of a pruned run: an audit takes no missing run or event for pruned that is not here.
CREATE TABLE tombstone (
  run_id    INTEGER PRIMARY KEY,
  first_seq INTEGER,           -- of its chained events; NULL: it had none
  last_seq  INTEGER,
  events    INTEGER NOT NULL,
  digest    BLOB,              -- of the last of them
  pruned_at INTEGER NOT NULL   -- microseconds, UTC
) STRICT;
