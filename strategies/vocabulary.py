"""Architectures as sequences of tokens: what a recurrent policy reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchspaces import Architecture, SearchSpace

_REMEMBERED: Final = 1 << 16  # prefixes whose open options are cached; about 30 MB
_FITTED: Final = 256  # uniform draws that `option_shares` counts


class Vocabulary:
    """One token for each option of each decision, and the options that are open after a prefix of tokens.

    Attributes:
        slots: the token of each option; (decisions, most options), -1 where a decision has fewer options.
        start: the token before the first choice.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._pairs = [(decision.name, option) for decision in space.decisions for option in decision.options]
        self._tokens = {pair: token for token, pair in enumerate(self._pairs)}
        self._index = {decision.name: index for index, decision in enumerate(space.decisions)}
        self.start = len(self._pairs)
        most = max((len(decision.options) for decision in space.decisions), default=1)
        self.slots = np.full((len(space.decisions), most), -1)
        for index, decision in enumerate(space.decisions):
            for slot, option in enumerate(decision.options):
                self.slots[index, slot] = self._tokens[decision.name, option]
        self._steps: dict[tuple[int, ...], tuple[int, npt.NDArray[np.bool_]] | None] = {}

    def choices(self, tokens: Sequence[int]) -> dict[str, Any]:
        """The choices that tokens stand for."""
        return dict(self._pairs[token] for token in tokens)

    def next(self, prefix: tuple[int, ...]) -> tuple[int, npt.NDArray[np.bool_]] | None:
        """The next decision and the mask of its open options, (options,); None when the architecture is complete."""
        if prefix not in self._steps:
            if len(self._steps) == _REMEMBERED:
                self._steps.clear()
            found = self._space.next_decision(self.choices(prefix))
            step = None
            if found is not None:
                index = self._index[found.name]
                mask = np.zeros(self.slots.shape[1], np.bool_)
                mask[[self._tokens[found.name, option] - self.slots[index, 0] for option in found.options]] = True
                step = index, mask
            self._steps[prefix] = step
        return self._steps[prefix]

    def sequence(
        self, architecture: Architecture
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Tokens (steps,), decisions (steps,) and masks (steps, options) of an architecture, in the policy's order."""
        chosen = architecture.choices
        tokens: list[int] = []
        decisions: list[int] = []
        masks: list[npt.NDArray[np.bool_]] = []
        while (step := self.next(tuple(tokens))) is not None:
            name = self._space.decisions[step[0]].name
            tokens.append(self._tokens[name, chosen[name]])
            decisions.append(step[0])
            # An architecture's own choice is open even where the space's bounded search did not find it so.
            masks.append(step[1] | (self.slots[step[0]] == tokens[-1]))
        return np.array(tokens), np.array(decisions), np.stack(masks)


def option_shares(space: SearchSpace, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Share of each option among uniform draws in which its decision is active, with add-one smoothing; (tokens,)."""
    vectors = np.stack([space.encode(space.sample(rng)) for _ in range(_FITTED)])  # (draws, decisions)
    shares = []
    for index, decision in enumerate(space.decisions):
        counts = 1.0 + np.bincount(vectors[:, index] + 1, minlength=len(decision.options) + 1)[1:]
        shares.append(counts / counts.sum())
    return np.concatenate(shares) if shares else np.zeros(0)
