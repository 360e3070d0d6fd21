"""What came of the cases, as lines for people and as JUnit XML for CI systems."""

from collections import Counter
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from drawbar.conformance.case import Outcome, Verdict


def line_of(outcome: Outcome) -> str:
    """One case; where it is broken, also the sentence and what happened instead."""
    line = f"{outcome.verdict.value:7}  {outcome.name}"
    if outcome.verdict is Verdict.SKIPPED:
        return f"{line}  ({outcome.says})"
    if outcome.verdict is Verdict.BROKEN:
        return f"{line}\n         protocol: {outcome.sentence}\n         found:    {outcome.says}"
    return line


def summary_of(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.verdict for outcome in outcomes)
    said = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    return f"{len(outcomes)} cases: {', '.join(said)}"


def junit_of(name: str, outcomes: Sequence[Outcome]) -> bytes:
    """A suite with a case for each."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(outcomes)),
        failures=str(counts[Verdict.BROKEN]),
        errors="0",
        skipped=str(counts[Verdict.SKIPPED]),
        time=f"{sum(outcome.took_s for outcome in outcomes):.3f}",
    )
    suite.extend(_cases(name, outcomes))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _cases(name: str, outcomes: Sequence[Outcome]) -> Iterator[ElementTree.Element]:
    for outcome in outcomes:
        area = outcome.name.partition(".")[0]
        case = ElementTree.Element(
            "testcase",
            classname=f"{name}.{area}",
            name=outcome.name,
            time=f"{outcome.took_s:.3f}",
        )
        properties = ElementTree.SubElement(case, "properties")
        ElementTree.SubElement(
            properties, "property", name="protocol", value=_clean(outcome.sentence)
        )
        if outcome.verdict is Verdict.BROKEN:
            failure = ElementTree.SubElement(case, "failure", message=_clean(outcome.says))
            failure.text = _clean(f"protocol: {outcome.sentence}\nfound: {outcome.says}")
        elif outcome.verdict is Verdict.SKIPPED:
            ElementTree.SubElement(case, "skipped", message=_clean(outcome.says))
        yield case


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold: another implementation may say anything."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
