"""No secret passes, however the stream is cut."""

import json
import time
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.secret_names import is_secret_name
from worker.tasks.masking import LONGEST, MOST, Masker, TooManySecrets

SECRETS = ["hunter22", "hunter", "ter2", "abab", "p/w ö\n", "-----KEY\nline one\nline two"]


def stream(masker: Masker, text: bytes, cuts: list[int]) -> bytes:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    return b"".join(masker.feed(piece) for piece in pieces) + masker.flush()


@given(
    st.lists(st.sampled_from([*SECRETS, "hunt", "er", "ab", "2", " ", "xyz", "\n"]), max_size=12),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_no_secret_passes_wherever_the_stream_is_cut(words: list[str], cuts: list[int]) -> None:
    masker = Masker()
    masker.add(SECRETS)

    shown = stream(masker, "".join(words).encode(), cuts)

    assert [s for s in SECRETS if s.encode() in shown] == []
    assert shown == masker.mask_text("".join(words)).encode()


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_everything_else_passes_as_it_is(text: bytes, cuts: list[int]) -> None:
    masker = Masker()
    masker.add(["not-in-any-of-them"])

    assert stream(masker, text, cuts) == text


def test_secrets_that_overlap_are_hidden_as_one() -> None:
    masker = Masker()
    masker.add(["zabab", "babc", "cdcd"])

    assert masker.mask_text("<zababcdcdcd>") == "<***>"


@pytest.mark.parametrize("cut", range(1, 10))
def test_secrets_that_overlap_are_hidden_as_one_wherever_the_stream_is_cut(cut: int) -> None:
    masker = Masker()
    masker.add(["abcdXY", "XYzwv"])

    shown = masker.feed(b"<abcdXYzwv>"[:cut]) + masker.feed(b"<abcdXYzwv>"[cut:]) + masker.flush()

    assert shown == b"<***>"


def test_a_secret_that_goes_on_for_ever_holds_back_no_more_than_is_bounded() -> None:
    masker = Masker()
    masker.add(["aaaa"])

    shown = masker.feed(b"a" * 10 * LONGEST)

    assert shown == b"***"


def test_secrets_side_by_side_stay_two() -> None:
    masker = Masker()
    masker.add(["hunter22", "swordfish"])

    assert masker.mask_text("hunter22swordfish") == "******"


def test_many_long_secrets_hold_nobody_up() -> None:
    masker = Masker()
    secrets = [f"{n:05}" + chr(97 + n % 26) * 8_000 for n in range(MOST)]
    text = b"an ordinary line of a log\n" * 2_500

    began = time.process_time()
    masker.add(secrets)
    assert masker.feed(text) == text
    took_s = time.process_time() - began

    assert took_s < 2  # a pattern of them all takes 8 s to be made


ODD = 'p/w "ö"'


@pytest.mark.parametrize("written", [ODD, json.dumps(ODD), repr(ODD + "'"), quote(ODD, safe="")])
def test_a_secret_is_known_as_others_write_it(written: str) -> None:
    masker = Masker()
    masker.add([ODD])

    assert masker.mask_text(f"<{written}>").strip("<>\"'\\") == "***"


def test_each_line_of_a_secret_is_one() -> None:
    masker = Masker()
    masker.add(["-----KEY\nline one\nline two"])

    assert masker.feed(b"it says line two.\n") == b"it says ***.\n"


def test_a_line_that_begins_no_secret_is_not_held_back() -> None:
    masker = Masker()
    masker.add(["hunter22"])

    assert masker.feed(b"progress: 50 %\r") == b"progress: 50 %\r"
    assert masker.feed(b"hunt") == b""
    assert masker.feed(b"ing\n") == b"hunting\n"


def test_what_is_too_short_to_hide_is_let_through() -> None:
    masker = Masker()
    masker.add(["abc", ""])

    assert masker.feed(b"abc") == b"abc"


def test_more_secrets_than_can_be_masked_are_refused() -> None:
    masker = Masker()

    with pytest.raises(TooManySecrets):
        masker.add([f"secret-{n}" for n in range(MOST + 1)])


def test_secrets_that_are_read_again_count_once() -> None:
    masker = Masker()
    secrets = [f"secret-{n}" for n in range(MOST)]

    masker.add(secrets)
    masker.add(secrets)

    assert masker.mask_text(secrets[-1]) == "***"


@pytest.mark.parametrize("name", ["DB_PASSWORD", "apikey", "api_key", "token", "client_secret"])
def test_names_can_tell_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["region", "keyboard", "passenger_count", "host"])
def test_other_names_tell_none(name: str) -> None:
    assert not is_secret_name(name)
