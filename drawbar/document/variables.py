"""`${NAME}` in the environment: written out when the document is loaded, after its layers merged.

A name that no layer has is left for the shell in which the job runs. A variable that names itself
means the one of the layer below: `PATH: /opt/bin:${PATH}`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

MAX_VALUE: Final = 131_072  # characters, as the canonical model has it

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Layer = Mapping[str, str]
_Place = tuple[str, int]  # a variable, and the layer that gives its value


class Circle(Exception):
    """Variables that stand for each other; `names` ends with the one that it begins with."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__("variables go in a circle: " + " → ".join(names))


class TooLong(Exception):
    """A variable became longer than one may be."""

    def __init__(self, name: str) -> None:
        self.names = [name]
        super().__init__(f"{name}: is longer than {MAX_VALUE:,} characters when written out")


def references(text: str) -> list[str]:
    """The names that `text` refers to."""
    return _REFERENCE.findall(text) if "${" in text else []


def fill(text: str, values: Layer, name: str = "it") -> str:
    """`text`, called `name`, with the values that there are. TooLong."""
    if "${" not in text:
        return text
    grown = sum(len(values[n]) - len(n) - 3 for n in references(text) if n in values)
    if len(text) + grown > MAX_VALUE:
        raise TooLong(name)
    return _REFERENCE.sub(lambda m: values.get(m[1], m[0]), text)


class Users:
    """Which variables of an environment depend on another one, however indirectly."""

    def __init__(self, env: Layer) -> None:
        self._direct: dict[str, list[str]] = {}
        for name, value in env.items():
            for used in dict.fromkeys(references(value)):
                self._direct.setdefault(used, []).append(name)

    def of(self, names: Iterable[str]) -> dict[str, None]:
        """`names`, and all that depend on one of them, each once."""
        found = dict.fromkeys(names)
        waiting = [*found]
        while waiting:
            for user in self._direct.get(waiting.pop(), ()):
                if user not in found:
                    found[user] = None
                    waiting.append(user)
        return found


def expand(
    names: Iterable[str], layers: Sequence[Layer], known: Layer | None = None
) -> dict[str, str]:
    """The values of `names`, with `layers` from the weakest to the strongest.

    `known` are values of other names, written out already. Circle, TooLong.
    """
    wanted = {name: None for name in names if _top(name, layers) is not None}
    done: dict[_Place, str] = {}
    result = {}
    for name in wanted:
        level = _top(name, layers)
        assert level is not None, "it was wanted because a layer has it"
        result[name] = _written_out((name, level), layers, done, known or {}, wanted)
    return result


def _written_out(
    start: _Place,
    layers: Sequence[Layer],
    done: dict[_Place, str],
    known: Layer,
    wanted: Collection[str],
) -> str:
    """Depth-first without recursion: variables may refer to each other in a long chain."""
    open_: dict[_Place, None] = {}  # what waits for others, in the order in which it was opened
    stack = [start]
    while stack:
        place = stack[-1]
        if place in done:
            stack.pop()
            continue
        value = layers[place[1]][place[0]]
        values: dict[str, str] = {}
        missing: list[_Place] = []
        for name in dict.fromkeys(references(value)):
            if name in known and name not in wanted:
                values[name] = known[name]
                continue
            meant = _meant(name, place, layers)
            if meant is not None and meant in done:
                values[name] = done[meant]
            elif meant is not None:
                missing.append(meant)
        if missing:
            open_[place] = None
            for at in missing:
                if at in open_:
                    path = [*open_]
                    raise Circle([n for n, _ in path[path.index(at) :]] + [at[0]])
            stack += missing
            continue
        done[place] = fill(value, values, place[0])
        open_.pop(place, None)
        stack.pop()
    return done[start]


def _meant(name: str, within: _Place, layers: Sequence[Layer]) -> _Place | None:
    """Where the value is to which a reference in the variable `within` leads; None: nowhere."""
    below = layers[: within[1]] if name == within[0] else layers
    level = _top(name, below)
    return None if level is None else (name, level)


def _top(name: str, layers: Sequence[Layer]) -> int | None:
    for level in range(len(layers) - 1, -1, -1):
        if name in layers[level]:
            return level
    return None
