"""Documents for tests, and what the loader says of them."""

from textwrap import dedent

import pytest

from drawbar.document import BadDocument, load_text
from shared.protocol.pipeline import PipelineSpec


def spec_of(text: str, file: str = "p.yaml") -> PipelineSpec:
    """The pipeline that `text` describes."""
    return load_text(dedent(text), file).spec


def mistakes_of(text: str | bytes, file: str = "p.yaml") -> list[tuple[int, str]]:
    """(line, message) of every mistake in `text`, which has some."""
    with pytest.raises(BadDocument) as caught:
        load_text(text if isinstance(text, bytes) else dedent(text), file)
    return [(m.line, m.message) for m in caught.value.mistakes]
