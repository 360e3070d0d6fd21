"""What `drawbar conformance` does."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from drawbar.cli.connect import checked_url, client_token
from drawbar.cli.failures import Usage, say
from drawbar.cli.places import data_dir
from drawbar.conformance.case import Outcome, Verdict
from drawbar.conformance.report import junit_of, line_of, summary_of
from shared import logs
from shared.runtime import SystemRuntime
from shared.secret_files import read_enrolment_secret

SUITES: Final = {"services": "drawbar.conformance.services", "worker": "drawbar.conformance.worker"}


def print_conformance(
    *,
    gateway: str | None,
    registry: str | None,
    jobstore: str | None,
    secret_file: Path | None,
    worker: str | None,
    junit: Path | None,
    data: Path | None,
) -> int:
    """The exit code: 1 when a case was broken."""
    runtime = SystemRuntime()
    logs.configure(runtime, level="critical")  # a service of ours that is put to the test says much
    if worker is not None:
        if any((gateway, registry, jobstore, secret_file)):
            raise Usage("--worker is tried against services of its own: name no others")
        from drawbar.conformance.workers.judging import judge_worker

        outcomes = asyncio.run(judge_worker(worker, runtime, told=_tell))
        return _conclude(SUITES["worker"], outcomes, junit)
    if gateway is None or registry is None:
        raise Usage("say what to try: --gateway URL and --registry URL, or --worker COMMAND")
    from drawbar.conformance.judging import judge_services

    secret = secret_file or data_dir(data) / "keys" / "enrolment.secret"
    outcomes = asyncio.run(
        judge_services(
            runtime,
            gateway=checked_url("--gateway", gateway),
            registry=checked_url("--registry", registry),
            jobstore=None if jobstore is None else checked_url("--jobstore", jobstore),
            enrolment_secret=read_enrolment_secret(secret),
            client_token=client_token(data),
            told=_tell,
        )
    )
    return _conclude(SUITES["services"], outcomes, junit)


def _tell(outcome: Outcome) -> None:
    typer.echo(line_of(outcome))


def _conclude(suite: str, outcomes: Sequence[Outcome], junit: Path | None) -> int:
    typer.echo(summary_of(outcomes))
    if junit is not None:
        try:
            junit.write_bytes(junit_of(suite, outcomes))
        except OSError as error:
            say(f"--junit {str(junit)!r} cannot be written: {error.strerror}")
            return 1
    broken = any(outcome.verdict is Verdict.BROKEN for outcome in outcomes)
    kept = any(outcome.verdict is Verdict.KEPT for outcome in outcomes)
    return 0 if kept and not broken else 1
