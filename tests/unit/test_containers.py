"""What a container engine is told, and what is found out about it, without one."""

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.ids import AttemptId
from shared.protocol.pipeline import ContainerSpec, InheritEnv, Limits
from worker.environment import inherited_in_container
from worker.ports import ContainerLaunch, Launch
from worker.runners.containers.address import find_engine, is_address
from worker.runners.containers.config import Abilities, container_config
from worker.runners.containers.images import Progress
from worker.runners.containers.notes import Notes
from worker.settings import WorkerSettings


def config(
    spec: ContainerSpec | None = None,
    limits: Limits | None = None,
    working_dir: str | None = None,
    abilities: Abilities | None = None,
) -> Mapping[str, object]:
    launch = Launch(
        argv=("sh", "-c", "true"),
        env={"A": "1"},
        cwd=Path("/data/attempts/x"),
        log=Path("/data/attempts/x.log"),
        attempt_id=AttemptId("x"),
        limits=limits,
    )
    container = ContainerLaunch("debian:12", spec or ContainerSpec(), working_dir, {"job": "a"})
    owned = {"drawbar.worker": "w"}
    return container_config(launch, container, owned, abilities or Abilities(), has_stdin=False)


def host(**wishes: object) -> Mapping[str, object]:
    found = config(**wishes)["HostConfig"]  # type: ignore[arg-type] # as `config` has them
    assert isinstance(found, dict)
    return found


def test_a_container_is_given_its_folder_and_nothing_else_of_the_worker() -> None:
    made = config()

    assert made["Env"] == ["A=1"]
    assert made["WorkingDir"] == "/workspace"
    assert made["Labels"] == {"job": "a", "drawbar.worker": "w"}
    assert (made["Entrypoint"], made["Cmd"]) == (["sh"], ["-c", "true"])
    assert host() == {
        "Init": True,
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/data/attempts/x",
                "Target": "/workspace",
                "ReadOnly": False,
            }
        ],
    }


def test_every_limit_has_its_setting() -> None:
    limits = Limits(
        memory_bytes=1 << 20, cpus=1.5, pids=9, open_files=64, file_size_bytes=4096, nice=3
    )

    told = host(limits=limits)

    assert told["Memory"] == told["MemorySwap"] == 1 << 20
    assert (told["NanoCpus"], told["PidsLimit"], told["CpuShares"]) == (1_500_000_000, 9, 524)
    assert told["Ulimits"] == [
        {"Name": "nofile", "Soft": 64, "Hard": 64},
        {"Name": "fsize", "Soft": 4096, "Hard": 4096},
    ]


def test_what_an_engine_cannot_do_it_is_not_asked_for_again() -> None:
    poor = Abilities().without("error setting rlimit type 6: operation not permitted")
    assert poor is not None
    assert [limit["Name"] for limit in host(abilities=poor)["Ulimits"]] == ["nofile", "nproc"]  # type: ignore[attr-defined] # a list

    poorer = poor.without('exec: "docker-init": executable file not found in $PATH')
    assert poorer is not None
    assert host(abilities=poorer)["Init"] is False

    assert poorer.without("error setting rlimit type 6") is None
    assert Abilities().without("no such network") is None


def test_an_engine_is_the_one_named_or_the_first_socket_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "podman" / "podman.sock"
    path.parent.mkdir()
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(path.parent)  # a socket's whole path may have 107 characters
        listener.bind(path.name)

        assert find_engine(None, environ) == f"unix://{path}"
        named = {**environ, "DOCKER_HOST": "tcp://box:2375"}
        assert find_engine(None, named) == "tcp://box:2375"
        assert find_engine("unix:///mine", named) == "unix:///mine"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("unix:///run/docker.sock", True),
        ("tcp://10.0.0.1:2375", True),
        ("ssh://me@box", False),
        ("/run/docker.sock", False),
        ("unix://", False),
    ],
)
def test_an_address_says_how_the_engine_is_reached(text: str, is_one: bool) -> None:
    assert is_address(text) is is_one


@pytest.mark.parametrize(
    ("wish", "names"),
    [(None, set()), (False, set()), ("default", set()), (True, {"MINE"}), (("PATH",), {"PATH"})],
)
def test_a_container_inherits_where_things_are_only_by_name(
    wish: InheritEnv | None, names: set[str]
) -> None:
    shell = {"PATH": "/usr/bin", "HOME": "/root", "MINE": "1", "MY_TOKEN": "s"}
    settings = WorkerSettings(name="w", slots=1, shell_env=shell, base_env=shell)

    assert set(inherited_in_container(settings, wish)) == names


def test_progress_of_a_pull_counts_layers_and_bytes() -> None:
    progress = Progress()
    assert progress.in_words() == "no news yet"
    for layer, now in (("a", 4_000_000), ("b", 1_000_000)):
        detail = {"current": now, "total": 4_000_000}
        progress.take({"id": layer, "status": "Downloading", "progressDetail": detail})
    progress.take({"id": "a", "status": "Pull complete", "progressDetail": {}})

    assert progress.in_words() == "1 of 2 layers, 5.0 of 8.0 MB"


def test_a_note_is_left_to_the_next_worker_until_the_container_is_gone(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    assert notes.left() == set()
    notes.add("one")
    assert notes.left() == set()

    assert Notes(tmp_path / "notes").left() == {"one"}
    notes.leave("one")
    assert notes.left() == {"one"}
    notes.drop("one")
    assert Notes(tmp_path / "notes").left() == set()
