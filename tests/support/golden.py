"""Texts that others depend on, kept in the repository and compared with what the code makes.

`make golden` sets DRAWBAR_GOLDEN=write: then the file is written anew, to be reviewed as a diff.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
IS_WRITING = os.environ.get("DRAWBAR_GOLDEN") == "write"


def assert_golden(name: str, text: str) -> None:
    """The file of that name in tests/golden holds exactly `text`."""
    path = GOLDEN / name
    if IS_WRITING:
        path.write_text(text)
    assert path.read_text() == text, f"{name} differs: `make golden` and review the diff"


def assert_golden_block(path: Path, name: str, text: str) -> None:
    """The fenced block below the line `<!-- name -->` of a Markdown file holds exactly `text`."""
    page = path.read_text()
    block = re.compile(rf"(<!-- {re.escape(name)} -->\n\n```\w*\n)(.*?)(```\n)", re.DOTALL)
    found = block.search(page)
    assert found is not None, f"{path.name} has no block {name!r}"
    if IS_WRITING:
        page = page[: found.start(2)] + text + page[found.end(2) :]
        path.write_text(page)
        return
    assert found.group(2) == text, f"{path.name}, {name}: `make golden` and review the diff"


def assert_golden_part(path: Path, name: str, text: str) -> None:
    """What stands between `<!-- name -->` and `<!-- /name -->` of a Markdown file is `text`."""
    page = path.read_text()
    first, last = f"<!-- {name} -->\n\n", f"<!-- /{name} -->"
    assert first in page, f"{path.name} has no part {name!r}"
    before, rest = page.split(first, 1)
    found, after = rest.split(last, 1)
    if IS_WRITING:
        path.write_text(f"{before}{first}{text}\n{last}{after}")
        return
    assert found == f"{text}\n", f"{path.name}, {name}: `make golden` and review the diff"
