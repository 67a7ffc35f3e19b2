"""The golden table: every classic network, what it costs as we count it and as published, and the difference.

    python benchmarks/classics.py [--published FILE.csv] [--only TEXT] [--markdown]

Published are the rows of tests/golden/*.csv and, where it is there, of a table of exact counts of reference
implementations (columns model, img_size, params, macs_conv_linear, conv_acts; timm's `tf_` networks under the names
without it). Where only rounded numbers are published, ours must agree to the printed digits: `M1` are millions with one
decimal. `differs` marks what is known not to match, and its source says why. A source says where the figure was read;
`not confirmed` are those that were found in no text. Exits with 1 if anything differs that is not marked.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from searchspaces import CLASSICS, Cost, Task, classic

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
PUBLISHED = Path(__file__).parent.parent.parent / "shared" / "reference" / "published-networks.csv"
COUNTED = ("params", "macs", "activations")
UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Row:
    """What is published about one network on one task.

    Attributes:
        numbers: `params`, `macs` and `activations`, where they are published.
        digits: `exact`, a unit and decimals such as `M1`, or `differs`.
        source: where from, and why it differs if it does.
    """

    name: str
    task: Task
    numbers: tuple[tuple[str, int], ...]
    digits: str
    source: str

    def text(self, number: int) -> str:
        """A published number as it is printed there."""
        if self.digits in ("exact", "differs"):
            return f"{number:,}"
        return f"{number / UNITS[self.digits[0]]:,.{int(self.digits[1:])}f}{self.digits[0]}"

    def verdict(self, cost: Cost) -> str:
        """`exact`, `as printed`, or the differences."""
        unit = 1 if self.digits in ("exact", "differs") else UNITS[self.digits[0]] // 10 ** int(self.digits[1:])
        off = {key: getattr(cost, key) - number for key, number in self.numbers}
        if not any(off.values()):
            return "exact"
        if unit > 1 and all(2 * abs(more) <= unit for more in off.values()):
            return "as printed"
        return ", ".join(f"{key} {more:+,}" for key, more in off.items() if more)


def golden() -> Iterator[Row]:
    """The rows of tests/golden."""
    for file in sorted(GOLDEN.glob("*.csv")):
        for row in csv.DictReader(file.read_text().splitlines()):
            numbers = tuple((key, int(row[key])) for key in COUNTED if row[key])
            task = Task(int(row["image_size"]), int(row["channels"]), int(row["classes"]))
            yield Row(row["name"], task, numbers, row["digits"], row["source"])


def published(file: Path) -> Iterator[Row]:
    """The rows of a table of exact counts whose network we have."""
    columns = dict(zip(COUNTED, ("params", "macs_conv_linear", "conv_acts"), strict=True))
    for row in csv.DictReader(file.read_text().splitlines()):
        name = row["model"].removeprefix("tf_")
        if name in CLASSICS:
            numbers = tuple((key, int(row[column])) for key, column in columns.items() if row[column])
            yield Row(name, Task(int(row["img_size"])), numbers, "exact", f"{row['model']} of {file.name}")


def main() -> None:
    """Print the table and its total."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="a table of exact counts")
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    parser.add_argument("--markdown", action="store_true", help="a table for documents")
    given = parser.parse_args()
    if not given.published.is_file() and given.published != PUBLISHED:
        sys.exit(f"no file {given.published}")
    rows = [*golden(), *(published(given.published) if given.published.is_file() else ())]
    rows = list({(row.name, row.task, row.numbers): row for row in reversed(rows)}.values())
    order = {name: index for index, name in enumerate(CLASSICS)}
    rows = sorted(
        (row for row in rows if given.only in row.name), key=lambda row: (order[row.name], row.task.image_size)
    )

    cells = "| {} | {} | {} | {} | {} | {} | {} |" if given.markdown else "{:25} {:16} {:>12} {:>15} {:24} {:20} {}"
    print(cells.format("network", "task", "our params", "our MACs", "published params, MACs", "difference", "source"))
    if given.markdown:
        print("|---|---|---:|---:|---|---|---|")
    found: Counter[str] = Counter()
    for row in rows:
        cost = classic(row.name).cost(row.task)
        verdict = row.verdict(cost)
        kind = verdict if verdict in ("exact", "as printed") else "known" if row.digits == "differs" else "wrong"
        found[kind] += 1
        said = ", ".join(row.text(number) for key, number in row.numbers if key != "activations") or "activations only"
        source = row.source if row.digits in ("exact", "differs") else f"{row.source} ({row.digits})"
        print(cells.format(row.name, str(row.task), f"{cost.params:,}", f"{cost.macs:,}", said, verdict, source))
    print(
        f"\n{len(rows)} rows of {len({row.name for row in rows})} networks: {found['exact']} exact, "
        f"{found['as printed']} to the printed digits, {found['known']} known to differ, {found['wrong']} wrong; "
        f"{sum('not confirmed' in row.source for row in rows)} published figures not confirmed"
    )
    missing = sorted(set(CLASSICS) - {row.name for row in rows}) if not given.only else []
    if missing:
        print(f"nothing published for {', '.join(missing)}")
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
