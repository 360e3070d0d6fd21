-- Jobs that take more than one slot are queued apart from those that take fewer: what does not fit
-- into a worker is passed over as a whole, however much of it is queued.
ALTER TABLE selector RENAME TO selector_without_slots;

CREATE TABLE selector (
  id     INTEGER PRIMARY KEY,
  labels TEXT    NOT NULL,  -- that a worker must have, as JSON with sorted names
  slots  INTEGER NOT NULL DEFAULT 1,  -- that the job takes
  UNIQUE (labels, slots)
) STRICT;

INSERT INTO selector (id, labels, slots) SELECT id, labels, 1 FROM selector_without_slots;

DROP TABLE selector_without_slots;
