"""docs/executioner.md names every box of the Executioner's charts, and only what there is."""

import re
from pathlib import Path

import pytest

from drawbar.cli.executioner import parse
from drawbar.cli.main import COMMANDS
from drawbar.document.fields import JOB, PIPELINE

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/executioner.md").read_text()

# Each as it is labelled in the charts.
EDGES = """
(start) → Pending: Job Created
Pending → Queued: Dependencies Met
Pending → Blocked: Dependencies Not Met
Blocked → Queued: Dependencies Resolved
Blocked → Skipped: Dependency Failed
Queued → Running: Job Started
Running → PreChecks: Execute Pre-checks
PreChecks → PreCheckFailed: Pre-check Failed
PreChecks → Executing: Pre-checks Passed
Executing → PostChecks: Command Completed
Executing → Failed: Command Failed
Executing → Timeout: Timeout Reached
PostChecks → Success: Post-checks Passed
PostChecks → PostCheckFailed: Post-check Failed
Failed → Retrying: Retry Conditions Met
Timeout → Retrying: Retry Conditions Met
PreCheckFailed → Retrying: Retry Conditions Met
PostCheckFailed → Retrying: Retry Conditions Met
Retrying → Running: Retry Attempt
Retrying → Failed: Max Retries Exceeded
Success → (end): Job Complete
Failed → (end): Job Complete
Skipped → (end): Job Complete
"""
BOXES = {
    "Main execution process": """
        Start, End, Load Configuration, Validate Config, Initialize Components, Get New Run ID,
        Setup Logging, Check Dependencies, Abort: Circular Dependencies,
        Abort: Missing Dependencies, Dry Run Mode?, Display Execution Plan, Exit with Plan,
        Queue Initial Jobs, Setup Interrupt Handler, Parallel Mode?, Parallel Execution,
        Sequential Execution, Monitor Job Progress, All Jobs Complete?, Get Next Job, Execute Job,
        Update Job Status, Queue Dependent Jobs, Cleanup Resources, Generate Summary,
        Send Notifications""",
    "Decision points and flow control": """
        Start, End, Load Config, Valid Config?, Exit with Error, Circular Dependencies?,
        Missing Dependencies?, Dry Run?, Display Plan & Exit, Parallel Mode?, Parallel Execution,
        Sequential Execution, Jobs Remaining?, Execute Next Job, Job Success?,
        Queue Dependent Jobs, Handle Failure, Continue on Error?, Abort Execution,
        Generate Summary, Send Notifications""",
    "Job execution in detail": """
        Job Start, Setup Job Environment, Pre-checks Required?, Execute Pre-checks,
        Pre-checks Pass?, Mark Pre-check Failed, Execute Command, Monitor Execution,
        Command Success?, Handle Timeout, Handle Error, Post-checks Required?,
        Execute Post-checks, Post-checks Pass?, Mark Post-check Failed, Mark Success,
        Retry Available?, Wait Retry Delay, Mark Failed, Queue Dependent Jobs, Job End""",
    "Configuration loading and validation": """
        Configuration Start, Read JSON Config File, Valid JSON?, JSON Parse Error,
        Validate Schema, Required Fields Present?, Missing Required Fields, Validate Jobs Array,
        For Each Job, More Jobs?, Job ID Present?, Missing Job ID, Command Present?,
        Missing Command, Validate Dependencies, Dependencies Exist?, Invalid Dependencies,
        Check Circular Dependencies, Circular Dependencies?, Circular Dependency Error,
        Configuration Valid, Configuration Success, Configuration Error, Configuration Failure""",
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below that heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_edge_of_the_lifecycle_has_a_row_with_a_test_on_a_real_worker() -> None:
    tests = (ROOT / "tests/system/test_executioner.py").read_text()

    found = {edge: test.strip("`") for edge, _, test in rows("Job lifecycle")}

    assert list(found) == EDGES.strip().splitlines()
    assert [test for test in found.values() if f"async def {test}(" not in tests] == []


@pytest.mark.parametrize("heading", BOXES)
def test_every_box_of_a_chart_has_a_row_with_a_command(heading: str) -> None:
    wanted = [box.strip() for box in BOXES[heading].split(",")]

    found = {box.strip(): row[-1] for row in rows(heading) for box in row[0].split(", ")}

    assert sorted(found) == sorted(wanted)
    assert [box for box, command in found.items() if not command.startswith("`drawbar ")] == []


def test_every_command_and_test_that_the_page_names_exists() -> None:
    commands = {name for _, name, _ in COMMANDS}
    tests = "".join(path.read_text() for path in (ROOT / "tests/system").glob("*.py"))

    assert set(re.findall(r"`drawbar ([\w-]+)", PAGE)) - commands == set()
    assert [t for t in re.findall(r"`(test_\w+)`", PAGE) if f"def {t}(" not in tests] == []


def test_every_field_of_the_executioner_is_read() -> None:
    fields = [name for row in rows("Fields") for name in re.findall(r"`(\w+)`", row[0])]

    known = PIPELINE.fields.keys() | JOB.fields.keys()

    assert [name for name in fields if name not in known and name != "_"] == []
    assert len(fields) > 40


def test_every_option_of_the_executioner_is_taken() -> None:
    lines = [words for row in rows("Options") for words in re.findall(r"`(-[^`]+)`", row[0])]

    taken = [parse(re.sub(r"\b(RUN|N)\b", "1", words).split()) for words in lines]

    assert len(taken) >= 15
