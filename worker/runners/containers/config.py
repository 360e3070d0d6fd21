"""What the engine is told to make: the body of `POST /containers/create`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.protocol.pipeline import Limits
from worker.ports import ContainerLaunch, Launch
from worker.settings import WorkerSettings

WORKSPACE: Final = "/workspace"
WORKER: Final = "drawbar.worker"
HOME: Final = "drawbar.home"
MODEST: Final = 1_024  # of open files and of processes, for an engine that may raise no limits
STEP_OF_NICE: Final = 1.25  # sched(7): the kernel's own weight of one step
SHARES: Final = 1_024  # the weight of a container that is not nice


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an engine was found not to be able to do, by trying."""

    has_init: bool = True  # a small first process that passes signals on and buries the dead
    may_raise_limits: bool = True  # those of its own process bind its containers otherwise

    def without(self, complaint: str) -> "Abilities | None":
        """What is left when the engine complains so; None: that is about something else."""
        said = complaint.lower()
        if self.may_raise_limits and "setting rlimit" in said:
            return replace(self, may_raise_limits=False)
        if self.has_init and any(p in said for p in ("container-init", "docker-init", "catatonit")):
            return replace(self, has_init=False)
        return None


def container_config(
    launch: Launch,
    container: ContainerLaunch,
    labels: Mapping[str, str],
    abilities: Abilities,
    *,
    has_stdin: bool,
) -> dict[str, Any]:
    """One job's container. It is given what is named here and nothing else of the worker's."""
    spec = container.spec
    mounts = [_bind(str(launch.cwd), spec.workspace or WORKSPACE, is_read_only=False)]
    mounts += [_bind(str(host), inside, is_read_only=True) for host, inside in container.mounts]
    host: dict[str, Any] = {
        "Mounts": mounts,
        "Init": abilities.has_init and not has_stdin,
        **_limits(launch.limits or Limits(), abilities),
    }
    if spec.network is not None:
        host["NetworkMode"] = spec.network
    config: dict[str, Any] = {
        "Image": container.image,
        # The job says what runs: an entrypoint of the image's own would get it as arguments.
        "Entrypoint": list(launch.argv[:1]),
        "Cmd": list(launch.argv[1:]),
        "Env": [f"{name}={value}" for name, value in launch.env.items()],
        "WorkingDir": container.working_dir or spec.workspace or WORKSPACE,
        "Labels": {**container.labels, **labels},
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }
    if spec.user is not None:
        config["User"] = spec.user
    if has_stdin:
        config |= {"AttachStdin": True, "OpenStdin": True, "StdinOnce": True}
    return config


def owned(settings: WorkerSettings, home: str) -> Mapping[str, str]:
    """Labels by which a worker knows its own containers, also those of an earlier incarnation.

    A name alone is not enough: every `drawbar run` has the same.
    """
    return {WORKER: settings.name, HOME: home}


def _bind(source: str, target: str, *, is_read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": is_read_only}


def _limits(limits: Limits, abilities: Abilities) -> dict[str, Any]:
    """Of HostConfig. The size of the folder is watched by the worker, and not by the engine."""
    wanted: dict[str, Any] = {}
    if limits.memory_bytes is not None:
        # Swap counts, too: otherwise a job gets twice what it was allowed.
        wanted |= {"Memory": limits.memory_bytes, "MemorySwap": limits.memory_bytes}
    if limits.cpus is not None:
        wanted["NanoCpus"] = int(limits.cpus * 1e9)
    if limits.pids is not None:
        wanted["PidsLimit"] = limits.pids
    if limits.nice is not None:
        wanted["CpuShares"] = max(2, round(SHARES / STEP_OF_NICE**limits.nice))
    most = {} if abilities.may_raise_limits else {"nofile": MODEST, "nproc": MODEST}
    if limits.open_files is not None:
        most["nofile"] = limits.open_files
    if limits.file_size_bytes is not None:
        most["fsize"] = limits.file_size_bytes
    if most:
        wanted["Ulimits"] = [{"Name": n, "Soft": value, "Hard": value} for n, value in most.items()]
    return wanted
