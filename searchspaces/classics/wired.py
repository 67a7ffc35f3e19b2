"""Networks of cells with free wiring: NASNet-A, AmoebaNet-A (members of `nasnet`) and PNASNet-5."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from searchspaces.classics.classic import Classic
from searchspaces.nasnet import AMOEBANET_A, PNASNET_5, NASNetSpace, nasnet_space
from searchspaces.task import Task
from searchspaces.wiring import Wiring, stacked

_NASNET: Final = "Zoph 2018, arXiv:1707.07012"
_AMOEBANET: Final = "Real 2019, arXiv:1802.01548"
_PNASNET: Final = "Liu 2018, arXiv:1712.00559"


@cache
def _space() -> NASNetSpace:
    return nasnet_space()


def _member(name: str, paper: str, image_size: int) -> Callable[[], Classic]:
    return lambda: Classic.member(_space().references[name], name, paper, Task(image_size))


def _alone(name: str, paper: str, cells: tuple[Wiring, Wiring], size: int = 224, **frame: Any) -> Classic:
    """A network that is no member of `nasnet`."""
    return Classic(
        name,
        paper,
        lambda task: stacked(*cells, task, **frame),
        Task(size),
        for_small_images=lambda task: stacked(*cells, task, **frame, made_for=task.image_size),
    )


def _pnasnet(
    name: str, table: str, size: int, width: int, repeats: tuple[int, ...], stem_width: int
) -> Callable[[], Classic]:
    """PNASNet-5 has one cell; where it reduces, the cell of stride 2 is one of the repeats."""
    frame = {"width": width, "repeats": repeats, "stem_width": stem_width}
    return lambda: _alone(name, f"{_PNASNET}, {table}", (PNASNET_5, PNASNET_5), size, **frame)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "nasnetamobile": _member("nasnetamobile", f"{_NASNET}, NASNet-A (4 @ 1056), table 3", 224),
    "nasnetalarge": _member("nasnetalarge", f"{_NASNET}, NASNet-A (6 @ 4032), table 2", 331),
    "amoebanet_a_mobile": _member("amoebanet_a_mobile", f"{_AMOEBANET}, AmoebaNet-A (N=4, F=50), table 3", 224),
    "amoebanet_a": _member("amoebanet_a", f"{_AMOEBANET}, AmoebaNet-A (N=6, F=190), table 2", 331),
    "amoebanet_a_448": lambda: _alone(
        "amoebanet_a_448",
        f"{_AMOEBANET}, AmoebaNet-A (N=6, F=448), table 2",
        AMOEBANET_A,
        299,
        width=448,
        repeats=(6, 6, 6),
        stem_width=32,
    ),
    "pnasnet5mobile": _pnasnet("pnasnet5mobile", "PNASNet-5 (N=3, F=54), table 4", 224, 54, (3, 2, 2), 32),
    "pnasnet5large": _pnasnet("pnasnet5large", "PNASNet-5 (N=4, F=216), table 5", 331, 216, (4, 3, 3), 96),
}
