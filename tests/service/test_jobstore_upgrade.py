"""A database of the first schema, with a run half done in it, is taken over and finished."""

import sqlite3
from importlib.resources import files
from pathlib import Path

from shared.ids import RunId
from tests.support.jobstore import hands_on

FIRST = files("jobstore.store").joinpath("migrations", "0001_jobs.sql")
SPEC = '{"id":"%s","stage":"%s","command":"true","needs":[],"timeout_s":60,"retry":{"max":0}}'
RUNS = """
INSERT INTO run (id, name, status, submit_key, submit_digest, max_workers, retry_of, admitted,
                 open_jobs, created_at, started_at)
VALUES (1, 'old', 'failed',  'k1', 'd', NULL, NULL, 0, 0, 1, 1),
       (2, 'old', 'running', 'k2', 'd', 1,    1,    1, 3, 1, 1);
INSERT INTO stage (run_id, position, name, status, open_jobs)
VALUES (2, 0, 'one', 'running', 2), (2, 1, 'two', 'pending', 1);
INSERT INTO selector (id, labels) VALUES (1, '{}');
INSERT INTO edge (upstream, downstream) VALUES (3, 4);
"""


def write_first_schema(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript(FIRST.read_text() + RUNS + "PRAGMA user_version = 1;")
    for seq, job, stage, status, waits in (
        (1, "done", 0, "success", 0),
        (2, "queued", 0, "queued", 0),
        (3, "held", 0, "held", 0),
        (4, "later", 1, "blocked", 2),
    ):
        database.execute(
            "INSERT INTO job (seq, run_id, id, stage, spec, status, priority, selector_id,"
            " allow_failure, waits) VALUES (?, 2, ?, ?, ?, ?, 0, 1, 0, ?)",
            (seq, job, stage, SPEC % (job, ("one", "two")[stage]), status, waits),
        )
    database.commit()
    database.close()


async def test_a_run_that_an_older_version_began_is_finished(tmp_path: Path) -> None:
    write_first_schema(tmp_path / "jobs.db")

    async with hands_on(tmp_path) as hands:
        run_id = RunId(2)
        held = (await hands.job(run_id, "held")).held_for
        order = await hands.play()
        view = await hands.service.show_run(run_id)
        stages = await hands.stages(run_id)

    assert held == "max_workers"
    assert order == ["queued", "held", "later"]
    assert stages == ["success", "success"]
    assert (view.status, view.attempt) == ("success", 2)
