"""What single choices of an architecture were worth: a value function of its prefixes, and advantages by it.

A trial has one reward and a dozen choices. With one advantage for all of them, each learns mostly from the luck of the
others, and tens of trials are too few for that to even out. So a value function of all trials so far tells what was to
be expected before and after a choice, and generalized advantage estimation (Schulman et al. 2016, arXiv:1506.02438,
eq. 16, without discount) gives a choice what the value rose by, and `gae_lambda` times the advantage of the choice
after it; what the value function did not foresee comes with the last one. PPO is usually run so (Schulman et al. 2017,
arXiv:1707.06347, eq. 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strategies.lstm_policy import Episode

Floats = npt.NDArray[np.float64]


class ValueFunction:
    """The mean reward of all that begins with a prefix: what ridge regression on the options chosen adds to the mean.

    Effects of options are relative to the mean of the trials that took the decision, so that a decision counts nothing
    until it is taken, nor where an earlier choice left nothing to decide. The penalty is the number of decisions; a
    third of it, or three times as much, were no better on drawn problems. Only sums are kept, so that it is as fast
    after ten thousand trials.

    Args:
        slots: the token of each option; (decisions, most options), -1 where a decision has fewer options.
    """

    def __init__(self, slots: npt.NDArray[np.int64]) -> None:
        decision_of = np.repeat(np.arange(len(slots)), (slots >= 0).sum(1))  # of each token; (tokens,)
        self._siblings = decision_of[:, None] == decision_of  # options of one decision; (tokens, tokens)
        self._penalty = len(slots)
        width = len(decision_of) + 2
        self._sums = np.zeros((width, width))  # of products of 1, the options chosen as ones, and the reward

    def add(self, episode: Episode, reward: float) -> None:
        """Learn from a trial."""
        row = np.zeros(len(self._sums))
        row[0], row[1 + episode.tokens], row[-1] = 1.0, 1.0, reward
        self._sums += np.outer(row, row)

    def advantages(self, episodes: Sequence[Episode], rewards: Floats, gae_lambda: float) -> Floats:
        """The advantage of each choice, in standard deviations of all rewards so far; 0 after an episode's last step.

        Args:
            episodes: of trials that were added.
            rewards: of them; (episodes,).
            gae_lambda: 0 goes by the values alone, 1 by the reward and the value before the choice.

        Returns:
            (episodes, most steps).
        """
        mean, deviation, rise_by = self._fit()
        found = np.zeros((len(episodes), max(len(episode.tokens) for episode in episodes)))
        for row, (episode, reward) in enumerate(zip(episodes, rewards.tolist(), strict=True)):
            rises = rise_by[episode.tokens]  # (steps,)
            rises[-1] += reward - mean - rises.sum()
            for step in reversed(range(len(rises) - 1)):
                rises[step] += gae_lambda * rises[step + 1]
            found[row, : len(rises)] = rises
        return np.divide(found, max(deviation, 1e-12))

    def _fit(self) -> tuple[float, float, Floats]:
        """Mean and standard deviation of the rewards, and by how much each option raises the value; (tokens,)."""
        count, chosen, options = self._sums[0, 0], self._sums[0, 1:-1], self._sums[1:-1, 1:-1]
        mean = self._sums[0, -1] / count
        variance = self._sums[-1, -1] / count - mean**2
        shares = chosen / np.maximum(self._siblings @ chosen, 1.0)  # among the trials that took the decision
        centre = np.eye(len(shares)) - shares[:, None] * self._siblings  # takes these means off options as ones
        scatter = centre @ options @ centre.T + self._penalty * np.eye(len(shares))
        effects = np.linalg.solve(scatter, centre @ (self._sums[1:-1, -1] - mean * chosen))
        return float(mean), max(float(variance), 0.0) ** 0.5, effects @ centre
