"""A real container engine for tests: Podman, with storage of its own, and images made here."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BOX = "localhost/box:1"  # a shell and little more
PYTHON = "localhost/python:1"  # this machine's, and that shell
BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static: it needs no libraries
SYSTEM_PYTHON = Path("/usr/bin/python3.11")
LIBRARY = "usr/lib/python3.11"
APPLETS = (
    *("sh", "cat", "dd", "echo", "env", "grep", "head", "id", "ls", "mkdir", "sleep", "touch"),
    *("true", "wc"),
)
UNUSED = ("test", "__pycache__", "config-", "idlelib", "lib2to3", "tkinter", "dist-packages")
CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
PLAIN_HTTP = """
[[registry]]
location = "127.0.0.1:{port}"
insecure = true
"""


class Podman:
    """Its service can be killed and started again; containers outlive that."""

    def __init__(self, home: Path, registry_port: int) -> None:
        self.home = home
        self.registry = f"127.0.0.1:{registry_port}"
        self.socket = home / "s"
        self.address = f"unix://{self.socket}"
        (home / "containers.conf").write_text(CONF)
        (home / "registries.conf").write_text(PLAIN_HTTP.format(port=registry_port))
        self._env = {
            **os.environ,
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(home / "registries.conf"),
        }
        self._service: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        places = [f"--{what}={self.home / what}" for what in ("root", "runroot", "tmpdir")]
        # crun cannot do with control groups that are half of one kind and half of the other.
        return ["podman", *places, "--runtime=runc", "--cgroup-manager=cgroupfs", *words]

    def run(self, *words: str) -> str:
        """What it printed. CalledProcessError: it failed."""
        return subprocess.run(
            self.command(*words),
            env=self._env,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    def start(self) -> None:
        """It listens."""
        self._service = subprocess.Popen(
            self.command("system", "service", "--time=0", self.address),
            cwd=self.home,  # where its helpers leave a mark when memory runs out
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20
        while not self.socket.is_socket():
            if time.monotonic() > until or self._service.poll() is not None:
                raise RuntimeError("podman's service does not come up")
            time.sleep(0.02)

    def kill(self) -> None:
        """Nobody listens any more. What runs goes on."""
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self.socket.unlink(missing_ok=True)
            self._service = None

    def containers(self) -> list[str]:
        """Names of all that there are."""
        return self.run("ps", "--all", "--format={{.Names}}").split()

    def remove_all(self) -> None:
        self.run("rm", "--all", "--force", "--time=0")


def why_not() -> str | None:
    """Why there cannot be an engine here; None: there can."""
    if shutil.which("podman") is None or shutil.which("runc") is None:
        return "podman and runc are not installed (Debian: podman, runc)"
    if not BUSYBOX.exists():
        return "there is no busybox to make an image of (Debian: busybox-static)"
    if os.geteuid() != 0:
        return "only root can start containers here"
    return None


@contextmanager
def podman() -> Iterator[Podman]:
    """A service that runs containers of BOX. Skips the test where that cannot be had."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="db-", ignore_cleanup_errors=True) as folder:
        engine = Podman(Path(folder), _free_port())
        try:
            _import(engine, BOX, _box(engine.home / "box.tar"))
            engine.start()
            # CI's machines differ in what they let a root do.
            engine.run("run", "--rm", "--network=none", BOX, "true")
        except (subprocess.SubprocessError, RuntimeError) as error:
            said = getattr(error, "stderr", None) or error
            pytest.skip(f"podman runs no containers here: {said}")
        try:
            yield engine
        finally:
            engine.remove_all()
            engine.kill()
            subprocess.run(["umount", "-l", str(engine.home / "root" / "overlay")], check=False)


def import_python(engine: Podman) -> None:
    """The engine has PYTHON. Skips where this machine's Python is not Debian's."""
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"there is no {SYSTEM_PYTHON} to make an image of (Debian: python3)")
    path = _box(engine.home / "python.tar")
    linked = subprocess.run(
        ["ldd", str(SYSTEM_PYTHON)], check=True, capture_output=True, text=True
    ).stdout.split()

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        steps = entry.name.removeprefix(LIBRARY).split("/")
        return None if any(step.startswith(UNUSED) for step in steps) else entry

    with tarfile.open(path, "a") as tar:
        tar.add(SYSTEM_PYTHON, "usr/bin/python3")
        for library in (word for word in linked if word.startswith("/")):
            tar.add(os.path.realpath(library), library.lstrip("/"))
        tar.add(f"/{LIBRARY}", LIBRARY, filter=wanted)
    _import(engine, PYTHON, path)


def _import(engine: Podman, image: str, path: Path) -> None:
    engine.run("import", str(path), image)


def _box(path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "tmp", "etc", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
        tar.add(BUSYBOX, "bin/busybox")
        for name in APPLETS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return path


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
