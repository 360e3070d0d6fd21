"""What the documents say of the code is what the code does."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drawbar.document import load_text
from gateway.app import build_app as build_gateway
from jobstore import states as jobs
from jobstore.app import build_app as build_jobstore
from jobstore.components import states as components
from registry import states as workers
from registry.app import build_app as build_registry
from shared import tokens
from shared.errors import BY_CODE
from shared.http import wire
from shared.http.clients import ExecutionClient, JobsClient, RegistryClient
from shared.http.transport import Transport
from shared.protocol.components import ComponentStatus
from shared.protocol.states import ENDED, AttemptStatus, JobStatus, RunStatus, StageStatus
from shared.renewal import AttemptTokens
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Verifier
from tests.support.diagrams import Table, render
from tests.support.golden import ROOT, assert_golden_block

ARCHITECTURE = ROOT / "docs/architecture.md"
PROTOCOL = ROOT / "docs/protocol.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

# Enough to build the applications; nothing is ever sent.
RUNTIME = SystemRuntime()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
VERIFIER = Verifier(KEY.public_key(), RUNTIME)
MINTER = Minter(KEY, RUNTIME)
NOWHERE = Transport("http://127.0.0.1:1", RUNTIME, token=lambda: None)
JOBS = JobsClient(NOWHERE)
EXECUTION = ExecutionClient(NOWHERE)

STAGE_ENDS = [s for s in StageStatus if s not in (StageStatus.PENDING, StageStatus.RUNNING)]
DIAGRAMS: dict[str, str] = {
    "job": render(jobs.JOB, JobStatus.PENDING, ends=ENDED),
    "attempt": render(jobs.ATTEMPT, AttemptStatus.CLAIMED),
    "run": render(jobs.RUN, RunStatus.PENDING, ends=[s for s in RunStatus if s.is_ended]),
    "stage": render(jobs.STAGE, StageStatus.PENDING, ends=STAGE_ENDS),
    "component": render(components.COMPONENT, ComponentStatus.CREATED),
    "worker": render(
        workers.TRANSITIONS, workers.WorkerState.EXPECTED, {"present": workers.PRESENT}
    ),
}


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_diagrams_show_the_transitions(name: str) -> None:
    assert_golden_block(ARCHITECTURE, f"states: {name}", DIAGRAMS[name])


@pytest.mark.parametrize(
    "table",
    [jobs.JOB, jobs.ATTEMPT, jobs.RUN, jobs.STAGE, components.COMPONENT, workers.TRANSITIONS],
)
def test_a_diagram_has_every_event_of_its_table(table: Table) -> None:
    drawn = render(table, next(iter(table))[0])

    for (state, event), to in table.items():
        assert re.search(rf"^    {state} --> {to}: .*\b{event}\b", drawn, re.MULTILINE)


def test_the_protocol_page_lists_the_gateways_routes() -> None:
    app = build_gateway(JOBS, VERIFIER, AttemptTokens(MINTER, RUNTIME), EXECUTION, JOBS)

    served = listed("Every service") | listed("Worker's verbs") | listed("Execution API")
    assert routes_of(app) == served


def test_the_protocol_page_lists_the_job_services_routes() -> None:
    app = build_jobstore(JOBS, VERIFIER, EXECUTION)

    served = listed("Every service") | listed("Worker's verbs") | listed("Job service, for people")
    assert routes_of(app) == served


def test_the_protocol_page_lists_the_registrys_routes() -> None:
    app = build_registry(RegistryClient(NOWHERE), VERIFIER, MINTER, "not a secret")

    assert routes_of(app) == listed("Every service") | listed("Registry")


def test_the_protocol_page_lists_every_error() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \|", section("Errors"), re.MULTILINE)

    assert [(code, int(status), said == "yes") for code, status, said in rows] == [
        (code, error.status, error.retryable) for code, error in BY_CODE.items()
    ]


def test_the_protocol_page_lists_every_header_of_our_own() -> None:
    said = set(re.findall(r"^\| `([\w-]+)` \|", section("Headers"), re.MULTILINE))

    ours = {
        value for name, value in vars(wire).items() if name.isupper() and isinstance(value, str)
    }
    assert said == ours | {"Authorization"}


def test_the_protocol_page_says_how_long_each_token_lives() -> None:
    said = dict(re.findall(r"^\| `(\w+)` \| (\d+) s \|", section("Tokens"), re.MULTILINE))

    assert {scope: float(life) for scope, life in said.items()} == {
        scope.value: getattr(tokens, f"{scope.name}_S") for scope in tokens.Scope
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+?)(?:#[\w-]+)?\)", text) if ":" not in link]
    named = re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|sql|yaml|json|md))\b", text)

    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_every_function_that_the_way_of_a_job_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py): (\w+)`", ARCHITECTURE.read_text())

    missing = [
        (file, name) for file, name in named if f"def {name}(" not in (ROOT / file).read_text()
    ]
    assert named
    assert not missing


def test_the_pipelines_of_the_readme_can_be_run() -> None:
    texts = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    first, second = (load_text(text, "readme.yaml") for text in texts)

    assert [job.id for job in first.spec.jobs] == ["wheel", "smoke"]
    assert [second.spec.name, *first.notes, *second.notes] == ["nightly"]


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")]

    assert "docs/pipelines.md" in pages
    assert [page for page in pages if f"]({page})" not in readme] == []


def routes_of(app: web.Application) -> set[tuple[str, str]]:
    """Method and path of each, a variable without the pattern that it must match."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"  # comes with every GET
    }


def section(title: str) -> str:
    """The part of the protocol page below that heading."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PROTOCOL.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"no section {title!r}"
    return found.group(1)


def listed(title: str) -> set[tuple[str, str]]:
    calls: Iterable[tuple[str, str]] = re.findall(
        r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)`", section(title)
    )
    return set(calls)
