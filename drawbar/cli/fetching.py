"""`drawbar artifacts`: listed, or fetched whole and checked."""

import asyncio
import hashlib
import os
import sys
from pathlib import Path, PurePosixPath

from drawbar.cli.connect import asking_jobs, job_service
from drawbar.cli.failures import Usage
from drawbar.cli.render.console import console
from drawbar.cli.render.objects import write_all
from drawbar.cli.render.tables import artifacts_table
from drawbar.cli.render.words import one_line
from shared.errors import ServiceError, UnknownArtifact
from shared.ids import JobId, RunId
from shared.protocol.jobs import JobArtifact
from shared.services import JobService


def list_artifacts(
    run: int, job: str | None, *, server: str | None, data: Path | None, as_json: bool
) -> None:
    """The artifacts are listed on stdout."""
    job_id = None if job is None else JobId(job)
    found = asking_jobs(
        lambda jobs, _: jobs.list_artifacts(RunId(run), job_id), server, data, only_looks=True
    ).artifacts
    if as_json:
        write_all(found)
    elif found:
        console().print(artifacts_table(found))
    else:
        print("no artifacts")  # noqa: T201  # this is the output


def fetch_artifacts(
    run: int,
    job: str | None,
    *,
    path: str | None,
    folder: Path | None,
    server: str | None,
    data: Path | None,
) -> None:
    """One artifact is on stdout or below `folder`; or all are below `folder`."""
    job_id = None if job is None else JobId(job)

    async def fetch() -> None:
        async with job_service(server, data, only_looks=True) as jobs:
            found = (await jobs.list_artifacts(RunId(run), job_id)).artifacts
            if path is not None:
                found = (_the_one(found, path),)
            for item in found:
                if folder is None:
                    await _to_stdout(jobs, RunId(run), item)
                    continue
                # Several jobs may have left the same path.
                below = folder if path is not None or job is not None else folder / item.job_id
                target = _below(below, item)
                await _to_file(jobs, RunId(run), item, target)
                print(f"{target}")  # noqa: T201  # this is the output

    asyncio.run(fetch())


def _the_one(found: tuple[JobArtifact, ...], path: str) -> JobArtifact:
    matching = [item for item in found if item.artifact.path == path]
    if not matching:
        raise UnknownArtifact(f"there is no artifact {path!r}; 'drawbar artifacts RUN' lists them")
    if len(matching) > 1:
        names = ", ".join(one_line(item.job_id) for item in matching)
        raise Usage(f"several jobs have an artifact {path!r} ({names}): name the job, too")
    return matching[0]


def _below(folder: Path, item: JobArtifact) -> Path:
    """Where the artifact goes. A service that names another place is not trusted."""
    parts = PurePosixPath(item.artifact.path).parts
    if not parts or parts[0] == "/" or ".." in (*parts, item.job_id) or "\0" in item.artifact.path:
        raise ServiceError(f"artifact {item.artifact.path!r} would leave its folder; not fetched")
    return folder.joinpath(*parts)


async def _to_stdout(jobs: JobService, run_id: RunId, item: JobArtifact) -> None:
    async for piece in jobs.read_artifact(run_id, item.job_id, item.artifact.path):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


async def _to_file(jobs: JobService, run_id: RunId, item: JobArtifact, target: Path) -> None:
    """The file is whole, or it is not there."""
    digest = hashlib.sha256()
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:  # a command with nothing else to do
            async for piece in jobs.read_artifact(run_id, item.job_id, item.artifact.path):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != item.artifact.sha256:
            raise ServiceError(f"artifact {item.artifact.path!r} arrived damaged; fetch it again")
        os.replace(temporary, target)
    except OSError as error:
        raise Usage(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
    finally:
        temporary.unlink(missing_ok=True)
