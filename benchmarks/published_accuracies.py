"""Make searchspaces/classics/accuracies.csv from the tables of torchvision, timm and imgclsmob.

    python benchmarks/published_accuracies.py [FOLDER]

FOLDER has torchvision-models.csv, published-networks.csv (timm's accuracies by the name of the weights) and
imgclsmob-models.csv; by default ../shared/reference. `tests/golden_names.csv` has the names of our networks there.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from searchspaces import CLASSICS, classic

HOME = Path(__file__).parent.parent
OUT = HOME / "searchspaces" / "classics" / "accuracies.csv"
COLUMNS = ("name", "image_size", "top1", "top5", "weights", "source")
MORE_DATA = ("SWAG", "FEATURES", "fb_wsl", "seer")
"""Parts of the names of weights that saw more than ImageNet-1k, or that have no classifier."""
SAME = "with its auxiliary head"
"""The one difference to ours that does not change what is evaluated."""

Row = tuple[str, int, str, str, str, str]


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def rows(folder: Path) -> Iterator[Row]:
    """Every row of the table: torchvision's, then timm's, then imgclsmob's."""
    names = {
        (row["table"], row["theirs"]): row["ours"]
        for row in _rows(HOME / "tests" / "golden_names.csv")
        if row["why_they_differ"] in ("", SAME)
    }
    seen: set[tuple[str, int]] = set()
    for row in _rows(folder / "torchvision-models.csv"):
        ours = names.get(("torchvision", row["model"]))
        if ours and not any(part in row["weights"] for part in MORE_DATA):
            seen.add((ours, int(row["crop"])))
            yield ours, int(row["crop"]), row["acc1"], row["acc5"], row["weights"], "torchvision"
    for row in _rows(folder / "published-networks.csv"):
        ours = row["model"].removeprefix("tf_")
        for each in row["timm_top1_in1k_only"].split() if ours in CLASSICS else ():
            (tag, top1), size = each.split(":"), int(row["img_size"])
            copied = tag in ("tv_in1k", "tv2_in1k") and (ours, size) in seen
            if not copied and not any(part in tag for part in MORE_DATA):
                yield ours, size, top1, "", f"{row['model']}.{tag}", "timm"
    for row in _rows(folder / "imgclsmob-models.csv"):
        ours = names.get(("imgclsmob", row["model"]))
        if ours and row["dataset"] == "ImageNet-1K":
            top1, top5 = (f"{100 - float(row[key]):.2f}" for key in ("Top1", "Top5"))
            yield ours, classic(ours).task.image_size, top1, top5, row["model"], "imgclsmob"


def main() -> None:
    """Write the table, by network in the order of `nas classics`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = HOME.parent / "shared" / "reference"
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="of the tables")
    folder = parser.parse_args().folder
    order = {name: index for index, name in enumerate(CLASSICS)}
    found = sorted(rows(folder), key=lambda row: order[row[0]])
    with OUT.open("w", newline="") as file:
        written = csv.writer(file, lineterminator="\n")
        written.writerow(COLUMNS)
        written.writerows(found)
    print(f"{OUT}: {len(found)} accuracies of {len({row[0] for row in found})} networks")


if __name__ == "__main__":
    main()
