"""A document on disk → the canonical pipeline, or all of its mistakes at once.

Each syntax is parsed into the same nodes (nodes.py), each dialect read through the same table
(fields.py). A document that does not parse has one mistake; every other one is read to its end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drawbar.document.assembly import assemble
from drawbar.document.mistakes import BadDocument, Located, Report
from drawbar.document.nodes import Mapping, Node, Scalar, Unparsable, describe
from shared.protocol.pipeline import PipelineSpec

MAX_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline that can run, and the text that it was read from."""

    spec: PipelineSpec
    source: str


def load(path: Path | str) -> Loaded:
    """The pipeline in the file at `path`; .json and .toml tell the syntax, all else is YAML.

    BadDocument: it cannot be read, or has mistakes.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise _unreadable(str(path), 0, f"cannot be read: {reason}") from None
    return load_text(data, str(path))


def load_text(text: str | bytes, file: str = "pipeline.yaml") -> Loaded:
    """The pipeline in `text`; `file` names it in messages and tells its syntax, as in `load`."""
    if len(text) > MAX_BYTES:
        raise _unreadable(file, 0, f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
    source = _decoded(text, file) if isinstance(text, bytes) else text.removeprefix("\ufeff")
    report = Report(file)
    try:
        root = _parsed(source, file)
    except Unparsable as error:
        raise BadDocument(file, [Located(error.line, error.column, "", error.message)]) from None
    if root is None or (isinstance(root, Scalar) and root.is_nothing):
        raise _unreadable(file, 1, "the file is empty; a pipeline needs at least jobs")
    if not isinstance(root, Mapping):
        expected = "expected a mapping with name and jobs at the top"
        raise _unreadable(file, root.line, f"{expected}, found {describe(root)}")
    spec = assemble(root, report, name=Path(file).stem)
    report.raise_if_any()
    assert spec is not None, "no mistake was reported"
    return Loaded(spec, source)


def _parsed(source: str, file: str) -> Node | None:
    # Parsers are imported where they are used: yaml costs 15 ms, tomllib 8, which a JSON file
    # need not pay.
    if file.endswith(".json"):
        from drawbar.document.json_source import parse_json

        return parse_json(source)
    if file.endswith(".toml"):
        from drawbar.document.toml_source import parse_toml

        return parse_toml(source)
    from drawbar.document.yaml_source import parse_yaml

    return parse_yaml(source)


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = data[error.start]
        raise _unreadable(file, line, f"is not UTF-8 text (byte 0x{found:02x})") from None


def _unreadable(file: str, line: int, message: str) -> BadDocument:
    return BadDocument(file, [Located(line, 1 if line else 0, "", message)])
