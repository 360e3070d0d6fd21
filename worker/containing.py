"""What an attempt's image means on this worker: refused, ignored, or a container around it."""

import os
from collections.abc import Mapping

from shared.protocol.gateway import RunContext
from shared.protocol.pipeline import ContainerSpec
from worker.environment import filled
from worker.ports import ContainerLaunch
from worker.runners.containers.address import find_engine
from worker.settings import WorkerSettings


def why_refused(settings: WorkerSettings, context: RunContext) -> str | None:
    """Why a job with an image may not run here, and what helps; None: it may."""
    if context.image is None or settings.images == "ignore":
        return None
    otherwise = "--images ignore runs such jobs on the machine itself"
    if settings.images == "refuse":
        found = "this worker was started with --images refuse"
        return f"the job asks for image {context.image!r}, and {found}; {otherwise}"
    if find_engine(settings.docker, os.environ) is None:
        found = "this worker's machine has no container engine (or its user may not use it)"
        start = "start Docker or Podman there, or name where one listens with --docker"
        return f"the job asks for image {context.image!r}, and {found}: {start}; {otherwise}"
    return None


def folder_of(settings: WorkerSettings, context: RunContext, env: Mapping[str, str]) -> str | None:
    """The job's folder on this machine. CannotStart: its name grows too large.

    In a container an absolute one is the image's: the job's own folder is its workspace, and no
    document gets at another folder of the machine.
    """
    folder = _working_dir(context, env)
    if folder is not None and settings.contains(context) and os.path.isabs(folder):
        return None
    return folder


def container_of(
    settings: WorkerSettings, context: RunContext, env: Mapping[str, str]
) -> ContainerLaunch | None:
    """The container for the job's command; None: it runs on the machine."""
    if context.image is None or not settings.contains(context):
        return None
    folder = _working_dir(context, env)
    return ContainerLaunch(
        image=context.image,
        spec=context.container or ContainerSpec(),
        working_dir=folder if folder is not None and os.path.isabs(folder) else None,
        labels={
            "drawbar.run": str(context.run_id),
            "drawbar.job": context.job_id,
            "drawbar.attempt": context.attempt_id,
        },
    )


def _working_dir(context: RunContext, env: Mapping[str, str]) -> str | None:
    if context.working_dir is None:
        return None
    return filled(context.working_dir, env, "the working directory")
