"""The outside ledger: a file into which jobs write when they start and end."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faults.chaos.recorder import Recorder

SCRIPT: Final = Path(__file__).with_name("job.sh")
FIELDS: Final = 7  # of every line: word, time, run, job, attempt, fence, worker


def log_of(attempt_id: str, lines: int) -> bytes:
    """What an attempt's process writes to its log."""
    return b"".join(f"{attempt_id} line {n}\n".encode() for n in range(lines))


def artifact_of(attempt_id: str) -> bytes:
    """What it leaves in `out.txt`, when it makes something."""
    return f"made by {attempt_id}\n".encode()


@dataclass
class Ledger:
    """What jobs have written so far, read bit by bit into a history."""

    folder: Path
    recorder: Recorder
    starts: int = 0
    ends: int = 0
    overlaps: int = 0
    torn: int = 0
    _read: int = 0
    _rest: bytes = b""

    def open(self) -> None:
        """The folder is there, with what jobs need."""
        for name in ("locks", "envs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "ledger").touch()
        (self.folder / "job.sh").write_bytes(SCRIPT.read_bytes())

    def look(self) -> None:
        """What is new is in the history."""
        with (self.folder / "ledger").open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").split())

    def environments(self) -> Iterator[tuple[str, bytes]]:
        """Of jobs that wrote theirs down, by attempt."""
        for path in sorted((self.folder / "envs").iterdir()):
            yield path.name, path.read_bytes()

    def _take(self, words: list[str]) -> None:
        if len(words) < FIELDS or not words[2].isdigit() or not words[5].isdigit():
            self.torn += 1
            return
        word, wall, run, job, attempt, fence, worker, *rest = words
        facts = {"run": int(run), "job": job, "attempt": attempt, "fence": int(fence)}
        at = self.recorder.at(float(wall))
        if word == "start" and len(rest) == 4:
            self.starts += 1
            self.overlaps += rest[1] == "overlap"
            said = {"kind": rest[0], "company": rest[1], "crowd": rest[2]}
            inputs = {} if rest[3] == "none" else {"out.txt": artifact_of(rest[3])}
            self.recorder.event(worker, "spawn", at, **facts, **said, inputs=inputs)
        elif word == "end" and len(rest) == 2:
            self.ends += 1
            size = len(log_of(attempt, int(rest[1])))
            self.recorder.event(worker, "exit", at, **facts, exit_code=int(rest[0]), log_bytes=size)
        else:
            self.torn += 1
