"""The `drawbar` command as a person starts it: a process, sometimes on a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DRAWBAR = [sys.executable, "-c", "from drawbar.cli.main import main; main()"]
ROOT = Path(__file__).parent.parent.parent
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
LONG_S = 30.0  # nothing here takes a tenth of this


class Command:
    """Runs `drawbar` in `folder`, with a data directory below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "xterm-256color",
            "PYTHONPATH": str(ROOT),
            "DRAWBAR_DATA": str(self.data),
        }

    def twin(self, folder: Path) -> "Command":
        """The same files in a new folder, from which nobody runs anything yet."""

        def sockets(inside: str, names: list[str]) -> list[str]:
            return [name for name in names if Path(inside, name).is_socket()]

        shutil.copytree(self.folder, folder, ignore=sockets)
        return Command(folder)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def run(self, *words: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
        """It has ended."""
        return subprocess.run(
            [*DRAWBAR, *map(str, words)],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
        )

    def json(self, *words: str | Path, **env: str) -> Any:
        """What it printed, which is one JSON document."""
        return json.loads(self.run(*words, "--json", **env).stdout)

    def start(self, *words: str | Path, **env: str) -> "subprocess.Popen[str]":
        """It runs; the caller ends it."""
        return subprocess.Popen(
            [*DRAWBAR, *map(str, words)],
            cwd=self.folder,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_terminal(self, *words: str | Path) -> "Terminal":
        return Terminal([*DRAWBAR, *map(str, words)], self.folder, self.env)


class Terminal:
    """A process on a terminal of 24 lines and 90 columns."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        self._terminal = ours
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._raw = b""

    @property
    def seen(self) -> str:
        """All that was written, without colours and movements of the cursor."""
        return ESCAPE.sub("", self._raw.decode("utf-8", "replace"))

    def press_ctrl_c(self) -> None:
        """The terminal's driver sends SIGINT to the whole foreground group, as for a person."""
        os.write(self._terminal, b"\x03")

    def until(self, text: str) -> None:
        """The text was on the screen."""
        deadline = time.monotonic() + LONG_S
        while text not in self.seen:
            assert self._read(deadline), f"{text!r} never came; seen: {self.seen}"

    def end(self) -> int:
        """The exit code, once it has ended and everything that it wrote was seen."""
        deadline = time.monotonic() + LONG_S
        while self._read(deadline):
            pass
        try:
            return self._process.wait(timeout=LONG_S)
        finally:
            os.close(self._terminal)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            piece = os.read(self._terminal, 65_536)
        except OSError:  # EIO: the last process has closed its side
            return False
        self._raw += piece
        return bool(piece)


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs; one that only waits to be buried does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
