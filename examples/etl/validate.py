"""Split raw orders into clean ones and rejected ones, each of those with its reason.

validate.py RAW CLEAN REJECTED; exit 1 when more than five in a hundred are rejected.
"""

import csv
import sys
from collections import Counter
from datetime import date

REGIONS = ("north", "south", "east", "west")
MOST_REJECTED = 0.05


def why_bad(row: dict[str, str], seen: set[str]) -> str | None:
    """The first thing wrong with `row`; None when it is good."""
    try:
        date.fromisoformat(row["day"])
    except ValueError:
        return "no such day"
    if row["order_id"] in seen:
        return "order occurs twice"
    if row["region"] not in REGIONS:
        return "unknown region"
    if not row["quantity"].isdigit() or int(row["quantity"]) == 0:
        return "quantity is no positive number"
    if not row["unit_price"].replace(".", "", 1).isdigit():
        return "price is no number"
    return None


def main(raw: str, clean: str, rejected: str) -> int:
    reasons: Counter[str] = Counter()
    seen: set[str] = set()
    with (
        open(raw, newline="") as source,
        open(clean, "w", newline="") as good,
        open(rejected, "w", newline="") as bad,
    ):
        reader = csv.DictReader(source)
        fields = list(reader.fieldnames or ())
        accept = csv.DictWriter(good, fields)
        refuse = csv.DictWriter(bad, [*fields, "reason"])
        accept.writeheader()
        refuse.writeheader()
        for row in reader:
            reason = why_bad(row, seen)
            if reason is None:
                accept.writerow(row)
                seen.add(row["order_id"])
            else:
                refuse.writerow({**row, "reason": reason})
                reasons[reason] += 1
    total = len(seen) + reasons.total()
    print(f"{len(seen)} of {total} orders are good")
    for reason, count in reasons.most_common():
        print(f"  {count:3}  {reason}")
    return 1 if reasons.total() > MOST_REJECTED * total else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
