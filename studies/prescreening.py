"""Zero-cost scores for strategies, which do not know how they are computed.

As a screen, `zico:8` tries of eight proposals the one of the highest score; as its own setting, `guided` has a score
among the features of its predictor. A score is a function of the architecture, the study's seed and its images,
computed on the CPU with one thread where trials are proposed. So what is proposed follows from the seed and the ledger,
as without a score, and a study cut and resumed proposes the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from estimators import Diverged, ImageData, ZeroCost, load_data
from estimators.zero_cost import SCORES
from searchspaces import UserError, nearest
from searchspaces.layers import ShapeError
from strategies.prescreen import Prescreened
from studies.origins import NAMED

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import Architecture
    from strategies import Strategy

DRAWS: Final = 8
"""Proposals for each trial where only a score is named."""


def parse_prescreen(text: str) -> tuple[str, int]:
    """A score and the number of proposals for each trial.

    Raises:
        UserError: the score is unknown, or the number is not a whole one of at least 2.

    >>> parse_prescreen("zico:4"), parse_prescreen("naswot")
    (('zico', 4), ('naswot', 8))
    """
    name, colon, number = text.partition(":")
    if name not in SCORES:
        raise UserError(f"prescreen: unknown score {name!r}{nearest(name, SCORES)}")
    if colon and (not number.isdecimal() or int(number) < 2):
        raise UserError(f"prescreen: SCORE:N needs a whole number of at least 2 proposals for each trial, got {text!r}")
    return name, int(number) if colon else DRAWS


def prescreened(
    make: Callable[[], Strategy], prescreen: str, estimator: Callable[[], Estimator], data: str | None, seed: int
) -> Callable[[], Strategy]:
    """A strategy behind a screen.

    Args:
        make: the strategy afresh.
        prescreen: `zico:8`.
        estimator: of the study, whose images are used if it has any.
        data: where the images are otherwise; None if nobody knows.
        seed: of the study.

    Returns:
        A function that makes it afresh. Images are loaded with the first proposal that is screened.
    """
    name, draws = parse_prescreen(prescreen)
    return lambda: Prescreened(make(), _Merit(name, estimator, data, seed), draws)


def scored(
    make: Callable[[], Strategy],
    strategy: Mapping[str, Any],
    estimator: Callable[[], Estimator],
    data: str | None,
    seed: int,
) -> Callable[[], Strategy]:
    """A strategy of ours whose setting `score` names a score, with what computes it; as it is without one.

    Args:
        make: the strategy afresh.
        strategy: what the manifest keeps of it.
        estimator, data, seed: as for `prescreened`.

    Raises:
        UserError: the score is unknown.
    """
    name = strategy["resolved"].get("score") if strategy["origin"] == NAMED else None
    if name is None:
        return make
    if name not in SCORES:
        raise UserError(f"strategy.score: unknown score {name!r}{nearest(str(name), SCORES)}")
    merit = _Merit(name, estimator, data, seed)

    def made() -> Strategy:
        found: Any = make()
        found.score_by(merit)
        return cast("Strategy", found)

    return made


class _Merit:
    """The score of an architecture, computed once; minus infinity if it has none, as its trial is likely to fail."""

    def __init__(self, name: str, estimator: Callable[[], Estimator], data: str | None, seed: int) -> None:
        self._name, self._estimator, self._data, self._seed = name, estimator, data, seed
        self._scorer: ZeroCost | None = None
        self._known: dict[Architecture, float] = {}

    def __call__(self, architecture: Architecture) -> float:
        if architecture not in self._known:
            self._known[architecture] = self._score(architecture)
        return self._known[architecture]

    def _score(self, architecture: Architecture) -> float:
        if self._scorer is None:
            self._scorer = ZeroCost(self._images(), self._name, device="cpu")
        try:
            return self._scorer.of(architecture, self._seed)
        except (Diverged, ShapeError):
            return -math.inf

    def _images(self) -> ImageData:
        images = getattr(self._estimator(), "data", None)
        if isinstance(images, ImageData):
            return images
        if self._data is None:
            raise UserError("scores need images, and the estimator has no `data` of type ImageData")
        return load_data(self._data)
