"""`python: module:function`: what lies beside the document travels, the rest is installed."""

import io
import zipfile
from pathlib import Path

import pytest

from drawbar.document import load, load_text
from drawbar.document.mistakes import BadDocument
from shared.protocol.pipeline import LiteralArgument, PipelineSpec

FILES = {
    "work.py": "import helper\nimport json\ndef main(x): ...\n",
    "helper.py": "from pkg import mod\n",
    "pkg/__init__.py": "",
    "pkg/mod.py": "from . import inner\ndef go(): ...\n",
    "pkg/inner.py": "",
    "unused.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def loaded(folder: Path, *jobs: str) -> PipelineSpec:
    file = folder / "p.yaml"
    file.write_text("jobs:\n" + "".join(f"  - {job}\n" for job in jobs))
    return load(file).spec


def packed(spec: PipelineSpec) -> list[str]:
    assert spec.bundle is not None
    return zipfile.ZipFile(io.BytesIO(spec.bundle.content)).namelist()


def test_a_module_beside_the_document_travels_with_what_it_imports(folder: Path) -> None:
    spec = loaded(folder, '{id: a, python: "work:main", with: {x: [1, {y: null}]}}')

    task = spec.jobs[0].task
    assert task is not None
    assert spec.bundle is not None
    assert (task.module, task.function, task.file) == ("work", "main", "work.py")
    assert task.bundle == spec.bundle.sha256
    assert task.kwargs == {"x": LiteralArgument(value=[1, {"y": None}])}
    assert packed(spec) == [
        *("helper.py", "pkg/__init__.py", "pkg/inner.py", "pkg/mod.py", "work.py")
    ]


def test_a_module_of_a_package_is_imported_by_its_name(folder: Path) -> None:
    task = loaded(folder, '{id: a, python: "pkg.mod:go"}').jobs[0].task

    assert task is not None
    assert (task.module, task.file) == ("pkg.mod", None)
    assert task.bundle is not None


def test_the_same_files_make_the_same_bundle(folder: Path) -> None:
    first = loaded(folder, '{id: a, python: "work:main"}')
    second = loaded(folder, '{id: b, python: "work:main"}', '{id: c, python: "pkg.mod:go"}')

    assert first.bundle == second.bundle


def test_any_other_module_is_installed_where_the_worker_runs(folder: Path) -> None:
    for spec in (
        loaded(folder, '{id: a, python: "platform:python_version"}'),
        load_text('jobs: [{id: a, python: "work:main"}]').spec,
    ):
        task = spec.jobs[0].task
        assert task is not None
        assert (spec.bundle, task.bundle, task.file) == (None, None, None)


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ('{id: a, python: "work:mian"}', "work.py has no function 'mian' (did you mean 'main'?)"),
        ("{id: a, python: work}", "expected module:function"),
        ('{id: a, python: "work:"}', "expected module:function"),
        ('{id: a, python: "../work:main"}', "expected module:function"),
        ('{id: a, python: "work:main", command: x}', "(found command and python)"),
        ("{id: a, command: x, with: {y: 1}}", "but the job has no python"),
        ('{id: a, python: "work:main", with: [1]}', "expected a mapping of names to values"),
        ('{id: a, python: "broken:main"}', "broken.py:1: "),
    ],
)
def test_a_mistake_says_what_is_wrong(folder: Path, job: str, says: str) -> None:
    (folder / "broken.py").write_text("def (:\n")

    with pytest.raises(BadDocument) as caught:
        loaded(folder, job)

    assert says in caught.value.format_mistakes()


def test_a_link_out_of_the_folder_does_not_travel(folder: Path, tmp_path: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "work.py").symlink_to(folder / "work.py")

    assert loaded(inner, '{id: a, python: "work:main"}').bundle is None
