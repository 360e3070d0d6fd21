"""Revenue by region and month, and by product. aggregate.py OUT REGION_FILE…"""

import csv
import json
import sys
from collections import defaultdict


def main(out: str, *files: str) -> None:
    months: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    products: dict[str, float] = defaultdict(float)
    orders = 0
    for path in sorted(files):
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                revenue = float(row["revenue_eur"])
                months[row["region"]][row["day"][:7]] += revenue
                products[row["product"]] += revenue
                orders += 1
    summary = {"orders": orders, "months": months, "products": products}
    with open(out, "w") as file:
        json.dump(summary, file, indent=1, sort_keys=True)
    print(f"{orders} orders of {len(files)} regions")


if __name__ == "__main__":
    main(*sys.argv[1:])
