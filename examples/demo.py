"""`make demo`: a real pipeline through real daemons, then everything is stopped again.

A job service, a registry, a gateway and a worker are started as processes, on free ports and in a
temporary folder. What is then typed into the shell, line by line, anybody could type.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
BIN: Final = Path(sys.executable).parent
PIPELINE: Final = "examples/etl.yaml"
START_S: Final = 20.0
STOP_S: Final = 10.0


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory(prefix="drawbar-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        jobstore, registry, gateway = (f"127.0.0.1:{port}" for port in _free_ports(3))
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DRAWBAR_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "DRAWBAR_DATA": name,
            "DRAWBAR_JOBSTORE_URL": f"http://{jobstore}",
            "DRAWBAR_REGISTRY_URL": f"http://{registry}",
            "DRAWBAR_GATEWAY_URL": f"http://{gateway}",
        }
        say("Four daemons, each a process of its own; they find each other by DRAWBAR_*_URL")
        for words in (
            ["jobstore", "--listen", jobstore],
            ["registry", "--listen", registry],
            ["gateway", "--listen", gateway],
            ["worker", "--name", "demo", "--slots", "4"],
        ):
            process = stack.enter_context(daemon(words, folder, environ))
            if "--listen" in words and not is_healthy(process, f"http://{words[-1]}/healthz"):
                return _fail(f"{words[0]} did not start", folder)
        try:
            tour(environ)
        except subprocess.CalledProcessError as failed:
            return _fail(f"that failed with exit code {failed.returncode}", folder)
        say("Stopping what was started")
    print("Next: README.md, or 'drawbar run' with a pipeline of your own.")
    return 0


def tour(environ: dict[str, str]) -> None:
    """Each command's exit code was 0."""
    say(f"A pipeline of {PIPELINE}, run by the worker, watched from here")
    drawbar(["run", PIPELINE, "--server", environ["DRAWBAR_JOBSTORE_URL"]], environ)
    say("What is kept of it: every run, every log, every artifact")
    drawbar(["runs"], environ)
    drawbar(["logs", "1", "aggregate"], environ)
    drawbar(["artifacts", "1"], environ)
    drawbar(["artifacts", "1", "report", "--get", "build/etl/report.md"], environ)
    say("Who did it")
    drawbar(["workers"], environ)


def drawbar(words: list[str], environ: dict[str, str]) -> None:
    """The command was shown, and run in the foreground."""
    print(f"\n$ drawbar {' '.join(words)}", flush=True)
    command = [str(BIN / "drawbar"), *words]
    process = subprocess.Popen(command, cwd=ROOT, env=environ)
    try:
        code = process.wait()
    finally:
        _end(process)
    if code != 0:
        raise subprocess.CalledProcessError(code, command)


@contextmanager
def daemon(
    words: list[str], folder: Path, environ: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """It runs, in a session of its own so that a Ctrl-C is ours to pass on; then it is gone."""
    print(f"$ drawbar {' '.join(words)} &", flush=True)
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / "drawbar"), *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave one behind
        _end(process)


def is_healthy(process: "subprocess.Popen[bytes]", url: str) -> bool:
    """It answers; False: it has ended, or is silent for too long."""
    give_up_at = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return True
        except OSError:
            time.sleep(0.05)
    return False


def say(text: str) -> None:
    """A line that stands out."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}# {text}{plain}", flush=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fail(what: str, folder: Path) -> int:
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-3_000:]}", file=sys.stderr)
    print(f"\n{what}; above is what the daemons said", file=sys.stderr)
    return 1


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _stop(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; everything that was started has been stopped")
