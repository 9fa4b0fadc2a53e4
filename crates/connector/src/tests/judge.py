"""Says what must come out of a series of files, without the connector's code.

judge.py KIND FILE.. prints [[[inserted, deleted, updated], ..], {key: [item, ..]}] as JSON.
"""

import csv
import datetime
import json
import re
import sys
import unicodedata

ERAS = {"令和": 2018, "R": 2018, "平成": 1988, "H": 1988}


def era(text):
    text = unicodedata.normalize("NFKC", text).strip()
    found = re.fullmatch(r"(令和|平成|R|H)(元|\d+)[年.](\d+)[月.](\d+)日?", text)
    name, year, month, day = found.groups()
    year = ERAS[name] + (1 if year == "元" else int(year))
    return datetime.date(year, int(month), int(day)).isoformat()


def labour_penalty(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    table = {}
    for row in rows[1:]:
        row = row + [""] * (8 - len(row))
        authority, _, name, address, day, law, summary, remarks = row[:8]
        day = era(day)
        key = "|".join((name, address, day))
        table[key] = [key, name, address, authority, day, law, summary, remarks]
    return table


def dotgov_folded(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = {}
    for row in rows:
        row = {name.lower().removesuffix(" name").strip(): value for name, value in row.items()}
        key = row["domain"].strip().lower()
        table[key] = [key, row["organization"].strip(), row["city"].strip().upper(), row["state"]]
    return table


def main():
    read = {"labour-penalty": labour_penalty, "dotgov-folded": dotgov_folded}[sys.argv[1]]
    steps, held = [], {}
    for path in sys.argv[2:]:
        table = read(path)
        inserted = len(table.keys() - held.keys())
        deleted = len(held.keys() - table.keys())
        updated = sum(held[key] != table[key] for key in table.keys() & held.keys())
        steps.append([inserted, deleted, updated])
        held = table
    json.dump([steps, held], sys.stdout)


main()
