"""What a job has in its environment: its worker's, as far as it may; its own; and who it is."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

from shared.ids import AttemptId
from shared.protocol.gateway import RunContext
from shared.protocol.pipeline import InheritEnv
from worker.ports import CannotStart
from worker.settings import WorkerSettings

OURS: Final = "DRAWBAR_"
IDENTITY: Final = tuple(f"{OURS}{w}" for w in ("RUN_ID", "JOB_ID", "ATTEMPT_ID", "FENCE", "TRY"))
REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
MOST_CHARACTERS: Final = 131_072  # of one text: Linux starts nothing with a longer one
# The usual few: who and where a job is, its language, where it may put things.
USUAL: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TMP", "TEMP"}
    | {"JAVA_HOME", "ORACLE_HOME"}
)
SECRET: Final = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PASS(?:_|$)|SECRET|CREDENTIAL|TOKENS?(?:_|$)|API_?KEY|_KEYS?(?:_|$)"
    r"|COOKIE|(?:^|_)(?:AUTH|PWD)(?:_|$)"
)
NO_SECRET_VALUES: Final = frozenset({"true", "false", "none", "null", "default"})  # in every log
NO_SECRETS: Final = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})


def job_env(settings: WorkerSettings, context: RunContext, attempt_id: AttemptId) -> dict[str, str]:
    """The environment of an attempt's command and checks. CannotStart: it grows too large.

    `${NAME}` in the job's own variables was written out before, as far as the pipeline has it.
    What is left means what the job inherits: `PATH: /opt/bin:${PATH}`.
    """
    inherit = inherited if not settings.contains(context) else inherited_in_container
    below = {
        **inherit(settings, context.inherit_env),
        "DRAWBAR_RUN_ID": str(context.run_id),
        "DRAWBAR_JOB_ID": context.job_id,
        "DRAWBAR_ATTEMPT_ID": attempt_id,
        "DRAWBAR_FENCE": str(context.fence),
        "DRAWBAR_TRY": str(context.tries),
    }
    who = {name: below[name] for name in IDENTITY}
    own = {name: filled(value, below, f"variable {name}") for name, value in context.env.items()}
    return {**below, **own, **who}


def filled(text: str, values: Mapping[str, str], what: str) -> str:
    """The text with the values of `${NAME}` that there are. CannotStart: it grows too large."""
    if "${" not in text:
        return text
    names = [name for name in REFERENCE.findall(text) if name in values]
    if len(text) + sum(len(values[name]) for name in names) > MOST_CHARACTERS:
        raise CannotStart(f"{what} has more than {MOST_CHARACTERS:,} characters when written out")
    return REFERENCE.sub(lambda found: values.get(found[1], found[0]), text)


def inherited(settings: WorkerSettings, wish: InheritEnv | None) -> Mapping[str, str]:
    """What a pipeline's jobs inherit. Nothing that is drawbar's own, whatever they wish.

    A variable that looks like a secret is inherited only from the shell of the person whose
    pipeline it is, or by its name.
    """
    shell = settings.shell_env
    if wish is None:
        return settings.base_env
    if wish is True:
        return shell if settings.is_own_shell else _without_secrets(shell)
    if wish is False:
        return {}
    if wish == "default":
        return usual_env(shell)
    return {name: shell[name] for name in wish if name in shell}


def inherited_in_container(settings: WorkerSettings, wish: InheritEnv | None) -> Mapping[str, str]:
    """The same in a container: only what is asked for, and where things are only by its name.

    A folder of this machine means nothing in an image, and its PATH would hide the image's own.
    """
    if wish is None or wish is False or wish == "default":
        return {}
    found = inherited(settings, wish)
    usual = usual_env(found) if wish is True else {}
    return {name: value for name, value in found.items() if name not in usual}


def shell_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the environment in which a worker was started, everything that is not drawbar's own."""
    return {name: value for name, value in environ.items() if not name.startswith(OURS)}


def usual_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The usual few of it."""
    return {k: v for k, v in environ.items() if k in USUAL or k.startswith("LC_")}


@lru_cache(maxsize=1_024)
def looks_secret(name: str) -> bool:
    """Whether a variable's name is that of a secret."""
    return name not in NO_SECRETS and SECRET.search(name.upper()) is not None


def secrets_in(env: Mapping[str, str], masked: Collection[str]) -> list[str]:
    """The values in a job's environment that its log must not show: of variables whose names are
    those of secrets, and of those that the worker was told of."""
    return [
        value
        for name, value in env.items()
        if (name in masked or looks_secret(name)) and value.lower() not in NO_SECRET_VALUES
    ]


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not looks_secret(name)}
