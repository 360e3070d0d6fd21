"""The variables of jobs: command line above job above pipeline, then `${NAME}` written out."""

from collections.abc import Mapping
from typing import Any, Final

from drawbar.document import variables
from drawbar.document.blocks import child
from drawbar.document.mistakes import WHOLE_FILE, Path, Position, Report
from drawbar.document.tables import Read
from drawbar.document.templates import Budget
from drawbar.document.variables import Circle, Layer, TooLong

MAX_CIRCLES: Final = 20  # each is looked for anew

COST: Final = 100  # of keeping a variable, as characters: what short ones take, too

# Texts of a job in which variables are written out because no shell would do it.
PLACES: Final = ("working_dir", "artifacts", "pre_checks", "post_checks")


class Environment:
    """`pipeline` is what every job has of it, written out."""

    def __init__(self, own: Layer, given: Layer, top: Read, budget: Budget, report: Report) -> None:
        self._own = own
        self._given = given
        self._budget = budget
        self._report = report
        self._users = variables.Users({**own, **given})
        self._is_bad = False
        self.pipeline = self._expanded_pipeline(top)

    def give(self, values: dict[str, Any], read: Read, path: Path) -> None:
        """The job's variables are those that it needs beside the pipeline's; its texts have them.

        `values` are the job's, by place.
        """
        if self._is_bad or self._budget.is_spent:
            return
        env: dict[str, str] = values.get("env", {})
        try:
            if env:
                values["env"] = env = self._of_job(env, read, path)
            given = [place for place in PLACES if place in values]
            whole = {**self.pipeline, **env} if env and given else self.pipeline
            for place in given:
                at = read.nodes.get(place, WHOLE_FILE)
                values[place] = self._filled(values[place], whole, place, at, path)
        except (Circle, TooLong) as error:
            self._tell(error, read, path)

    def _expanded_pipeline(self, top: Read) -> dict[str, str]:
        own, given = {**self._own}, {**self._given}
        for _ in range(MAX_CIRCLES):
            try:
                return variables.expand([*own, *given], [own, given])
            except (Circle, TooLong) as error:
                self._tell(error, top, ())
                self._is_bad = True
                for name in error.names:
                    own.pop(name, None)
                    given.pop(name, None)
        return {}

    def _of_job(self, env: Layer, read: Read, path: Path) -> dict[str, str]:
        names = self._users.of(env)
        if len(names) == len(env) and not any("${" in value for value in env.values()):
            return {name: self._given.get(name, value) for name, value in env.items()}
        # What depends on a variable that this job changes is another value for this job.
        found = variables.expand(names, [self._own, env, self._given], self.pipeline)
        size = sum(len(name) + len(value) + COST for name, value in found.items())
        self._budget.spend(size, read.nodes.get("env", WHOLE_FILE), path)
        return {n: v for n, v in found.items() if n in env or v != self.pipeline.get(n)}

    def _filled(self, value: Any, env: Layer, name: str, at: Position, path: Path) -> Any:
        if isinstance(value, str):
            found = variables.fill(value, env, name)
            grown = len(found) if found is not value else 0
            return found if self._budget.spend(grown, at, path) else value
        if isinstance(value, tuple | list):
            return type(value)(self._filled(item, env, name, at, path) for item in value)
        if isinstance(value, Mapping):
            return {key: self._filled(item, env, name, at, path) for key, item in value.items()}
        return value

    def _tell(self, error: Circle | TooLong, read: Read, path: Path) -> None:
        name = error.names[0]
        if name in PLACES:
            at: Position = read.nodes.get(name, WHOLE_FILE)
            self._report.add(at, (*path, read.names.get(name, name)), str(error))
            return
        at = child(read.nodes["env"], name, wants_key=False) if "env" in read.nodes else WHOLE_FILE
        self._report.add(at, (*path, read.names.get("env", "env"), name), str(error))
