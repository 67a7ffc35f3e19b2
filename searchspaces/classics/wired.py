"""Networks of cells with free wiring: NASNet-A, AmoebaNet-A (members of `nasnet`) and PNASNet-5."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import Node
from searchspaces.nasnet import AMOEBANET_A, PNASNET_5, NASNetSpace, nasnet_space
from searchspaces.task import Task
from searchspaces.wiring import stacked

_NASNET: Final = "Zoph 2018, arXiv:1707.07012"
_AMOEBANET: Final = "Real 2019, arXiv:1802.01548"
_PNASNET: Final = "Liu 2018, arXiv:1712.00559"


@cache
def _space() -> NASNetSpace:
    return nasnet_space()


def _member(name: str, paper: str, image_size: int) -> Callable[[], Classic]:
    return lambda: Classic.member(_space().references[name], name, paper, Task(image_size))


def _pnasnet(task: Task, width: int, repeats: tuple[int, ...], stem_width: int) -> Node:
    """PNASNet-5 has one cell; where it reduces, the cell of stride 2 is one of the repeats."""
    return stacked(PNASNET_5, PNASNET_5, task, width=width, repeats=repeats, stem_width=stem_width)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "nasnetamobile": _member("nasnetamobile", f"{_NASNET}, NASNet-A (4 @ 1056), table 3", 224),
    "nasnetalarge": _member("nasnetalarge", f"{_NASNET}, NASNet-A (6 @ 4032), table 2", 331),
    "amoebanet_a_mobile": _member("amoebanet_a_mobile", f"{_AMOEBANET}, AmoebaNet-A (N=4, F=50), table 3", 224),
    "amoebanet_a": _member("amoebanet_a", f"{_AMOEBANET}, AmoebaNet-A (N=6, F=190), table 2", 331),
    "amoebanet_a_448": lambda: Classic(
        "amoebanet_a_448",
        f"{_AMOEBANET}, AmoebaNet-A (N=6, F=448), table 2",
        lambda task: stacked(*AMOEBANET_A, task, width=448, repeats=(6, 6, 6), stem_width=32),
        Task(299),
    ),
    "pnasnet5mobile": lambda: Classic(
        "pnasnet5mobile", f"{_PNASNET}, PNASNet-5 (N=3, F=54), table 5", lambda task: _pnasnet(task, 54, (3, 2, 2), 32)
    ),
    "pnasnet5large": lambda: Classic(
        "pnasnet5large",
        f"{_PNASNET}, PNASNet-5 (N=4, F=216), table 5",
        lambda task: _pnasnet(task, 216, (4, 3, 3), 96),
        Task(331),
    ),
}
