"""Writes docs/run.svg: what `drawbar run` shows on a terminal, as it really was.

The command runs on a pseudo-terminal. Two moments of its screen are kept: one in the middle, when
most jobs ran at the same time, and the last one.
"""

import codecs
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parent.parent
DRAWBAR: Final = Path(sys.executable).with_name("drawbar")
PIPELINE: Final = "examples/etl.yaml"
WIDTH, HEIGHT = 76, 30

TOKEN: Final = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r|\n)|([^\x1b\r\n]+)")
FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # would be fetched from elsewhere
RUNNING: Final = "●"  # before the name of a job that runs


class Screen:
    """As much of a terminal as a moving picture of whole lines needs."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0

    def feed(self, text: str) -> None:
        for numbers, command, control, plain in TOKEN.findall(text):
            if plain:
                self.lines[self._row] += plain
            elif control == "\n":
                self._row += 1
                if self._row == len(self.lines):
                    self.lines.append("")
            elif command == "A":
                self._row = max(0, self._row - int(numbers or 1))
            elif command == "K":
                self.lines[self._row] = ""
            elif command == "m":
                self.lines[self._row] += f"\x1b[{numbers}m"

    def shown(self) -> list[str]:
        """The lines, without empty ones at the beginning and the end."""
        full = [n for n, line in enumerate(self.lines) if line.strip()]
        return self.lines[full[0] : full[-1] + 1] if full else []


def main() -> None:
    busiest, last = watch([str(DRAWBAR), "run", PIPELINE])
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "green"), (f"drawbar run {PIPELINE}", "bold")))
    for line in [*busiest, "", "\x1b[2m⋮\x1b[0m", "", *last]:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop")
    svg = console.export_svg(title="drawbar")
    (ROOT / "docs" / "run.svg").write_text(FONT.sub("", svg))


def watch(command: list[str]) -> tuple[list[str], list[str]]:
    """The screen when most was going on, and at the end."""
    screen, busiest, most = Screen(), list[str](), 0
    with tempfile.TemporaryDirectory() as data:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "DRAWBAR_DATA": data}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        decoder = codecs.getincrementaldecoder("utf-8")()
        while read := _read(ours):
            screen.feed(decoder.decode(read))
            running = sum(RUNNING in line for line in screen.lines)
            if running >= most > 0 or running > most:
                busiest, most = screen.shown(), running
        if process.wait() != 0:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return busiest, screen.shown()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: the other end is closed
        return b""


if __name__ == "__main__":
    main()
