"""One region's orders with their revenue in euro, by day. transform.py REGION CLEAN OUT"""

import csv
import sys

PER_EURO = {"EUR": 1.0, "SEK": 11.2, "PLN": 4.35, "GBP": 0.86}


def main(region: str, clean: str, out: str) -> None:
    with open(clean, newline="") as source:
        rows = [row for row in csv.DictReader(source) if row["region"] == region]
    rows.sort(key=lambda row: (row["day"], row["order_id"]))
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "region", "product", "quantity", "revenue_eur"])
        for row in rows:
            quantity = int(row["quantity"])
            revenue = quantity * float(row["unit_price"]) / PER_EURO[row["currency"]]
            writer.writerow([row["day"], region, row["product"], quantity, f"{revenue:.2f}"])
    print(f"{region}: {len(rows)} orders")


if __name__ == "__main__":
    main(*sys.argv[1:4])
