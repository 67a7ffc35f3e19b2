"""The recurrent policy of the RL controller in torch: an LSTM, its objectives and its optimizer.

Zoph & Le 2017, arXiv:1611.01578, sec. 3.1; initial weights as in Zoph et al. 2018, arXiv:1707.07012, app. A.3. The only
file of this package that imports torch.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Floats = npt.NDArray[np.float64]

_EMBEDDING: Final = 32  # width of a token's embedding


@dataclass(frozen=True, eq=False, slots=True)
class Episode:
    """The choices of one architecture as the behaviour policy made them.

    Attributes:
        tokens: the chosen options, step by step; (steps,).
        decisions: the decision of each step; (steps,).
        masks: the open options of each step; (steps, options).
        log_probs: log-probabilities of the choices under the behaviour policy; (steps,).
    """

    tokens: npt.NDArray[np.int64]
    decisions: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]
    log_probs: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Episodes padded to one length; a padded step is a choice among a single option, which has no gradient."""

    tokens: Tensor  # (episodes, steps)
    decisions: Tensor  # (episodes, steps)
    masks: Tensor  # (episodes, steps, options)
    log_probs: Tensor  # (episodes, steps)
    there: Tensor  # (episodes, steps)

    @staticmethod
    def of(episodes: Sequence[Episode]) -> Batch:
        shape = len(episodes), max(len(episode.tokens) for episode in episodes)
        tokens, decisions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        masks = np.zeros((*shape, episodes[0].masks.shape[1]), np.bool_)
        masks[:, :, 0] = True
        log_probs, there = np.zeros(shape), np.zeros(shape)
        for row, episode in enumerate(episodes):
            steps = len(episode.tokens)
            tokens[row, :steps], decisions[row, :steps] = episode.tokens, episode.decisions
            masks[row, :steps], log_probs[row, :steps], there[row, :steps] = episode.masks, episode.log_probs, 1.0
        return Batch(*map(torch.from_numpy, (tokens, decisions, masks, log_probs, there)))


class LSTMPolicy:
    """An LSTM with one softmax for each decision.

    Args:
        slots: tokens of the options of each decision; (decisions, options).
        hidden: units of the LSTM.
        shares: probability of each token under the initial biases; (tokens,).
        draw: draws the initial weights.
    """

    def __init__(
        self,
        slots: npt.NDArray[np.int64],
        hidden: int,
        shares: npt.NDArray[np.float64],
        draw: np.random.Generator,
    ) -> None:
        tokens = len(shares)
        shapes = {
            "embedding": (tokens + 1, _EMBEDDING),
            "w_in": (4 * hidden, _EMBEDDING),
            "w_back": (4 * hidden, hidden),
            "b_in": (4 * hidden,),
            "b_back": (4 * hidden,),
            "head": (tokens, hidden),
        }
        first = {name: draw.uniform(-0.1, 0.1, shape) for name, shape in shapes.items()}  # as in Zoph et al. 2018
        first["bias"] = np.log(shares)
        with reproducible():
            self.weights = {name: torch.from_numpy(value).requires_grad_() for name, value in first.items()}
        self._slots = torch.from_numpy(slots.clip(0))
        self._hidden = hidden

    def first(self, rows: int) -> tuple[Floats, Floats]:
        """The initial state: twice (rows, hidden)."""
        return np.zeros((rows, self._hidden)), np.zeros((rows, self._hidden))

    def step(self, token: npt.NDArray[np.int64], state: tuple[Floats, Floats]) -> tuple[Floats, tuple[Floats, Floats]]:
        """Read the previous token, (rows,); return the logits of all tokens, (rows, tokens), and the next state.

        One step of `log_probs`, in numpy, which takes a tenth of torch's time for a few rows.
        """
        weights = {name: weight.detach().numpy() for name, weight in self.weights.items()}
        read = weights["embedding"][token] @ weights["w_in"].T + state[0] @ weights["w_back"].T
        gates = read + weights["b_in"] + weights["b_back"]  # (rows, 4 * hidden): in, forget, cell, out, as torch has it
        enter, forget, cell, leave = gates.reshape(len(token), 4, self._hidden).swapaxes(0, 1)
        memory = _sigmoid(forget) * state[1] + _sigmoid(enter) * np.tanh(cell)
        output = _sigmoid(leave) * np.tanh(memory)
        return output @ weights["head"].T + weights["bias"], (output, memory)

    def episode(
        self, tokens: npt.NDArray[np.int64], decisions: npt.NDArray[np.int64], masks: npt.NDArray[np.bool_]
    ) -> Episode:
        """The episode of choices that this policy makes now; shapes as in `Episode`."""
        batch = Batch.of([Episode(tokens, decisions, masks, np.zeros(len(tokens)))])
        with reproducible(), torch.no_grad():
            taken, _ = self.log_probs(batch)  # (1, steps)
        return Episode(tokens, decisions, masks, taken[0].numpy())

    def log_probs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the choices and entropies of their distributions; each (episodes, steps)."""
        weights = self.weights
        start = torch.full_like(batch.tokens[:, :1], len(weights["bias"]))
        read = weights["embedding"][torch.cat([start, batch.tokens[:, :-1]], 1)]  # (episodes, steps, embedding)
        first = [torch.from_numpy(each)[None] for each in self.first(len(read))]  # (1 layer, episodes, hidden) each
        cell = [weights[name] for name in ("w_in", "w_back", "b_in", "b_back")]
        outputs, _, _ = torch.lstm(read, first, cell, True, 1, 0.0, True, False, True)  # (episodes, steps, hidden)
        logits = outputs @ weights["head"].T + weights["bias"]  # (episodes, steps, tokens)
        slots = self._slots[batch.decisions]  # (episodes, steps, options)
        closed = ~batch.masks
        every = logits.gather(2, slots).masked_fill(closed, -torch.inf).log_softmax(2)
        chosen = ((slots == batch.tokens[:, :, None]) & batch.masks).to(torch.int64).argmax(2, keepdim=True)
        entropy = -(every.exp() * every.masked_fill(closed, 0.0)).sum(2)
        return every.gather(2, chosen)[:, :, 0], entropy


def _sigmoid(values: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-values))
    return result


class PolicyGradient:
    """Updates a policy by PPO or REINFORCE, with an entropy bonus.

    Args:
        policy: the policy, updated in place.
        clip: PPO's bound on the distance of the probability ratio from 1; None for REINFORCE.
        entropy: weight of the entropy bonus.
        epochs: steps of Adam on a batch.
        learning_rate: of Adam.
    """

    def __init__(
        self, policy: LSTMPolicy, *, clip: float | None, entropy: float, epochs: int, learning_rate: float
    ) -> None:
        self._policy, self._clip, self._entropy, self._epochs = policy, clip, entropy, epochs
        with reproducible():
            self._adam = _Adam(list(policy.weights.values()), learning_rate)

    def update(self, episodes: Sequence[Episode], advantages: Floats) -> None:
        """Learn from a batch of episodes with their advantages, (episodes, steps) or (episodes, 1)."""
        with reproducible(), torch.enable_grad():
            batch, gains = Batch.of(episodes), torch.from_numpy(advantages)
            for _ in range(self._epochs):
                taken, entropy = self._policy.log_probs(batch)  # (episodes, steps)
                if self._clip is None:
                    objective = reinforce_objective(taken, gains, batch.there)
                else:
                    objective = ppo_objective(taken, batch.log_probs, gains, batch.there, self._clip)
                bonus = (entropy * batch.there).sum(1).mean()
                self._adam.step(torch.autograd.grad(-objective - self._entropy * bonus, self._adam.weights))


class _Adam:
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1. torch's own Adam imports the compiler, which takes seconds."""

    def __init__(self, weights: Sequence[Tensor], rate: float) -> None:
        self.weights = weights
        self._rate = rate
        self._steps = 0
        self._moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step of descent along the gradients."""
        self._steps += 1
        with torch.no_grad():
            for weight, gradient, (first, second) in zip(self.weights, gradients, self._moments, strict=True):
                first.lerp_(gradient, 1 - 0.9)
                second.lerp_(gradient**2, 1 - 0.999)
                unbiased = (second / (1 - 0.999**self._steps)).sqrt_().add_(1e-8)
                weight.sub_(first / unbiased, alpha=self._rate / (1 - 0.9**self._steps))


def ppo_objective(taken: Tensor, behaviour: Tensor, advantages: Tensor, there: Tensor, clip: float) -> Tensor:
    """PPO's clipped surrogate (Schulman et al. 2017, eq. 7), summed over the choices of an episode, mean over episodes.

    Args:
        taken: log-probabilities of the choices under the policy; (episodes, steps).
        behaviour: log-probabilities under each episode's behaviour policy; (episodes, steps).
        advantages: (episodes, steps), or (episodes, 1) where all choices of an episode share one.
        there: 1 for a choice, 0 for padding; (episodes, steps).
        clip: bound on the distance of the ratio from 1.
    """
    ratio = (taken - behaviour).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (gain * there).sum(1).mean()


def reinforce_objective(taken: Tensor, advantages: Tensor, there: Tensor) -> Tensor:
    """Zoph & Le 2017, sec. 3.2: its gradient is their policy gradient estimate. Arguments as in `ppo_objective`."""
    return (advantages * taken * there).sum(1).mean()


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Run torch on one thread, for one order of sums on every machine, and outside inference mode; restore both."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.set_num_threads(threads)
