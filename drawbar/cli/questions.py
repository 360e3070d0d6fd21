"""`questions` and `answer`: what tasks that wait ask of people."""

from typing import Annotated

import typer

from drawbar.cli.options import Data, JobName, Json, RunNumber, Server

OfRun = Annotated[
    int | None,
    typer.Argument(metavar="RUN", help="A run's number; without it: all.", show_default=False),
]
Choice = Annotated[
    str | None,
    typer.Argument(
        metavar="CHOICE", help="One of the choices, if there are any.", show_default=False
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A field of the question. May be repeated.",
        show_default=False,
    ),
]


def questions(
    run: OfRun = None, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """What tasks ask, and how to answer.

    Example: drawbar questions
    """
    from drawbar.cli.connect import asking_jobs, with_now
    from drawbar.cli.render.objects import write_json
    from shared.ids import RunId

    run_id = None if run is None else RunId(run)
    listed, now = asking_jobs(
        lambda jobs, runtime: with_now(jobs.list_questions(run_id), runtime),
        server,
        data,
        only_looks=True,
    )
    if as_json:
        write_json([question.model_dump(mode="json") for question in listed.questions])
        return
    from drawbar.cli.render.questions import question_lines

    if not listed.questions:
        typer.echo("nothing is asked")
    for question in listed.questions:
        for line in question_lines(question, now):
            typer.echo(line)


def answer(
    run: RunNumber,
    job: JobName,
    choice: Choice = None,
    values: Values = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Answer what a task asks; it goes on with the answer.

    Example: drawbar answer 12 deploy yes --set reason="seen by ops"
    """
    from drawbar.cli.deciding import decide, who
    from drawbar.cli.failures import Usage
    from drawbar.cli.render.objects import write_json
    from shared.ids import JobId, RunId
    from shared.protocol.questions import MAX_FIELDS, AnswerRequest

    given: dict[str, str] = {}
    for text in values or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise Usage(f"--set takes NAME=VALUE, found {text!r}")
        given[name] = value
    if len(given) > MAX_FIELDS:
        raise Usage(f"a question has at most {MAX_FIELDS} fields")
    ask = AnswerRequest(
        run_id=RunId(run), job_id=JobId(job), by=who(), choice=choice, values=dict(given)
    )
    decide(ask, server, data)
    if as_json:
        write_json({"run_id": run, "job_id": job, "answered": True})
    else:
        typer.echo(f"job {job} of run {run} goes on with the answer")
