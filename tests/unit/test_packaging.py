"""Dockerfile, compose.yaml and the pins, read as they are: no container engine is needed."""

import re
import tomllib
from typing import Any

import pytest
import typer.main
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from drawbar.cli.main import app
from tests.support.golden import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES = ["gateway", "jobstore", "registry", "worker"]
SECRET_LOOKING = re.compile(r"(?i)(secret|token|password|key)(?!.*_FILE)")

commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group


def test_compose_has_the_four_daemons() -> None:
    assert sorted(COMPOSE["services"]) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]

    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_looked_after(name: str) -> None:
    service = COMPOSE["services"][name]

    health = service["healthcheck"]
    assert health["test"][0] == "CMD"
    compile(health["test"][-1], "healthcheck", "exec")
    assert service["environment"]["DRAWBAR_HEALTH_URLS"].count("/healthz") >= 1
    assert service["init"] is True
    for needed in service.get("depends_on", {}).values():
        assert needed == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_secrets_as_files_only(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["secrets"]
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    for variable, value in service["environment"].items():
        assert not SECRET_LOOKING.search(variable)
        if variable.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    for secret in COMPOSE["secrets"].values():
        assert set(secret) == {"file"}


def test_a_service_gets_no_secret_that_it_does_not_need() -> None:
    secrets = {name: service["secrets"] for name, service in COMPOSE["services"].items()}

    assert secrets == {
        "gateway": ["signing_key"],
        "jobstore": ["signing_key", "secrets_key"],
        "registry": ["signing_key", "enrolment_secret"],
        "worker": ["enrolment_secret"],  # it cannot mint tokens
    }


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_runs_is_a_command_with_these_options(name: str) -> None:
    command, *words = COMPOSE["services"][name]["command"]

    known = {option for p in commands[command].params for option in p.opts}
    assert command == name
    assert [word for word in words if word.startswith("--") and word not in known] == []


def test_every_volume_of_a_service_is_declared_and_used() -> None:
    used = {
        mount.split(":")[0]
        for service in COMPOSE["services"].values()
        for mount in service.get("volumes", [])
    }

    assert used == set(COMPOSE["volumes"])


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [p for service in COMPOSE["services"].values() for p in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_runs_as_nobody_special() -> None:
    last_stage = DOCKERFILE.split("\nFROM ")[-1]

    users = re.findall(r"^USER (\d+):(\d+)$", last_stage, re.MULTILINE)
    assert users == [("7400", "7400")]
    assert last_stage.index("\nUSER ") < last_stage.index("\nENTRYPOINT ")
    assert "HEALTHCHECK" in last_stage


def test_the_image_holds_no_secret() -> None:
    for line in DOCKERFILE.splitlines():
        if line.startswith(("ENV", "ARG")) or re.match(r"\s+[A-Z_]+=", line):
            assert not SECRET_LOOKING.search(line)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert not any("secret" in line for line in ignored if line.startswith("!"))


def test_the_image_has_every_package_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert copied == {pattern.rstrip("*") for pattern in packages}
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert copied <= kept


def test_every_requirement_is_pinned_to_a_version_that_meets_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line
    )
    pins = {canonicalize_name(name): version for name, version in pins.items()}

    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text
