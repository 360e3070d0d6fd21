"""The summary as a page of Markdown, with bars. report.py SUMMARY OUT"""

import json
import sys
from pathlib import Path


def main(summary: str, out: str) -> None:
    facts = json.loads(Path(summary).read_text())
    regions = facts["months"]
    months = sorted({month for by_month in regions.values() for month in by_month})
    lines = [f"# Orders of {months[0]} to {months[-1]}", "", f"{facts['orders']} orders.", ""]
    lines += [f"| revenue in € | {' | '.join(months)} | sum |", "|---" * (len(months) + 2) + "|"]
    for region, by_month in sorted(regions.items()):
        cells = [f"{by_month.get(month, 0):,.0f}" for month in months]
        lines.append(f"| {region} | {' | '.join(cells)} | {sum(by_month.values()):,.0f} |")
    best = sorted(facts["products"].items(), key=lambda item: -item[1])
    lines += ["", "```"]
    for product, revenue in best:
        lines.append(f"{product:13} {'█' * round(40 * revenue / best[0][1]):40} {revenue:>10,.0f}")
    lines.append("```")
    text = "\n".join(lines) + "\n"
    Path(out).write_text(text, encoding="utf-8")
    sys.stdout.buffer.write(text.encode())  # also where the terminal's encoding is ASCII


if __name__ == "__main__":
    main(*sys.argv[1:3])
