"""A shell's text taken apart, as far as a look at it needs: commands, words, redirections.

No expansion is made and nothing is run. It reads each character once or twice, so that a script
of megabytes costs a second and not an hour.
"""

import re
from dataclasses import dataclass, field
from typing import Final

BLANKS: Final = " \t\r"
ORDINARY: Final = re.compile(r"[^\s\\'\"#$`;&|()<>*?\[~]+")
LONGEST_ARITHMETIC: Final = 100  # characters
OPERATORS: Final = ("&&", "||", ";;", "|&", ";", "&", "|", "\n", "(", ")")
REDIRECTIONS: Final = ("&>>", "&>", "<<<", "<<-", "<<", ">>", "<>", ">|", ">&", "<&", ">", "<")


@dataclass(slots=True)
class Command:
    """One simple command, with quotes taken off."""

    words: list[str] = field(default_factory=list)
    redirections: list[tuple[str, str]] = field(default_factory=list)  # operator, target
    piped_from: "Command | None" = None


@dataclass(slots=True)
class Script:
    """All commands of a text, also those within substitutions."""

    commands: list[Command] = field(default_factory=list)
    operators: set[str] = field(default_factory=set)
    substitutes: bool = False  # $(…), `…`, <(…)
    expands: bool = False  # $NAME, *, ?, [, ~ outside of quotes that prevent it
    is_whole: bool = True  # every quote and parenthesis is closed


def parse(text: str) -> Script:
    """The script. A text that is cut short gives what there is."""
    return _Reader(text).read()


@dataclass(slots=True)
class _Outer:
    """What goes on when a substitution has ended."""

    closes: str
    is_substitution: bool
    is_quoted: bool
    command: Command
    word: list[str] | None
    is_target: str | None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._script = Script()
        self._command = Command()
        self._word: list[str] | None = None  # None: between words
        self._target_of: str | None = None  # the redirection whose target comes next
        self._is_quoted = False  # within "…"
        self._outer: list[_Outer] = []
        self._here: list[str] = []  # ends of documents that begin on the next line

    def read(self) -> Script:
        while self._at < len(self._text):
            if self._is_quoted:
                self._read_quoted()
            else:
                self._read_plain()
        self._end_command()
        while self._outer:
            self._script.is_whole = False
            self._return()
            self._end_command()
        self._script.is_whole &= not self._is_quoted
        return self._script

    # -- within and without double quotes ------------------------------------------------------

    def _read_quoted(self) -> None:
        char = self._text[self._at]
        if char == '"':
            self._is_quoted = False
            self._at += 1
        elif char == "\\" and self._at + 1 < len(self._text):
            after = self._text[self._at + 1]
            if after != "\n":
                self._add(after if after in '$`"\\' else char + after)
            self._at += 2
        elif not self._read_dollar(char):
            end = self._at + 1
            while end < len(self._text) and self._text[end] not in '"\\$`':
                end += 1
            self._add(self._text[self._at : end])
            self._at = end

    def _read_plain(self) -> None:
        text, at = self._text, self._at
        char = text[at]
        if ordinary := ORDINARY.match(text, at):
            self._add(ordinary[0])
            self._at = ordinary.end()
        elif char in BLANKS:
            self._end_word()
            self._at += 1
        elif char == "\\":
            if text[at + 1 : at + 2] != "\n":
                self._add(text[at + 1 : at + 2])
            self._at += 2
        elif char == "'":
            end = text.find("'", at + 1)
            self._script.is_whole &= end >= 0
            end = len(text) if end < 0 else end
            self._add(text[at + 1 : end])
            self._at = end + 1
        elif char == '"':
            self._add("")
            self._is_quoted = True
            self._at += 1
        elif char == "#" and self._word is None:
            end = text.find("\n", at)
            self._at = len(text) if end < 0 else end
        elif not (self._read_dollar(char) or self._read_redirection() or self._read_operator()):
            self._script.expands |= char in "*?[" or (char == "~" and self._word is None)
            self._add(char)
            self._at += 1

    def _read_dollar(self, char: str) -> bool:
        """Whether a substitution or expansion began or ended here."""
        text, at = self._text, self._at
        if char == "`":
            self._at += 1
            if self._outer and self._outer[-1].closes == "`":
                self._end_command()
                self._return()
            else:
                self._enter("`")
        elif (text.startswith("$(", at) and not text.startswith("$((", at)) or (
            not self._is_quoted and text.startswith(("<(", ">("), at)
        ):
            self._at += 2
            self._enter(")")
        elif char == "$":
            self._script.expands = True
            end = at + 1
            if text.startswith("$((", at):
                end = self._end_of_arithmetic(at)
            elif text.startswith("${", at):
                end = at + 2
            self._add(text[at:end])
            self._at = end
        else:
            return False
        return True

    def _end_of_arithmetic(self, at: int) -> int:
        """Behind `$((…))`, whose parentheses are no operators. A very long one is cut short."""
        depth, end = 0, at + 1
        last = min(len(self._text), at + LONGEST_ARITHMETIC)
        while end < last:
            depth += (self._text[end] == "(") - (self._text[end] == ")")
            end += 1
            if depth == 0:
                return end
        return at + 3

    # -- operators -----------------------------------------------------------------------------

    def _read_redirection(self) -> bool:
        found = next((r for r in REDIRECTIONS if self._text.startswith(r, self._at)), None)
        if found is None:
            return False
        if self._word is not None and "".join(self._word).isdigit():
            self._word = None  # the descriptor that is redirected
        self._end_word()
        self._target_of = found
        self._at += len(found)
        return True

    def _read_operator(self) -> bool:
        found = next((o for o in OPERATORS if self._text.startswith(o, self._at)), None)
        if found is None:
            return False
        self._at += len(found)
        if found == ")" and self._outer and self._outer[-1].closes == ")":
            self._end_command()
            self._return()
            return True
        if found == "(" and self._word is None and not self._command.words:
            self._enter(")", is_substitution=False)
            return True
        before = self._end_command()
        self._script.operators.add(found)
        if found in ("|", "|&"):
            is_group = not before.words and self._script.commands
            self._command.piped_from = self._script.commands[-1] if is_group else before
        if found == "\n":
            self._skip_documents()
        return True

    def _skip_documents(self) -> None:
        """What stands in here-documents is data."""
        for end in self._here:
            while self._at < len(self._text):
                stop = self._text.find("\n", self._at)
                stop = len(self._text) if stop < 0 else stop
                line = self._text[self._at : stop].strip("\t\r")
                self._at = stop + 1
                if line == end:
                    break
        self._here = []

    # -- words and commands --------------------------------------------------------------------

    def _add(self, piece: str) -> None:
        if self._word is None:
            self._word = []
        self._word.append(piece)

    def _end_word(self) -> None:
        if self._word is None:
            return
        word, self._word = "".join(self._word), None
        if self._target_of is None:
            self._command.words.append(word)
            return
        self._command.redirections.append((self._target_of, word))
        if self._target_of in ("<<", "<<-"):
            self._here.append(word)
        self._target_of = None

    def _end_command(self) -> Command:
        self._end_word()
        self._target_of = None
        ended, self._command = self._command, Command()
        if ended.words or ended.redirections:
            self._script.commands.append(ended)
        return ended

    def _enter(self, closes: str, *, is_substitution: bool = True) -> None:
        self._script.substitutes |= is_substitution
        self._outer.append(
            _Outer(
                closes,
                is_substitution,
                self._is_quoted,
                self._command,
                self._word,
                self._target_of,
            )
        )
        self._command, self._word, self._target_of = Command(), None, None
        self._is_quoted = False

    def _return(self) -> None:
        outer = self._outer.pop()
        self._is_quoted = outer.is_quoted
        self._command, self._target_of = outer.command, outer.is_target
        self._word = outer.word
        if outer.is_substitution:
            self._add("$(…)")  # the word goes on with a result that nobody knows
