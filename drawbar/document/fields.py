"""Every field of a document, with every name that it may be written under.

The one table through which all dialects load: ours, the Executioner's JSON, the staged YAML. The
loader, the JSON Schema (schema.py) and docs/pipelines.md are made of it. Defaults that depend on
the dialect are in dialects.py.
"""

from typing import Final

from drawbar.document import kinds as k
from drawbar.document.tables import Field, Table, block, table

# fmt: off
RETRY: Final = table((
    Field("max", ("max",), k.WHOLE, "How often a failed job is tried again. Default: 0.", 2),
    Field("delay_s", ("delay",), k.DURATION,
          "The wait before the second try. Default: 5s.", "30s"),
    Field("backoff", ("backoff",), k.NUMBER,
          "Each further wait is longer by this factor. Default: 2.", 1.5),
    Field("jitter", ("jitter",), k.NUMBER,
          "The part of a wait by which it may be longer or shorter, 0 to 1. Default: 0.1.", 0.1),
    Field("max_time_s", ("max_time",), k.DURATION,
          "No try begins later than this after the first began. Default: no limit.", "30m"),
    Field("on", ("on",), k.RETRY_ON,
          "What is tried again: failed, timeout, precheck_failed, postcheck_failed, lost. "
          "Default: failed and timeout.", ["failed", "timeout"]),
    Field("on_exit_codes", ("on_exit_codes",), k.EXIT_CODES,
          "Of what failed by its exit code, only these. Default: any.", [1, 75]),
))
RETRY_BLOCK: Final = block("retry", RETRY, "{max: 2, delay: 5s}")


def _flat_retry(prefix: str) -> tuple[Field, ...]:
    """The Executioner's spelling; `default_` in front of those of the application."""
    named = (
        ("max", "max_retries"), ("delay", "retry_delay"), ("backoff", "retry_backoff"),
        ("jitter", "retry_jitter"), ("max_time", "max_retry_time"), ("on", "retry_on_status"),
        ("on_exit_codes", "retry_on_exit_codes"),
    )
    return tuple(
        Field(f"retry.{inner.place}", (prefix + name,), inner.kind,
              f"`{setting}` of `retry`.", inner.example)
        for setting, name in named for inner in [RETRY.fields[setting]]
    )


LIMITS: Final = table((
    Field("memory_bytes", ("memory",), k.SIZE,
          "Memory of all its processes; a job that needs more is ended with the reason oom.",
          "512M"),
    Field("cpus", ("cpus",), k.NUMBER, "Processors' worth of time; it is slowed to that.", 1.5),
    Field("pids", ("pids",), k.WHOLE, "Processes and threads at a time; it cannot start more.",
          64),
    Field("open_files", ("open_files",), k.WHOLE, "Files that each process may hold open.", 256),
    Field("file_size_bytes", ("file_size",), k.SIZE, "The size of each file that it writes.",
          "1G"),
    Field("scratch_bytes", ("scratch",), k.SIZE,
          "What its own folder may hold; a job that writes more is ended with the reason disk.",
          "10G"),
    Field("nice", ("nice",), k.WHOLE,
          "0 to 19: the higher, the more it stands back behind others. Default: as the worker.",
          10),
))
LIMITS_BLOCK: Final = block("limits", LIMITS, "{memory: 512M, cpus: 1.5}")

ARTIFACTS: Final = table((
    Field("paths", ("paths",), k.TEXTS,
          "Files that are kept, as patterns relative to its folder; a folder means all in it.",
          ["dist/*", "report"]),
    Field("when", ("when",), k.WHEN,
          "After which ends of the job: on_success, on_failure or always. Default: always.",
          "on_failure"),
), required=("paths",))

CACHE: Final = table((
    Field("key", ("key",), k.TEXT, "Its name; another pipeline's of the same name is another's.",
          "pip"),
    Field("files", ("files",), k.TEXTS,
          "Files whose content is part of the key: when it changes, the cache is another.",
          ["requirements.txt"]),
    Field("paths", ("paths",), k.TEXTS, "What is kept, as patterns or folders.", [".venv"]),
    Field("restore_keys", ("restore_keys",), k.TEXTS,
          "Beginnings of keys that will do when there is none of its own; the newest is taken.",
          ["pip-"]),
), required=("key", "paths"))

CONTAINER: Final = table((
    Field("pull", ("pull",), k.PULL,
          "When its image is fetched: always, missing (when the engine does not have it) or never. "
          "Default: missing.", "always"),
    Field("network", ("network",), k.TEXT,
          "none, host, bridge or a network of the engine's. Default: as the engine has it.",
          "none"),
    Field("user", ("user",), k.TEXT,
          "Whom the command runs as: a name or number of the image's, or user:group. "
          "Default: the image's own; on a worker that is not root, the worker's number.",
          "1000:1000"),
    Field("workspace", ("workspace",), k.TEXT,
          "Where the job's folder is found in the container. Default: /workspace.", "/src"),
))
CONTAINER_BLOCK: Final = block("container", CONTAINER, "{pull: always, network: none}")

CHECK: Final = table((
    Field("name", ("name",), k.TEXT,
          "The name under which workers know the check.", "check_file_exists"),
    Field("params", ("params",), k.SETTINGS, "What the check wants to know.",
          {"path": "out/report.csv"}),
), required=("name",))
CHECKS: Final = k.checks(block("check", CHECK, "{name: check_file_exists, params: {path: out}}"))

SECURITY: Final = table((
    Field("allow_shell", ("allow_shell",), k.TRUTH,
          "false: no shell; plain commands are split into words, others may not run. "
          "Default: true.", False),
    Field("policy", ("policy",), k.POLICY,
          "What becomes of a command that looks unsafe: off, warn or block (also: strict). "
          "Default: off.", "block"),
    Field("level", ("level",), k.LEVEL,
          "How much looks unsafe: low, medium, high. Default: medium.", "high"),
    Field("allowed_commands", ("allowed_commands",), k.TEXTS,
          "The only programs that commands may begin with. Default: any.", ["make", "python3"]),
    Field("allowed_patterns", ("allowed_patterns",), k.PATTERNS,
          "Regular expressions, one of which a whole command must match. Default: any.",
          ["make [a-z]+"]),
    Field("exempt_commands", ("exempt_commands",), k.TEXTS,
          "Commands that begin with one of these look safe to this policy.", ["sqlplus"]),
    Field("exempt_patterns", ("exempt_patterns",), k.PATTERNS,
          "Likewise those in which one of these regular expressions is found.", ["^make "]),
    Field("workspaces", ("workspaces",), k.TEXTS,
          "Folders in which alone jobs may work. Default: any.", ["/srv/build"]),
))

MAIL_SERVER: Final = table((
    Field("host", ("host",), k.TEXT, "The server that takes mail.", "mail.example.org"),
    Field("port", ("port",), k.WHOLE, "Its port. Default: 25.", 587),
    Field("user", ("user",), k.TEXT, "Who logs in. Default: nobody.", "drawbar"),
    Field("password", ("password",), k.TEXT,
          "With which password; better kept in the job service's settings.", "…"),
), required=("host",))
MAIL_SERVER_BLOCK: Final = block("mail server", MAIL_SERVER, "{host: mail.example.org}")

NOTIFY: Final = table((
    Field("on", ("on",), k.NOTIFY_ON,
          "What of a run is told: success, failure, cancelled, question (a task asks something). "
          "Default: failure.", ["failure", "question"]),
    Field("email", ("email",), k.ADDRESSES, "Mail addresses, as a list or with commas.",
          ["ops@example.org"]),
    Field("mail_server", ("mail_server",), MAIL_SERVER_BLOCK,
          "Where mail is handed in. Default: where the job service does.",
          {"host": "mail.example.org", "port": 587}),
    Field("webhook", ("webhook",), k.URL, "A URL to which the end of the run is posted, signed.",
          "https://example.org/hooks/runs"),
    Field("slack", ("slack",), k.URL, "An incoming webhook of Slack.",
          "https://hooks.slack.com/services/T0/B0/x"),
    Field("teams", ("teams",), k.URL, "An incoming webhook of Teams.",
          "https://example.webhook.office.com/x"),
))

SCHEDULE: Final = table((
    Field("cron", ("cron",), k.CRON, "Five fields, or @hourly, @daily, @weekly, …", "0 3 * * *"),
    Field("timezone", ("timezone",), k.TIMEZONE, "In which time zone. Default: UTC.",
          "Europe/Berlin"),
    Field("catch_up", ("catch_up",), k.CATCH_UP,
          "What becomes of times that were missed: none, latest or all. Default: latest.", "none"),
    Field("overlap", ("overlap",), k.OVERLAP,
          "When the run before still goes on: skip, queue, or cancel it. Default: skip.", "queue"),
), required=("cron",))

PARAM: Final = table((
    Field("type", ("type",), k.words("type", {
        word: word for word in ("string", "int", "number", "bool", "choice")}),
        "string, int, number, bool or choice. Default: string, or choice with `choices`.", "int"),
    Field("default", ("default",), k.TEXT, "Its value unless one is given; without it, one must.",
          4),
    Field("choices", ("choices",), k.TEXTS, "The only values that it takes.", ["test", "live"]),
    Field("description", ("description",), k.TEXT, "What it is for.", "How many at a time"),
))

_NOT_IN_A_STAGE: Final = "is not supported by this version: stages run one after another"
STAGE: Final = table((
    Field("name", ("name",), k.TEXT, "The stage's name.", "build"),
    Field("jobs", ("jobs",), k.JOBS, "Its jobs.", [{"id": "compile", "command": "make"}]),
), required=("name",), later=dict.fromkeys(("when", "needs", "dependencies"), _NOT_IN_A_STAGE))

_JOB: Final = (
    Field("id", ("id", "name", "job_id"), k.TEXT, "Its name, one of a kind in the pipeline.",
          "compile"),
    Field("stage", ("stage",), k.TEXT,
          "The stage that it belongs to; needed when the pipeline has stages.", "build"),
    Field("description", ("description", "job_description"), k.TEXT, "For people.",
          "Builds the library"),
    Field("command", ("command",), k.TEXT, "What runs: a line for `sh -c`.", "make -j2"),
    Field("script", ("script",), k.TEXTS,
          "Or: lines for `sh -e`, which ends with the first that fails.",
          ["./configure", "make"]),
    Field("argv", ("argv",), k.TEXTS, "Or: a program and its exact words, without a shell.",
          ["python3", "tool.py", "--all"]),
    Field("python", ("python",), k.FUNCTION,
          "Or: a function. Its module lies beside this file, and travels with what it imports from "
          "there; or it is installed where the worker runs.", "etl.load:main"),
    Field("with", ("with",), k.SETTINGS, "The arguments of that function, by their names.",
          {"day": "monday", "limit": 10}),
    Field("needs", ("needs", "dependencies"), k.TEXTS,
          "Jobs that must have succeeded before; the id of a job with a matrix means all of it.",
          ["fetch"]),
    Field("when", ("when",), k.WHEN,
          "on_success, on_failure (only when one of them failed) or always (however they ended). "
          "Default: on_success.", "always"),
    Field("env", ("env", "env_variables"), k.VARIABLES, "Variables, above the pipeline's.",
          {"LEVEL": "3"}),
    Field("working_dir", ("working_dir", "workingDir"), k.TEXT,
          "Where it works. Default: the pipeline's, else a folder of its own.", "src"),
    Field("image", ("image", "dockerImage"), k.TEXT,
          "The image of the container in which its command runs. Default: the pipeline's, else "
          "none.", "debian:12"),
    Field("container", ("container",), CONTAINER_BLOCK,
          "How that is run; what it does not name is the pipeline's.",
          {"pull": "always", "network": "none"}),
    Field("limits", ("limits",), LIMITS_BLOCK,
          "What it may take of its worker's machine; what it does not name is the pipeline's.",
          {"memory": "512M", "cpus": 1.5}),
    Field("timeout_s", ("timeout",), k.LIMIT,
          "It is stopped when it takes longer. Default: the pipeline's.", "10m"),
    Field("queue_timeout_s", ("queue_timeout",), k.LIMIT,
          "It fails when no worker takes it for so long. Default: never.", "1h"),
    Field("retry", ("retry",), RETRY_BLOCK, "When it is tried again; the rest as the pipeline's.",
          {"max": 2, "delay": "30s"}),
    *_flat_retry(""),
    Field("pre_checks", ("pre_checks",), CHECKS, "What must be true before it starts.",
          [{"name": "check_file_exists", "params": {"path": "in.csv"}}]),
    Field("post_checks", ("post_checks",), CHECKS, "What must be true before it has succeeded.",
          [{"name": "check_no_ora_errors", "params": {"log_file": "logs/*.log"}}]),
    Field("artifacts", ("artifacts",),
          k.artifacts(block("artifacts", ARTIFACTS, "{paths: [dist/*], when: always}")),
          "Files that are kept, as patterns relative to its folder, or a mapping with `paths` "
          "and `when`.", ["dist/*"]),
    Field("cache", ("cache",), k.cache(block("cache", CACHE, "{key: pip, paths: [.venv]}")),
          "Files that it finds again in a later run, if its worker still has them.",
          {"key": "pip", "files": ["requirements.txt"], "paths": [".venv"]}),
    Field("inputs", ("inputs",), k.TEXTS,
          "Those of its needs whose artifacts are put into its folder first.", ["fetch"]),
    Field("requires", ("requires",), k.VARIABLES, "Labels that a worker must have.",
          {"os": "linux"}),
    Field("slots", ("slots",), k.WHOLE,
          "How many of its worker's slots it takes. Default: 1.", 2),
    Field("priority", ("priority",), k.WHOLE, "Higher ones are taken first. Default: 0.", 10),
    Field("allow_failure", ("allow_failure", "allowFailure"), k.TRUTH,
          "true: its failure is shown, but does not count. Default: false.", True),
    Field("on_lost", ("on_lost",), k.ON_LOST,
          "When its worker went silent or crashed: requeue or fail. Default: requeue.", "fail"),
    Field("lock", ("lock",), k.TEXT,
          "Jobs with the same lock run one at a time, across all runs.", "database"),
    Field("approve", ("approve",), k.TRUTH,
          "true: it waits until somebody approves of it. Default: false.", True),
    Field("matrix", ("matrix",), k.MATRIX,
          "It becomes one job for each combination of these values.",
          {"py": ["3.11", "3.12"], "os": ["linux"]}),
)

_PIPELINE: Final = (
    Field("name", ("name", "application_name"), k.TEXT,
          "Its name. Default: the file's. `application_name` marks the Executioner's dialect.",
          "nightly"),
    Field("description", ("description",), k.TEXT, "For people.", "What runs each night"),
    Field("extends", ("extends",), k.FILES,
          "Files on which this one builds; what this one says wins.", "base.yaml"),
    Field("include", ("include",), k.FILES,
          "Files whose jobs, stages, env and params are added.", ["jobs/checks.yaml"]),
    Field("params", ("params",), k.PARAMS, "Values that `--param` gives, for `${{ params.NAME }}`.",
          {"workers": {"type": "int", "default": 4}, "target": "test"}),
    Field("env", ("env", "env_variables"), k.VARIABLES, "Variables of every job.",
          {"APP_ENV": "test"}),
    Field("inherit_env", ("inherit_env", "inherit_shell_env"), k.INHERIT,
          "What jobs have of the environment in which their worker was started: all (true), "
          "nothing (false), \"default\" (PATH, HOME, locale and the like) or the variables "
          "listed. Default: as the worker is set up.", ["PATH", "LANG"]),
    Field("parallel", ("parallel",), k.TRUTH,
          "false: one job at a time. Default: true; the Executioner's: false.", False),
    Field("max_workers", ("max_workers",), k.WHOLE,
          "At most this many jobs at a time. Default: no limit.", 4),
    Field("on_error", ("on_error",), k.ON_ERROR,
          "What a failure that counts means for the rest: continue, stop (nothing new starts) or "
          "cancel (what runs is cancelled, too). Default: continue; the Executioner's: stop.",
          "stop"),
    Field("continue_on_error", ("continue_on_error",), k.TRUTH,
          "true: `on_error: continue`; false: `on_error: stop`.", True),
    Field("fail_fast", ("fail_fast",), k.TRUTH, "true: `on_error: cancel`.", True),
    Field("timeout_s", ("timeout", "default_timeout"), k.LIMIT,
          "For jobs that name none. Default: 3h.", "30m"),
    Field("retry", ("retry",), RETRY_BLOCK, "For jobs that do not say otherwise.",
          {"max": 2, "delay": "30s"}),
    *_flat_retry("default_"),
    Field("working_dir", ("working_dir", "workingDir"), k.TEXT, "For jobs that name none.",
          "/srv/nightly"),
    Field("image", ("image", "dockerImage"), k.TEXT, "For jobs that name none.", "debian:12"),
    Field("container", ("container",), CONTAINER_BLOCK,
          "Of each job in a container, where that names no other.", {"network": "none"}),
    Field("limits", ("limits",), LIMITS_BLOCK, "Of each job, where that names no other.",
          {"memory": "2G", "pids": 500}),
    Field("stages", ("stages",), k.STAGES,
          "Groups of jobs, one after another: names, or mappings of name and jobs.",
          ["build", "test"]),
    Field("jobs", ("jobs",), k.JOBS, "The jobs.", [{"id": "compile", "command": "make"}]),
    Field("plugins", ("plugins", "dependency_plugins"), k.TEXTS,
          "Python files with checks of its own; only on workers that allow their folder.",
          ["/srv/checks/ledger.py"]),
    Field("security", ("security",), block("security", SECURITY, "{policy: block}"),
          "How it narrows what its commands may be; a worker's own policy binds in any case.",
          {"policy": "block", "allowed_commands": ["make"]}),
    *(Field(f"security.{inner.place}", (name,), inner.kind, f"`{inner.place}` of `security`.",
            inner.example)
      for name, inner in (
          ("allow_shell", SECURITY.fields["allow_shell"]),
          ("security_policy", SECURITY.fields["policy"]),
          ("security_level", SECURITY.fields["level"]),
          ("command_whitelist", SECURITY.fields["exempt_commands"]),
          ("command_allowlist_patterns", SECURITY.fields["exempt_patterns"]),
          ("workspace_paths", SECURITY.fields["workspaces"]))),
    Field("notify", ("notify",), block("notify", NOTIFY, "{email: ops@example.org}"),
          "Who hears of its end.", {"email": "ops@example.org", "on": ["failure"]}),
    Field("notify.email", ("email_address",), k.ADDRESSES, "`email` of `notify`.",
          "ops@example.org, dev@example.org"),
    Field("email_on_success", ("email_on_success",), k.TRUTH,
          "true: `on` of `notify` has success. Default: false.", True),
    Field("email_on_failure", ("email_on_failure",), k.TRUTH,
          "false: `on` of `notify` has no failure. Default: true.", True),
    *(Field(f"mail_server.{inner.place}", (f"smtp_{name}",), inner.kind,
            f"`{inner.place}` of `mail_server` of `notify`.", inner.example)
      for name, inner in (
          ("server", MAIL_SERVER.fields["host"]), ("port", MAIL_SERVER.fields["port"]),
          ("user", MAIL_SERVER.fields["user"]), ("password", MAIL_SERVER.fields["password"]))),
    Field("schedule", ("schedule",), k.schedule(block("schedule", SCHEDULE, "{cron: 0 3 * * *}")),
          "When it starts by itself: cron, or a mapping.", "0 3 * * *"),
    Field("log_dir", ("log_dir",), k.TEXT,
          "No effect: the job service keeps the logs (`drawbar logs RUN JOB`).", "/var/log/app"),
    Field("repository", ("repository",), k.TEXT,
          "Nothing is checked out; jobs find it in `$DRAWBAR_REPOSITORY`.",
          "https://example.org/app.git"),
    Field("branch", ("branch",), k.TEXT,
          "Nothing is checked out; jobs find it in `$DRAWBAR_BRANCH`.", "main"),
)


def _elsewhere(fields: tuple[Field, ...], here: tuple[Field, ...], where: str) -> dict[str, str]:
    known = {name for field in here for name in field.names}
    return {name: where for field in fields for name in field.names if name not in known}


JOB: Final = table(
    _JOB,
    alternatives=frozenset({"command", "script", "argv", "python"}),
    required=("id",),
    later={
        **_elsewhere(_PIPELINE, _JOB, "belongs to the pipeline, not to a job"),
        "trigger_rule": "is not supported by this version; when: always and on_failure are",
        "secrets": "is not supported by this version",
    },
)
PIPELINE: Final = table(
    _PIPELINE,
    alternatives=frozenset({"on_error", "continue_on_error", "fail_fast"}),
    later=_elsewhere(_JOB, _PIPELINE, "belongs to a job, not to the pipeline"),
)
# fmt: on

# What an included file may say; the rest of its own settings would have no place to go.
INCLUDABLE: Final = frozenset({"name", "description", "include", "params", "env", "stages", "jobs"})


def tables() -> dict[str, Table]:
    """Each kind of mapping by the name that people know it under."""
    return {
        "pipeline": PIPELINE,
        "stage": STAGE,
        "job": JOB,
        "retry": RETRY,
        "limits": LIMITS,
        "container": CONTAINER,
        "artifacts": ARTIFACTS,
        "cache": CACHE,
        "check": CHECK,
        "param": PARAM,
        "notify": NOTIFY,
        "mail_server": MAIL_SERVER,
        "schedule": SCHEDULE,
        "security": SECURITY,
    }
