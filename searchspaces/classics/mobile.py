"""Networks of inverted residuals: members of `mbconv`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from searchspaces.classic import Classic
from searchspaces.mbconv import mbconv_space


def _member(name: str, paper: str) -> Callable[[], Classic]:
    return lambda: Classic.member(mbconv_space().references[name], name, paper)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "efficientnet_b0": _member("efficientnet_b0", "Tan & Le 2019, arXiv:1905.11946, table 1"),
    "mobilenetv2_100": _member("mobilenetv2_100", "Sandler 2018, arXiv:1801.04381, table 2"),
    "semnasnet_100": _member("semnasnet_100", "Tan 2019, arXiv:1807.11626, fig. 7"),
}
