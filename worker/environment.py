"""What a job has in its environment: its worker's, as far as it may; its own; and who it is."""

import re
from collections.abc import Mapping
from typing import Final

from shared.ids import AttemptId
from shared.protocol.gateway import RunContext
from shared.protocol.pipeline import InheritEnv
from worker.settings import WorkerSettings

OURS: Final = "DRAWBAR_"
MAX_VALUE: Final = 128 * 1024  # execve(2), MAX_ARG_STRLEN
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# The usual few: who and where a job is, its language, where it may put things.
USUAL: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TMP", "TEMP"}
    | {"JAVA_HOME", "ORACLE_HOME"}
)
SECRET: Final = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PASS(?:_|$)|SECRET|CREDENTIAL|TOKENS?(?:_|$)|API_?KEY|_KEYS?(?:_|$)"
    r"|COOKIE|(?:^|_)(?:AUTH|PWD)(?:_|$)"
)
NO_SECRETS: Final = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})


def job_env(settings: WorkerSettings, context: RunContext, attempt_id: AttemptId) -> dict[str, str]:
    """The environment of an attempt's command and checks."""
    given = inherited(settings, context.inherit_env)
    return {
        **given,
        **{name: filled_in(value, given) for name, value in context.env.items()},
        "DRAWBAR_RUN_ID": str(context.run_id),
        "DRAWBAR_JOB_ID": context.job_id,
        "DRAWBAR_ATTEMPT_ID": attempt_id,
        "DRAWBAR_FENCE": str(context.fence),
        "DRAWBAR_TRY": str(context.tries),
    }


def filled_in(value: str, given: Mapping[str, str]) -> str:
    """`${NAME}` of what the job inherits; those of its own variables were written out before.

    As it is, when it would become longer than the kernel takes.
    """
    found = _REFERENCE.findall(value) if "${" in value else []
    if not found or len(value) + sum(len(given.get(name, "")) for name in found) > MAX_VALUE:
        return value
    return _REFERENCE.sub(lambda m: given.get(m[1], m[0]), value)


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


def shell_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the environment in which a worker was started, everything that is not drawbar's own."""
    return {name: value for name, value in environ.items() if not name.startswith(OURS)}


def usual_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The usual few of it."""
    return {k: v for k, v in environ.items() if k in USUAL or k.startswith("LC_")}


def looks_secret(name: str) -> bool:
    """Whether a variable's name is that of a secret."""
    return name not in NO_SECRETS and SECRET.search(name.upper()) is not None


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not looks_secret(name)}
