"""What the path of an artifact may be, on every carrier: the wire model itself refuses the rest."""

import pytest
from pydantic import ValidationError

from shared.protocol.gateway import ArtifactEntry


def an_entry(path: str) -> ArtifactEntry:
    return ArtifactEntry(path=path, size_bytes=1, sha256="0" * 64)


@pytest.mark.parametrize("path", ["a", "dist/app.whl", "ünï/cödé", "a b/.hidden", "x" * 255])
def test_a_path_below_its_folder_is_taken(path: str) -> None:
    assert an_entry(path).path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../x",
        "/etc/passwd",
        "a/../../x",
        "a//b",
        "a/",
        ".",
        "a\x00b",
        "a\nb",
        "a\\..\\b",
        "\ud800",
        "x" * 256,
        "a/" * 600 + "b",
    ],
)
def test_a_path_that_could_leave_its_folder_or_hide_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        an_entry(path)
