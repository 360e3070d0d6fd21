"""Starting daemons: addresses, keys, data directories, and a line that says where each listens."""

import asyncio
import os
import shlex
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from drawbar.cli.ages import span_s
from drawbar.cli.connect import JOBSTORE_URL, checked_url
from drawbar.cli.failures import Usage, is_debugging, say
from drawbar.cli.labels import worker_labels
from drawbar.cli.notices import Telling
from drawbar.cli.places import data_dir, own_data_dir
from drawbar.cli.render.words import count
from drawbar.cli.rules import Rules
from shared import logs
from shared.datadir import held
from shared.keys import Keys, load_keys, read_enrolment_secret
from shared.runtime import Runtime, SystemRuntime
from shared.tokens import Minter, Role
from worker.environment import shell_env, usual_env
from worker.machine import default_slots
from worker.settings import RegistryPolicy, WorkerSettings

DAY_S: Final = 86_400.0
REPORTS_BEFORE_SILENT: Final = 4  # as in RegistrySettings: three may get lost, and a fourth be late


def serve_jobstore(
    listen: str, lease_s: float, keep: str | None, data: Path | None, told: Telling
) -> None:
    """Served until a signal."""
    from jobstore.app import serve
    from jobstore.service import JobStoreSettings

    host, port = parse_address(listen)
    keep_s = None if keep is None else span_s("--keep", keep)
    place, runtime = _prepare(data)
    with held(place / "jobstore") as folder:
        asyncio.run(
            serve(
                folder,
                _keys(place, runtime),
                runtime,
                host=host,
                port=port,
                settings=replace(JobStoreSettings.scaled_to(lease_s), keep_s=keep_s),
                notices=told.settings(place, runtime),
                started=_announce("job service"),
            )
        )


def serve_registry(listen: str, silent_after_s: float, data: Path | None) -> None:
    """Served until a signal."""
    from registry.app import serve
    from registry.service import RegistrySettings

    host, port = parse_address(listen)
    place, runtime = _prepare(data)
    with held(place / "registry") as folder:
        asyncio.run(
            serve(
                folder,
                _keys(place, runtime),
                runtime,
                host=host,
                port=port,
                settings=RegistrySettings(
                    report_s=silent_after_s / REPORTS_BEFORE_SILENT, silent_after_s=silent_after_s
                ),
                started=_announce("registry"),
            )
        )


def serve_gateway(listen: str, jobstore_url: str, data: Path | None) -> None:
    """Served until a signal. Holds nothing: several gateways may share a data directory."""
    from gateway.app import serve

    host, port = parse_address(listen)
    checked_url("--jobstore", jobstore_url)
    place, runtime = _prepare(data)
    key, started = _keys(place, runtime).signing, _announce("gateway")
    asyncio.run(serve(jobstore_url, key, runtime, host=host, port=port, started=started))


def serve_worker(
    gateway_url: str,
    registry_url: str,
    name: str | None,
    slots: int | None,
    labels: Sequence[str],
    policy: str,
    drain_s: float | None,
    data: Path | None,
    rules: Rules,
) -> int:
    """Worked until a signal, an operator's wish, or a newer worker of the same name."""
    from worker.app import serve

    checked_url("--gateway", gateway_url)
    checked_url("--registry", registry_url)
    settings = WorkerSettings(
        name=checked_name(name or socket.gethostname()),
        slots=slots or default_slots(),
        labels=worker_labels(labels),
        registry_policy=parse_policy(policy),
        base_env=usual_env(os.environ),
        shell_env=shell_env(os.environ),
        security=rules.security,
        plugin_dirs=rules.plugin_dirs,
    )
    place, runtime = _prepare(data)

    def started() -> None:
        say(f"worker {settings.name} pulls from {gateway_url}, {settings.slots} jobs at a time")

    with held(place / "workers" / settings.name) as folder:
        return asyncio.run(
            serve(
                settings,
                data=folder,
                gateway_url=gateway_url,
                registry_url=registry_url,
                enrolment_secret=_enrolment_secret(place, runtime),
                runtime=runtime,
                drain_s=drain_s,
                started=started,
                draining=_say_what_it_waits_for(drain_s),
            )
        )


def serve_up(
    data: Path | None,
    host: str,
    port_base: int,
    slots: int | None,
    labels: Sequence[str],
    drain_s: float | None,
    keep: str | None,
    rules: Rules,
    told: Telling,
) -> int:
    """All of it served until a signal."""
    from drawbar.up import Addresses, serve

    keep_s = None if keep is None else span_s("--keep", keep)
    settings = WorkerSettings(
        # Not the name that `drawbar worker` takes on this machine: that would supersede this one.
        name=checked_name(f"{socket.gethostname()}-up"),
        slots=slots or default_slots(),
        labels=worker_labels(labels),
        base_env=usual_env(os.environ),
        shell_env=shell_env(os.environ),
        security=rules.security,
        plugin_dirs=rules.plugin_dirs,
    )
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
                _keys(place, runtime),
                settings,
                runtime,
                host=host,
                port_base=port_base,
                drain_s=drain_s,
                keep_s=keep_s,
                notices=told.settings(place, runtime),
                started=started,
                draining=_say_what_it_waits_for(drain_s),
            )
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


def make_token(role: str, name: str, days: float, data: Path | None) -> str:
    """A client token of this installation."""
    runtime = SystemRuntime()
    keys = _keys(data_dir(data), runtime)
    return Minter(keys.signing, runtime).client(name, Role(role), days * DAY_S)


def parse_address(listen: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, [HOST]:PORT or :PORT (every interface)."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise Usage(f"--listen takes HOST:PORT, for example 127.0.0.1:7402; found {listen!r}")
    return host.strip("[]") or "0.0.0.0", int(port)


def parse_policy(text: str) -> RegistryPolicy:
    """`strict`, `off`, or the seconds of grace=SECONDS."""
    if text == "strict":
        return "strict"
    if text == "off":
        return "off"
    name, _, seconds = text.partition("=")
    try:
        grace_s = float(seconds) if name == "grace" else -1.0
    except ValueError:
        grace_s = -1.0
    if not 0 <= grace_s < DAY_S:
        raise Usage(f"--registry-policy takes strict, off or grace=SECONDS; found {text!r}")
    return grace_s


def checked_name(name: str) -> str:
    """A worker's name is also that of its folder."""
    if not name.isprintable() or "/" in name or name in ("", ".", "..") or len(name) > 200:
        raise Usage(f"{name!r} cannot be a worker's name: it is also the name of its folder")
    return name


def _prepare(data: Path | None) -> tuple[Path, Runtime]:
    """This process logs as a daemon does."""
    runtime = SystemRuntime()
    level = "debug" if is_debugging() else os.environ.get("DRAWBAR_LOG_LEVEL", "info").lower()
    if level not in ("debug", "info", "warning", "error"):
        raise Usage(f"DRAWBAR_LOG_LEVEL takes debug, info, warning or error; found {level!r}")
    logs.configure(runtime, level=level)
    return data_dir(data), runtime


def _keys(place: Path, runtime: Runtime) -> Keys:
    return load_keys(
        place / "keys",
        runtime,
        signing_key_file=_named("DRAWBAR_SIGNING_KEY_FILE"),
        enrolment_secret_file=_named("DRAWBAR_ENROLMENT_SECRET_FILE"),
    )


def _enrolment_secret(place: Path, runtime: Runtime) -> str:
    """A worker needs no signing key: on another machine it is given the secret alone."""
    named = _named("DRAWBAR_ENROLMENT_SECRET_FILE")
    return read_enrolment_secret(named) if named else _keys(place, runtime).enrolment_secret


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _announce(service: str) -> Callable[[str], None]:
    return lambda url: say(f"{service} listens on {url}")
