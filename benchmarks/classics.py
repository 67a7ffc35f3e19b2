"""The golden table: every classic network, what it costs as we count it and as published, and the difference.

    python benchmarks/classics.py [--published FILE.csv] [--only TEXT] [--markdown]

Above it, the small examples of lectures and papers; below it, how the tables of other collections agree.

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
from searchspaces.layers import Chain, Concat, Conv, Linear, Node, Pool, SqueezeExcite, leaves
from searchspaces.task import Shape

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
PUBLISHED = Path(__file__).parent.parent.parent / "shared" / "reference" / "published-networks.csv"
NAMES = Path(__file__).parent.parent / "tests" / "golden_names.csv"
TABLES = {"torchvision": "torchvision-models.csv", "imgclsmob": "imgclsmob-models.csv", "pycls": "pycls-dds.csv"}
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


def elsewhere(table: str, folder: Path) -> Iterator[Row]:
    """The rows of another collection's table whose network we have, with what it is called there as the source.

    torchvision has parameters and GMACs to three decimals; imgclsmob's MACs count norms and activations, so that only
    its parameters are taken; pycls counts each bias as a MAC and each logit as an activation, which are taken off.
    """
    names = {row["theirs"]: row for row in csv.DictReader(NAMES.read_text().splitlines()) if row["table"] == table}
    for row in csv.DictReader((folder / TABLES[table]).read_text().splitlines()):
        if row["model"] not in names:
            continue
        ours, why = names[row["model"]]["ours"], names[row["model"]]["why_they_differ"]
        source = f"{row['model']} of {table}" + (f": {why}" if why else "")
        digits = "differs" if why else "exact"
        if table == "torchvision":
            task = Task(int(row["crop"]))
            yield Row(ours, task, (("params", int(row["num_params"])),), digits, source)
            if not (why and why.startswith("with")):  # a head for training only has parameters, and no MACs
                yield Row(
                    ours, task, (("macs", round(float(row["gmacs"]) * 10**9)),), "differs" if why else "G3", source
                )
        elif table == "imgclsmob":
            classes = {"CIFAR-10": 10, "SVHN": 10, "CIFAR-100": 100, "CUB-200-2011": 200}.get(row["dataset"], 1000)
            task = Task(32, 3, classes) if classes in (10, 100) else Task(classic(ours).task.image_size, 3, classes)
            yield Row(ours, task, (("params", int(row["params"])),), digits, source)
        else:
            task = Task(224) if ours.startswith("regnet") else classic(ours).task
            biases, logits = _biases(classic(ours).network(task), task.shape), task.classes
            macs, activations = int(row["flops"]) - biases, int(row["acts"]) - logits
            yield Row(
                ours,
                task,
                (("params", int(row["params"])), ("macs", macs), ("activations", activations)),
                digits,
                source,
            )


def _biases(tree: Node, given: Shape) -> int:
    """Numbers that a bias is added to: those of linear layers and of squeeze-excite, as no convolution has one."""
    found = 0
    for leaf, shape in leaves(tree, given):
        if isinstance(leaf, Linear):
            found += leaf.width
        elif isinstance(leaf, SqueezeExcite):
            found += leaf.reduced + shape[0]
    return found


def examples() -> Iterator[tuple[str, int, str]]:
    """Small examples with a published result: what, our MACs, and what is printed there."""
    given, pool = (256, 28, 28), Pool("max", 3, 1)
    naive = Concat(Conv(128), Conv(192, 3), Conv(96, 5), pool)
    yield "Inception module on 28x28x256: 1x1 128, 3x3 192, 5x5 96, pooling", naive.cost(given).macs, "854M (CS231n)"
    # the printed sum has the 3x3 convolution once among its terms, which make 271M, and twice in its total
    reduced = Concat(Conv(128), Chain(Conv(64), Conv(192, 3)), Chain(Conv(64), Conv(96, 5)), Chain(pool, Conv(64)))
    again = Conv(192, 3).cost((64, 28, 28)).macs
    macs = reduced.cost(given).macs
    yield "the same with 64 channels before 3x3, 5x5 and after pooling", macs, "271M is the sum of the terms"
    yield "  and with the 3x3 convolution counted twice", macs + again, "358M (CS231n)"
    full, separable = Conv(5, 3, padding=0), Chain(Conv(3, 3, groups=3, padding=0), Conv(5))
    yield "3x3 convolution of 6x6x3 to 5 channels, no padding", full.cost((3, 6, 6)).macs, "2160"
    yield "the same, depthwise and pointwise", separable.cost((3, 6, 6)).macs, "672"


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

    if not given.only:
        for what, macs, printed in examples():
            print(f"{what:70} {macs:>12,} MACs   {printed}")
        print()
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
    if not given.only:
        for table, file in TABLES.items():
            if (given.published.parent / file).is_file():
                found["wrong"] += _agreement(table, given.published.parent)
    missing = sorted(set(CLASSICS) - {row.name for row in rows}) if not given.only else []
    if missing:
        print(f"nothing published for {', '.join(missing)}")
    sys.exit(1 if found["wrong"] else 0)


def _agreement(table: str, folder: Path) -> int:
    """Print how another collection's table agrees with us, and give how many of its rows are wrong."""
    rows = [(row, row.verdict(classic(row.name).cost(row.task))) for row in elsewhere(table, folder)]
    agree = [row for row, verdict in rows if verdict in ("exact", "as printed")]
    networks = len({row.name for row, _ in rows})
    print(f"{TABLES[table]}: {len(rows)} figures of {networks} of our networks, {len(agree)} agree")
    known = Counter(row.source.partition(" of ")[2].partition(": ")[2] for row, _ in rows if row.digits == "differs")
    for why, times in known.items():
        print(f"  {times:2} differ: {why}")
    wrong = [(row, verdict) for row, verdict in rows if row not in agree and row.digits != "differs"]
    for row, verdict in wrong:
        print(f"  wrong: {row.name} on {row.task}: {verdict} ({row.source})")
    return len(wrong)


if __name__ == "__main__":
    main()
