"""Networks of inverted residuals: members of `mbconv`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from searchspaces.classic import Classic
from searchspaces.mbconv import mbconv_space


def efficientnet_b0() -> Classic:
    """EfficientNet-B0: Tan & Le 2019, arXiv:1905.11946, table 1."""
    return _member("efficientnet_b0", "Tan & Le 2019, arXiv:1905.11946, table 1")


def mobilenetv2_100() -> Classic:
    """MobileNetV2-1.0: Sandler 2018, arXiv:1801.04381, table 2."""
    return _member("mobilenetv2_100", "Sandler 2018, arXiv:1801.04381, table 2")


def semnasnet_100() -> Classic:
    """MnasNet-A1: Tan 2019, arXiv:1807.11626, fig. 7."""
    return _member("semnasnet_100", "Tan 2019, arXiv:1807.11626, fig. 7")


def _member(name: str, paper: str) -> Classic:
    return Classic.member(mbconv_space().references[name], name, paper)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "efficientnet_b0": efficientnet_b0,
    "mobilenetv2_100": mobilenetv2_100,
    "semnasnet_100": semnasnet_100,
}
