"""The Markdown and the HTML page about a run: true, complete or capped aloud, and safe to open."""

import re
from html.parser import HTMLParser

import pytest

from shared.ids import JobId
from shared.reports import html, markdown
from shared.reports.timeline import ticks, timeline
from tests.support.golden import assert_golden
from tests.support.views import (
    a_big_run,
    a_job_view,
    a_reason,
    a_release,
    a_run_view,
    an_attempt,
)

NASTY = "<script>alert('x')</script> & \"q\" \x1b[31m \ud800 | `code` *b* ]( \r\n# head"
VOID = {"meta", "rect", "line"}


class Page(HTMLParser):
    """Every element of a page, and whether all of them were closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_in_markdown_is_as_its_golden_file() -> None:
    assert_golden("report.md", markdown(*a_release()))


def test_a_report_in_html_is_as_its_golden_file() -> None:
    assert_golden("report.html", html(*a_release()))


def test_a_page_is_well_formed_and_draws_a_bar_for_each_try() -> None:
    page = Page(html(*a_release()))

    assert sum(name == "class" and str(v).startswith("bar ") for name, v in page.attributes) == 9
    assert page.tags.count("tr") == 1 + 8


def test_a_page_fetches_nothing_and_runs_nothing() -> None:
    page = Page(html(*a_release()))

    assert not {"script", "link", "img", "iframe", "object", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "href") or name[:2] == "on"]
    assert "default-src 'none'" in str(page.attributes)


def test_what_a_job_says_stays_text() -> None:
    job = a_job_view(NASTY.strip()[:20], "failed", reason=a_reason(NASTY, NASTY), stage=NASTY)
    run = a_run_view(job, status="failed", name=NASTY, schedule=NASTY)

    page, text = html(run, {}), markdown(run, {})

    parsed = Page(page)
    assert "script" not in parsed.tags
    assert "<script>alert('x')</script>" in parsed.text
    assert "\x1b" not in page + text
    assert page.encode()
    assert text.encode()
    assert all(row.count("|") == len(re.findall(r"\\\|", row)) + 7 for row in _rows(text))


def _rows(text: str) -> list[str]:
    table = text.partition("## Jobs\n")[2]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def test_names_with_underlines_and_brackets_stay_readable_in_markdown() -> None:
    text = markdown(a_run_view(a_job_view("load_data[py=3.11]")), {})

    assert "| load_data[py=3.11] |" in text


def test_a_big_run_is_capped_and_the_report_says_so() -> None:
    run = a_big_run(10_000)

    page, text = html(run, {}), markdown(run, {})

    assert len(page) < 400_000
    assert "1,000 of 10,000 jobs are listed" in page
    assert "200 of the 10,000 jobs that ran" in page
    assert "9,900 jobs of 10,000 not listed" in text
    for place in range(7, 10_000, 1_000):  # every failure is there
        assert f"<td>part-{place}</td>" in page
        assert f"| part-{place} |" in text


def test_a_run_of_which_nothing_started_has_no_chart() -> None:
    job = a_job_view("a", "cancelled", None, 3)
    run = a_run_view(job, status="cancelled", started_at=None)

    assert "svg" not in Page(html(run, {})).tags
    assert "## When" not in markdown(run, {})


def test_a_run_that_has_not_ended_is_drawn_up_to_what_is_known() -> None:
    jobs = a_job_view("a", end_s=4), a_job_view("b", "running", 1, None)
    run = a_run_view(*jobs, status="running", ended_at=None, exit_code=None)

    drawn = timeline(run, run.jobs, {JobId("b"): [an_attempt(1, 1, None)]})

    assert [bar.end_s for row in drawn.rows for bar in row.bars] == [4, 4]
    assert "run 7 running" in markdown(run, {})


def test_a_clock_that_went_back_draws_no_negative_bar() -> None:
    run = a_run_view(a_job_view("a", begin_s=9, end_s=3))

    (row,) = timeline(run, run.jobs, {}).rows

    assert row.bars[0].end_s >= row.bars[0].begin_s


@pytest.mark.parametrize("length_s", [0.001, 0.7, 9, 61, 3_599, 86_399, 9e6, 3e8])
def test_an_axis_has_few_round_ticks_within_its_length(length_s: float) -> None:
    marks = ticks(length_s, about=8)

    assert 2 <= len(marks) <= 10
    assert marks[-1][0] <= length_s * 1.000001
    assert len({words for _, words in marks}) == len(marks)


def test_a_job_that_did_not_run_here_has_no_bar_and_took_no_time() -> None:
    marked = a_job_view("marked", attempts=0, tries=0, begin_s=1, end_s=1, marked_by="ann")
    carried = a_job_view("carried", attempts=0, tries=0, begin_s=1, end_s=1)
    run = a_run_view(a_job_view("a"), marked, carried)

    text, page = markdown(run, {}), html(run, {})

    assert "| marked | ✔ success (marked by ann) | 0 |  |  |  |" in text
    assert "| carried | ✔ success (carried over) | 0 |  |  |  |" in text
    assert page.count('class="bar ') == 1
