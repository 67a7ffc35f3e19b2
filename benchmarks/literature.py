"""Every network, technique and number of five lectures, compared with what is here: `python -m benchmarks.literature`.

    python -m benchmarks.literature > docs/literature.md

The items are in `benchmarks/lectures.py`. Costs are counted when the page is made; a test holds the page to them. A
figure is "as printed" if it rounds to what is printed; any other has a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.classics import golden
from searchspaces import Cost, Task, classic
from searchspaces.classics.accuracies import published_on

UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
NAMES: Final = {"params": "parameters", "macs": "MACs"}


@dataclass(frozen=True)
class Figure:
    """A number here, and what is printed for it.

    Attributes:
        name: what it is a number of.
        ours: the number here.
        printed: the number in the lecture, such as `23.5M` or `0.31`.
    """

    name: str
    ours: float
    printed: str

    @property
    def as_printed(self) -> bool:
        """Whether ours, rounded to the printed digits, is what is printed."""
        return self.text == self.printed

    @property
    def text(self) -> str:
        """Ours in the printed unit and digits."""
        number = re.fullmatch(r"([\d,]+(?:\.(\d+))?)([KMGB]?)", self.printed)
        assert number, f"{self.printed!r} is no number"
        shown = f"{self.ours / UNITS[number[3]]:,.{len(number[2] or '')}f}{number[3]}"
        return shown if "," in number[1] else shown.replace(",", "")

    @property
    def difference(self) -> str:
        """How far ours is from what is printed, in percent of it."""
        printed = float(re.sub(r"[,KMGB]", "", self.printed)) * UNITS[re.sub(r"[\d.,]", "", self.printed)]
        percent = 100 * (self.ours / printed - 1)
        return f"{self.name} {percent:{'+.1f' if abs(percent) >= 0.1 else '+.2g'}} %"


@dataclass(frozen=True)
class Item:
    """One item of a lecture: a row.

    Attributes:
        what: the item.
        command: what is typed for it: a command, or an expression of `searchspaces.layers`; empty where there is none.
        here: what it gives, besides the figures.
        printed: what the lecture prints, besides the figures.
        why: the difference, or the reason why it is not here.
        figures: numbers that are compared.
    """

    what: str
    command: str = ""
    here: str = ""
    printed: str = ""
    why: str = ""
    figures: tuple[Figure, ...] = ()

    @property
    def off(self) -> list[Figure]:
        """Figures that are not as printed."""
        return [each for each in self.figures if not each.as_printed]

    def cells(self) -> tuple[str, str, str, str, str]:
        """The five cells of its row."""
        ours = [f"{each.text} {each.name}".strip() for each in self.figures]
        theirs = [f"{each.printed} {each.name}".strip() for each in self.figures]
        verdict = "as printed" if self.figures and not self.off else "; ".join(each.difference for each in self.off)
        return (
            self.what,
            f"`{self.command}`" if self.command else "",
            ", ".join(filter(None, [*ours, self.here])),
            ", ".join(filter(None, [*theirs, self.printed])) or "named",
            ": ".join(filter(None, [verdict, self.why])),
        )


@dataclass(frozen=True)
class Lecture:
    """A lecture and its items, in its order."""

    title: str
    items: tuple[Item, ...]


def net(
    what: str,
    name: str,
    *,
    size: int | None = None,
    here: str = "",
    printed: str = "",
    why: str = "",
    accuracy: str = "",
    **figures: str,
) -> Item:
    """The row of a classic network.

    Args:
        what: the item.
        name: of the classic.
        size: of the images in pixels; by default those of its published numbers.
        here, printed, why: of the item.
        accuracy: what is printed of its accuracy on ImageNet; beside it stands what is published with weights of it.
        figures: costs as the lecture prints them, by name; without any, those of its paper or, where `tests/golden` has
            none, those here alone.
    """
    network = classic(name)
    task = network.task.at(size)
    cost = network.cost(task)
    command = f"nas cost {name}" + (f" --image-size {size}" if size else "")
    found = tuple(Figure(NAMES[key], getattr(cost, key), text) for key, text in figures.items())
    if not found:
        found, sources, reasons = _golden(name, task)
        printed, why = "; ".join(filter(None, [printed, *sources])), "; ".join(filter(None, [*reasons, why]))
    own = [] if found else [_costs(cost)]
    if accuracy:
        own.append(published(name, task, errors="error" in accuracy))
        printed = ", ".join(filter(None, [printed, accuracy]))
    return Item(what, command, ", ".join(filter(None, [*own, here])), printed, why, found)


def _golden(name: str, task: Task) -> tuple[tuple[Figure, ...], list[str], list[str]]:
    """The figures of a network's paper, else of other collections, with their sources and why they differ."""
    cost = classic(name).cost(task)
    found: dict[str, tuple[Figure, str]] = {}
    for row in sorted(golden(), key=lambda row: "arXiv" not in row.source):
        if (row.name, row.task) == (name, task):
            for key, number in row.numbers:
                if key in NAMES:
                    found.setdefault(key, (Figure(NAMES[key], getattr(cost, key), row.text(number)), row.source))
    figures = tuple(found[key][0] for key in NAMES if key in found)
    told = [re.split(r"[:;] (?=\S)", found[key][1], maxsplit=1) for key in NAMES if key in found]
    sources = dict.fromkeys(re.sub(r", (read in its text|as .* quote it)$", "", each[0]) for each in told)
    reasons = dict.fromkeys(
        each[1] for each, figure in zip(told, figures, strict=True) if each[1:] and not figure.as_printed
    )
    return figures, list(sources), list(reasons)


def _costs(cost: Cost) -> str:
    from searchspaces import human

    return f"{human(cost.params)} parameters, {human(cost.macs)} MACs"


def published(name: str, task: Task, errors: bool = False) -> str:
    """The range of top-1 accuracies that are published with weights of a network; or of errors, with those of top-5."""
    there = published_on(name, task)
    if not there:
        return "no published weights"
    if not errors:
        return f"top-1 {_ends([each.top1 for each in there])}"
    five = [1 - each.top5 for each in there if each.top5 is not None]
    return f"errors {_ends([1 - each.top1 for each in there])}, top-5 {_ends(five) if five else 'unknown'}"


def _ends(shares: Sequence[float]) -> str:
    """The lowest and the highest, in percent.

    >>> _ends([0.781, 0.7613]), _ends([0.5])
    ('76.1 to 78.1 %', '50.0 %')
    """
    ends = dict.fromkeys(f"{100 * each:.1f}" for each in (min(shares), max(shares)))
    return f"{' to '.join(ends)} %"


def count(what: str, command: str, ours: float, printed: str, name: str = "", why: str = "", here: str = "") -> Item:
    """The row of a single number."""
    return Item(what, command, here, "", why, (Figure(name, ours, printed),))


INTRODUCTION: Final = """# The lectures, item by item

What five lectures on convolutional networks contain, compared with what is here: {items} items, where an item of
several lectures counts in each. Costs are counted from the layers when this page is generated, at the image size of
the published number unless another is given. *Printed* is what the lecture prints or, with its source, what the paper
of a network that a lecture only names or another collection prints. A figure is *as printed* if it rounds to it. MACs
are what papers call FLOPs or mult-adds.

Nothing was trained on ImageNet here. Next to an accuracy from a lecture are therefore the accuracies published with
weights of the network by torchvision, timm or imgclsmob, the lowest and the highest at that image size
(`nas classics --json` has their recipes). In commands, `DATA` stands for images, `IMAGE` for a file and `TRAINED` for
the folder of a trained network; expressions are from `searchspaces.layers`.

Made by `python -m benchmarks.literature > docs/literature.md`.
"""


def page(lectures: Iterable[Lecture]) -> str:
    """The text of `docs/literature.md`."""
    several = list(lectures)
    items = [item for each in several for item in each.items]
    return "\n".join([INTRODUCTION.format(items=len(items)), *_tables(several)])


def _tables(lectures: Iterable[Lecture]) -> Iterator[str]:
    for each in lectures:
        yield f"## {each.title}\n"
        yield "| item | command | here | printed | difference or reason |"
        yield "|---|---|---|---|---|"
        for item in each.items:
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in item.cells()) + " |"
        yield ""


def main() -> None:
    """Print the page."""
    from benchmarks.lectures import LECTURES

    print(page(LECTURES), end="")


if __name__ == "__main__":
    main()
