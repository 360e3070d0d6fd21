"""Starting daemons: each in its data directory, with a line that says where it listens."""

import asyncio
import os
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from drawbar.cli.ages import span_s
from drawbar.cli.connect import JOBSTORE_URL, checked_url
from drawbar.cli.disturbing import Disturbance
from drawbar.cli.failures import Usage, is_debugging, say
from drawbar.cli.fitness import check_worker
from drawbar.cli.labels import worker_labels
from drawbar.cli.notifications import Telling
from drawbar.cli.parsing import checked_name, parse_address, parse_policy
from drawbar.cli.places import data_dir, own_data_dir
from drawbar.cli.reaching import Reach
from drawbar.cli.render.words import count
from drawbar.cli.rules import Rules
from drawbar.cli.secrets import enrolment_secret_of
from drawbar.cli.sizes import Sizes
from shared import logs
from shared.datadir import held
from shared.runtime import Runtime, SystemRuntime
from worker.environment import shell_env, usual_env
from worker.machine import default_slots
from worker.settings import HealthLimits, WorkerSettings

REPORTS_BEFORE_SILENT: Final = 4  # as in RegistrySettings: three may get lost, and a fourth be late


def serve_jobstore(
    listen: str,
    lease_s: float,
    keep: str | None,
    data: Path | None,
    sizes: Sizes,
    told: Telling,
    reach: Reach,
    faults: Disturbance,
) -> None:
    """Served until a signal."""
    from drawbar.cli.keys import keys_of
    from jobstore.app import serve
    from jobstore.settings import JobStoreSettings

    host, port = parse_address(listen)
    keep_s = None if keep is None else span_s("--keep", keep)
    faults.check()
    place, runtime = _prepare(data)
    with held(place / "jobstore") as folder:
        asyncio.run(
            serve(
                folder,
                keys_of(place, runtime),
                runtime,
                host=host,
                port=port,
                settings=replace(
                    JobStoreSettings.scaled_to(lease_s),
                    keep_s=keep_s,
                    max_log_bytes=sizes.log,
                    max_artifact_bytes=sizes.artifact,
                ),
                notifications=told.settings(place, runtime),
                outside=reach.outside(runtime),
                started=_announce("job service"),
                faults=faults.of("jobstore", runtime),
            )
        )


def serve_registry(
    listen: str, silent_after_s: float, data: Path | None, faults: Disturbance
) -> None:
    """Served until a signal."""
    from drawbar.cli.keys import keys_of
    from registry.app import serve
    from registry.service import RegistrySettings

    host, port = parse_address(listen)
    faults.check()
    place, runtime = _prepare(data)
    with held(place / "registry") as folder:
        asyncio.run(
            serve(
                folder,
                keys_of(place, runtime),
                runtime,
                host=host,
                port=port,
                settings=RegistrySettings(
                    report_s=silent_after_s / REPORTS_BEFORE_SILENT, silent_after_s=silent_after_s
                ),
                started=_announce("registry"),
                faults=faults.of("registry", runtime),
            )
        )


def serve_gateway(listen: str, jobstore_url: str, data: Path | None, faults: Disturbance) -> None:
    """Served until a signal. Holds nothing: several gateways may share a data directory."""
    from drawbar.cli.keys import keys_of
    from gateway.app import serve

    host, port = parse_address(listen)
    checked_url("--jobstore", jobstore_url)
    faults.check()
    place, runtime = _prepare(data)
    asyncio.run(
        serve(
            jobstore_url,
            keys_of(place, runtime).signing,
            runtime,
            host=host,
            port=port,
            started=_announce("gateway"),
            faults=faults.of("gateway", runtime),
        )
    )


def serve_worker(
    gateway_url: str,
    registry_url: str,
    name: str | None,
    slots: int | None,
    labels: Sequence[str],
    policy: str,
    drain_s: float | None,
    upload_s: float,
    data: Path | None,
    rules: Rules,
    sizes: Sizes,
    health: HealthLimits,
    *,
    checks_only: bool,
    reattach: bool,
    faults: Disturbance,
) -> int:
    """Worked until a signal, an operator's wish, or a newer worker of the same name.

    `checks_only`: nothing is served, it is only said whether that could be.
    """
    from worker.app import HANDED_OVER, serve

    checked_url("--gateway", gateway_url)
    checked_url("--registry", registry_url)
    settings = replace(
        _worker_settings(name or socket.gethostname(), slots, labels, rules, sizes),
        registry_policy=parse_policy(policy),
        health=health,
        reattach=reattach,
        upload_s=upload_s,
    )
    faults.check()
    place, runtime = _prepare(data)
    if checks_only:
        secret = enrolment_secret_of(place, runtime)
        return check_worker(settings, place, gateway_url, registry_url, secret)

    def started() -> None:
        say(f"worker {settings.name} pulls from {gateway_url}, {settings.slots} jobs at a time")

    with held(place / "workers" / settings.name) as folder:
        code = asyncio.run(
            serve(
                settings,
                data=folder,
                gateway_url=gateway_url,
                registry_url=registry_url,
                enrolment_secret=enrolment_secret_of(place, runtime),
                runtime=runtime,
                drain_s=drain_s,
                started=started,
                draining=_say_what_it_waits_for(drain_s),
                environment=os.environ,
                faults=faults.of("worker", runtime, settings.name),
            )
        )
    if code == HANDED_OVER:
        say("worker hands over to its successor; its jobs go on")
        os.execv(sys.executable, sys.orig_argv)  # itself, perhaps of a newer version
    return code


def serve_up(
    data: Path | None,
    host: str,
    port_base: int,
    slots: int | None,
    labels: Sequence[str],
    drain_s: float | None,
    keep: str | None,
    rules: Rules,
    sizes: Sizes,
    told: Telling,
    reach: Reach,
    faults: Disturbance,
) -> int:
    """All of it served until a signal."""
    from drawbar.cli.keys import keys_of
    from drawbar.up import Addresses, serve
    from jobstore.settings import JobStoreSettings

    keep_s = None if keep is None else span_s("--keep", keep)
    # Not the name that `drawbar worker` takes on this machine: that would supersede this one.
    settings = _worker_settings(f"{socket.gethostname()}-up", slots, labels, rules, sizes)
    faults.check()
    place, runtime = _prepare(data)

    def started(at: Addresses) -> None:
        say(f"gateway      {at.gateway}", prefix="")
        say(f"registry     {at.registry}", prefix="")
        say(f"job service  {at.jobstore}", prefix="")
        say(f"worker       {settings.name}, {settings.slots} jobs at a time", prefix="")
        say(f"data         {place}", prefix="")
        say(f"submit with: {submit_line(at.jobstore, place)} (Ctrl-C stops)", prefix="")

    with ExitStack() as stack:
        for folder in ("jobstore", "registry", f"workers/{settings.name}"):
            stack.enter_context(held(place / folder))
        return asyncio.run(
            serve(
                place,
                keys_of(place, runtime),
                settings,
                runtime,
                host=host,
                port_base=port_base,
                drain_s=drain_s,
                jobstore_settings=JobStoreSettings(
                    keep_s=keep_s, max_log_bytes=sizes.log, max_artifact_bytes=sizes.artifact
                ),
                notifications=told.settings(place, runtime),
                outside=reach.outside(runtime),
                started=started,
                draining=_say_what_it_waits_for(drain_s),
                faults=faults.of("up", runtime),
            )
        )


def _worker_settings(
    name: str, slots: int | None, labels: Sequence[str], rules: Rules, sizes: Sizes
) -> WorkerSettings:
    assert sizes.artifacts is not None, "a worker bounds them together"
    return WorkerSettings(
        name=checked_name(name),
        slots=slots or default_slots(),
        labels=worker_labels(labels),
        base_env=usual_env(os.environ),
        shell_env=shell_env(os.environ),
        security=rules.security,
        plugin_dirs=rules.plugin_dirs,
        images=rules.images,
        docker=rules.docker,
        is_warm=rules.is_warm,
        masked=rules.masked,
        max_log_bytes=sizes.log,
        max_artifact_bytes=sizes.artifact,
        max_artifacts_bytes=sizes.artifacts,
    )


def _say_what_it_waits_for(drain_s: float | None) -> Callable[[int], None]:
    """For the moment at which a worker was told to stop, with the number of jobs that run."""

    def tell(running: int) -> None:
        if running:
            limit = "" if drain_s is None else f", for {drain_s:g} s at most"
            say(
                f"waiting for {count(running, 'running job')} to end{limit}; "
                "Ctrl-C again stops now",
                prefix="",
            )

    return tell


def submit_line(jobstore_url: str, place: Path) -> str:
    """The command that reaches this job service from any shell of this user."""
    words = ["drawbar", "submit", "FILE"]
    if jobstore_url != JOBSTORE_URL:
        words += ["--server", jobstore_url]
    if place != own_data_dir():
        words += ["--data", str(place)]
    return shlex.join(words)


def _prepare(data: Path | None) -> tuple[Path, Runtime]:
    """This process logs as a daemon does."""
    runtime = SystemRuntime()
    level = "debug" if is_debugging() else os.environ.get("DRAWBAR_LOG_LEVEL", "info").lower()
    if level not in ("debug", "info", "warning", "error"):
        raise Usage(f"DRAWBAR_LOG_LEVEL takes debug, info, warning or error; found {level!r}")
    logs.configure(runtime, level=level)
    return data_dir(data), runtime


def _announce(service: str) -> Callable[[str], None]:
    return lambda url: say(f"{service} listens on {url}")
