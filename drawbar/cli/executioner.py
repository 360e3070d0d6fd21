"""The Executioner's command line, word for word: each is one or two of our own commands.

Whoever has old crontabs puts `drawbar executioner` where `executioner.py` was.
"""

import argparse
import re
from collections.abc import Sequence
from typing import Annotated, Final, NoReturn

import typer

from drawbar.cli.failures import Usage

CONFIG: Final = "jobs_config.json"
NEXT_PAIR: Final = re.compile(r",(?=[A-Za-z_]\w*=)")
SAMPLE: Final = """\
{
  "application_name": "data_pipeline",
  "default_timeout": 7200,
  "default_max_retries": 2,
  "default_retry_delay": 30,
  "parallel": true,
  "max_workers": 3,
  "env_variables": {"STAGE": "test"},
  "jobs": [
    {
      "id": "download",
      "description": "Fetch the raw data",
      "command": "mkdir -p data && date > data/raw.txt",
      "timeout": 300
    },
    {
      "id": "clean",
      "command": "sort data/raw.txt > data/clean.txt",
      "dependencies": ["download"],
      "pre_checks": [{"name": "check_file_exists", "params": {"path": "data/raw.txt"}}],
      "post_checks": [{"name": "check_file_exists", "params": {"path": "data/clean.txt"}}]
    },
    {
      "id": "report",
      "command": "wc -l data/clean.txt",
      "dependencies": ["clean"],
      "env_variables": {"TITLE": "Report of ${STAGE}"}
    }
  ]
}
"""

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="OPTION", help="As executioner.py had them.", show_default=False),
]


def executioner(words: Words = None) -> int:
    """Do what an old command line of the Executioner says.

    -c FILE, --parallel, --sequential, --workers N, --dry-run, --skip JOB…, --env K=V[,K=V]…,
    --continue-on-error, --resume-from RUN, --resume-failed-only: 'drawbar run'.
    --list-runs [NAME], --limit N: 'drawbar runs'. --show-run RUN: 'drawbar show'.
    --mark-success -r RUN -j JOB[,JOB]…: 'drawbar mark'. --sample-config prints a file.
    --visible prints the plan first. --verbose and --debug change nothing.

    Example: drawbar executioner -c jobs_config.json --parallel --workers 4
    """
    if not words:
        raise Usage("say what to do, for example: drawbar executioner -c jobs_config.json")
    given = parse(words)
    if given.sample_config:
        typer.echo(SAMPLE, nl=False)
        return 0
    from drawbar.cli.main import run_command

    for command in translated(given):
        code = run_command(command)
        if code:
            return code
    return 0


def translated(given: argparse.Namespace) -> list[list[str]]:
    """Our own commands, in order; one that fails is the last."""
    if given.list_runs is not None:
        named = [] if given.list_runs == "" else ["--name", given.list_runs]
        return [["runs", "--limit", str(given.limit), *named]]
    if given.show_run is not None:
        return [["show", str(given.show_run)]]
    if given.mark_success:
        return _marks(given)
    run = ["run", given.config, *_run_options(given)]
    plan = [[*run, "--dry-run"]] if given.visible or given.dry_run else []
    return plan if given.dry_run else [*plan, run]


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What the words say. Usage: they say nothing that the Executioner knew."""
    return _parser().parse_args(list(words))


def _marks(given: argparse.Namespace) -> list[list[str]]:
    jobs = [job.strip() for job in (given.jobs or "").split(",") if job.strip()]
    if given.run_id is None or not jobs:
        raise Usage(
            "--mark-success needs -r RUN and -j JOB[,JOB]…, for example -r 12 -j load,clean"
        )
    return [["mark", str(given.run_id), job, "success"] for job in jobs]


def _run_options(given: argparse.Namespace) -> list[str]:
    options = [
        flag
        for flag, is_given in (
            ("--parallel", given.parallel),
            ("--sequential", given.sequential),
            ("--continue-on-error", given.continue_on_error),
            ("--failed-only", given.resume_failed_only),
        )
        if is_given
    ]
    if given.workers is not None:
        options += ["--workers", str(given.workers)]
    if given.resume_from is not None:
        options += ["--resume", str(given.resume_from)]
    for job in given.skip or ():
        options += ["--skip", job]
    for words in given.env or ():
        for pair in NEXT_PAIR.split(words):
            options += ["--env", pair]
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(f"executioner: {message}; 'drawbar executioner --help' lists what there is")


def _parser() -> _Parser:
    parser = _Parser(prog="drawbar executioner", add_help=False, allow_abbrev=True)
    parser.add_argument("-c", "--config", default=CONFIG)
    for flag in ("dry-run", "continue-on-error", "parallel", "sequential", "resume-failed-only"):
        parser.add_argument(f"--{flag}", action="store_true")
    for flag in ("mark-success", "visible", "verbose", "debug"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--sample-config", "--simple-config", action="store_true")
    parser.add_argument("--skip", nargs="+", action="extend")
    parser.add_argument("--env", nargs="+", action="extend")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--resume-from", type=int)
    parser.add_argument("--list-runs", nargs="?", const="")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--show-run", type=int)
    parser.add_argument("-r", "--run-id", type=int)
    parser.add_argument("-j", "--jobs")
    return parser
