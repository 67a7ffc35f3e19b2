"""The RL controller: an LSTM samples an architecture decision by decision and is trained on the accuracy it reached.

Zoph & Le 2017, *Neural Architecture Search with Reinforcement Learning*, arXiv:1611.01578, sec. 3.1 and 3.2 (the LSTM;
REINFORCE with a moving-average baseline); Zoph et al. 2018, arXiv:1707.07012, app. A.3 (PPO instead); Schulman et al.
2017, arXiv:1707.06347, eq. 7 (the clipped ratio) and 11 (advantages by a value function). Left out: anchor points for
skip connections, which are ordinary decisions here, and the parameter servers. Departure: it learns from the ranks of
rewards, and a failed trial has the lowest reward so far.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from searchspaces import Bound, Budget, Task, UserError, nearest
from searchspaces.latency import refuse_unknown
from strategies.novelty import sample_new
from strategies.value_function import ValueFunction
from strategies.vocabulary import Vocabulary, option_shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchspaces import Architecture, SearchSpace
    from strategies.lstm_policy import Episode
    from strategies.strategy import Outcome

ALGORITHMS: Final = ("ppo", "reinforce")
REWARDS: Final = ("accuracy", "mnasnet")
_DRAWS: Final = (1, 8, 24)  # architectures sampled from the policy, as batches, until one is new
_STEPS: Final = 50  # mutations, at most, of a sample that is not new
_MOST_UNITS: Final = 4096  # of the LSTM, which then has 68 million weights
_BEST: Final = 5  # trials that may be revisited
_CHANGES: Final = 2  # decisions, on average, that the policy takes anew when it revisits a trial


def mnasnet_reward(accuracy: float, cost: float, target: float, alpha: float = -0.07, beta: float = -0.07) -> float:
    """Accuracy times (cost / target) ** w, where w is `alpha` up to the target and `beta` above it.

    Tan et al. 2019, arXiv:1807.11626, eq. 2 and 3. The cost is the latency, as in the paper, or MACs. The paper's soft
    constraint has -0.07 twice: doubling the cost pays off from 5 % more accuracy (relative). The hard one has 0 and -1.

    >>> round(mnasnet_reward(0.75, 400e6, 200e6), 4)  # 0.75 * 2 ** -0.07
    0.7145
    >>> mnasnet_reward(0.75, 100e6, 200e6, alpha=0, beta=-1), mnasnet_reward(0.75, 400e6, 200e6, alpha=0, beta=-1)
    (0.75, 0.375)
    """
    return float(accuracy * (cost / target) ** (alpha if cost <= target else beta))


@final
class RLController:
    """An LSTM policy trained by PPO or REINFORCE.

    Each active decision is one step: the LSTM reads the previous choice, and the decision's own softmax gives the
    probabilities of its options. Options after which no network fits the budget are masked: the policy, its
    log-probabilities and its entropy are those of the remaining options. The reward comes at the end of the episode and
    is not discounted.

    **Advantages.** REINFORCE gives all choices of a trial the same one, as in the papers: the reward minus a moving
    average of rewards. PPO gives each choice its own, by a value function (`strategies.value_function`), which neither
    architecture search paper has: after 50 and 100 trials of the six problems of `docs/strategies.md` it takes a tenth
    off the regret, up to a third, after 25 and 200 nothing that shows. Both are divided by a standard deviation of
    rewards, so that the entropy bonus has the same weight on any data.

    **Ranks.** A reward counts as the share of all rewards so far that it exceeds (fitness shaping; Wierstra et al.
    2014, *Natural Evolution Strategies*, JMLR 15, sec. 3.1), which is of the same scale on any data: networks that
    train to nothing neither shrink the differences among the others nor are all that there is to learn. The papers take
    accuracies as they are (`ranked=False`); `docs/strategies.md` compares the two.

    **Updates.** Trials with an accuracy, pruned ones included, are collected as they end. Every `batch` trials update
    the policy and are then discarded. A failed trial has the lowest reward so far.

    **Asynchronous trials.** A trial's behaviour policy is the policy at the time its start is told, or its end if there
    was no start. Its log-probabilities are the denominator of PPO's ratio, however many updates lie between the start
    and the update that learns from the trial. Those updates count against the clip: a stale trial can move a
    probability no further from where the trial began than a fresh one. A batch may mix behaviour policies. REINFORCE
    corrects nothing, as in the asynchronous training of Zoph & Le.

    Departures from the papers:

    * Nothing is proposed twice. After 33 samples from the policy without a new one, the first is mutated until it is
      new; after 50 mutations, a uniform draw replaces it. The policy learns from every proposal as if it were a sample.
    * Half of the samples begin at one of the five best trials, as Go-Explore returns to the best states before it
      explores (Ecoffet et al. 2021, arXiv:2004.12919): where the choices of that trial are open they are kept, except
      for two decisions on average, which the policy takes. Tens of trials are too few for the policy alone to come near
      the best again. The policy learns from these proposals, too, as if they were samples.
    * The initial policy does not give all options the same probability, which under a budget would mean wide early
      stages and starved late ones. The initial biases are the shares of the options among 256 uniform draws.
    * Learning rates and batches suit studies of 50 to 2,000 trials; the papers had 12,800 and 20,000. By default a
      study has about 20 updates. PPO's clip lets each update raise a probability by about a fifth, and 1.2 ** 20 = 38,
      so the policy can become certain towards the end of a study but not before its middle. A batch has at least 5
      trials, since the mean of fewer is mostly noise, and 5 epochs, after which the clip leaves little to learn.

    Args:
        space: what may be proposed; if it has a budget, only what fits.
        trials: planned trials; used only for the default batch.
        algorithm: `ppo` or `reinforce`.
        batch: trials per update. By default a twentieth of `trials`, at least 5 and at most 50; 10 for 200 trials.
        epochs: steps of Adam on a batch; by default 5 for PPO, always 1 for REINFORCE.
        learning_rate: of Adam; by default 0.01 for PPO and 0.02 for REINFORCE, which takes fewer steps.
        clip: PPO's bound on the distance of the probability ratio from 1 (0.2 in the paper).
        entropy: weight of the entropy bonus, relative to advantages of unit deviation.
        gae_lambda: weight of what comes after a choice in its advantage, in [0, 1]; by default 0.8 for PPO and 1 for
            REINFORCE. At 1 there is no value function, and all choices share one advantage.
        ranked: learn from the ranks of rewards.
        baseline: decay of the moving average of rewards (0.95 in Zoph et al. 2018), which is used at `gae_lambda=1`.
        hidden: units of the LSTM (100 in Zoph et al. 2018).
        seed: of the initial weights; the same for all studies, since a study's own seed draws the proposals.
        reward: `accuracy`, or `mnasnet`, which weighs it against a cost (`mnasnet_reward`).
        target: of `mnasnet`: MACs, as a number or as in `400M`, or milliseconds, as in `8ms`, with a latency table. By
            default the upper bound of the space's budget, of its latency if it has one, else of its MACs.
        alpha: exponent of `mnasnet` up to the target.
        beta: exponent of `mnasnet` above the target.
        revisit: share of the samples that keep most choices of one of the best trials; 0 in the papers.
        repeat: propose what the policy samples, even if it was tried before. Needs a study with `replicas`, since any
            other study refuses to train a network twice.

    Raises:
        UserError: a setting is out of range, or `mnasnet` has no target.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        trials: int = 200,
        algorithm: str = "ppo",
        batch: int | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        clip: float = 0.2,
        entropy: float = 0.01,
        gae_lambda: float | None = None,
        ranked: bool = True,
        baseline: float = 0.95,
        hidden: int = 64,
        revisit: float = 0.5,
        seed: int = 0,
        reward: str = "accuracy",
        target: int | str | None = None,
        alpha: float = -0.07,
        beta: float = -0.07,
        repeat: bool = False,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise UserError(f"unknown algorithm {algorithm!r}{nearest(algorithm, ALGORITHMS)}")
        if reward not in REWARDS:
            raise UserError(f"unknown reward {reward!r}{nearest(reward, REWARDS)}")
        ppo = algorithm == "ppo"
        if batch is None:
            batch = min(max(trials // 20, 5), 50)
        if epochs is None:
            epochs = 5 if ppo else 1
        if learning_rate is None:
            learning_rate = 0.01 if ppo else 0.02
        if gae_lambda is None:
            gae_lambda = 0.8 if ppo else 1.0
        for name, value, holds, allowed in (
            ("batch", batch, batch >= 1, "must be at least 1"),
            ("epochs", epochs, epochs >= 1, "must be at least 1"),
            ("hidden", hidden, 1 <= hidden <= _MOST_UNITS, f"must be from 1 to {_MOST_UNITS:,}"),
            ("epochs", epochs, epochs == 1 or ppo, "must be 1 for reinforce, whose gradient is valid for one step"),
            ("learning_rate", learning_rate, 0 < learning_rate <= 1, "must be above 0 and at most 1"),
            ("clip", clip, 0 < clip < 1, "must be between 0 and 1"),
            ("entropy", entropy, 0 <= entropy <= 100, "must be from 0 to 100"),
            ("gae_lambda", gae_lambda, 0 <= gae_lambda <= 1, "is a fraction in [0, 1]"),
            ("baseline", baseline, 0 <= baseline < 1, "is a fraction in [0, 1)"),
            ("revisit", revisit, 0 <= revisit <= 1, "is a fraction in [0, 1]"),
            ("seed", seed, seed >= 0, "must not be negative"),
            ("alpha", alpha, -10 <= alpha <= 10, "must be from -10 to 10"),
            ("beta", beta, -10 <= beta <= 10, "must be from -10 to 10"),
        ):
            if not holds:
                raise UserError(f"{name} {allowed}, got {value}")
        self._settings: dict[str, Any] = {
            "algorithm": algorithm,
            "batch": batch,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "clip": clip,
            "entropy": entropy,
            "gae_lambda": gae_lambda,
            "ranked": ranked,
            "baseline": baseline,
            "hidden": hidden,
            "revisit": revisit,
            "seed": seed,
            "reward": reward,
            "repeat": repeat,
        }
        if reward == "mnasnet":
            self._target = _target(space, target)
            aim = self._target.most if self._target.cost == "macs" else f"{self._target.upper.normalize():f}ms"
            self._settings |= {"target": aim, "alpha": alpha, "beta": beta}
        elif target is not None:
            raise UserError(f"target is for reward=mnasnet, not for reward={reward}")

        from strategies.lstm_policy import LSTMPolicy, PolicyGradient  # torch

        self._space, self._repeat, self._batch = space, repeat, batch
        self._vocabulary = Vocabulary(space)
        draw = np.random.default_rng(seed)
        self._policy = LSTMPolicy(self._vocabulary.slots, hidden, option_shares(space, draw), draw)
        self._value = ValueFunction(self._vocabulary.slots) if gae_lambda < 1.0 else None
        self._gradient = PolicyGradient(
            self._policy, clip=clip if ppo else None, entropy=entropy, epochs=epochs, learning_rate=learning_rate
        )
        self._known: set[Architecture] = set()
        self._begun: dict[Architecture, Episode] = {}  # of running trials
        self._ended: list[tuple[Episode, float]] = []  # with their rewards, until a batch is complete
        self._rewards: list[float] = []  # of all ended trials
        self._best: list[tuple[Episode, float]] = []  # with the largest rewards, the largest first
        self._mean = self._variance = 0.0  # moving, of rewards; the first batch initializes them
        self._updates = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """Defaults resolved; the number of trials enters only through the batch."""
        return self._settings

    @property
    def updates(self) -> int:
        """Number of updates of the policy."""
        return self._updates

    def log_probability(self, architecture: Architecture) -> float:
        """Natural logarithm of the probability that the policy samples this architecture, new or not, on its own."""
        if self._vocabulary.next(()) is None:
            return 0.0
        return float(self._episode(architecture).log_probs.sum())

    def ask(self, rng: np.random.Generator) -> Architecture:
        """A sample from the policy, conditioned on being new.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        first: Architecture | None = None
        for rows in _DRAWS:
            for drawn in self._sample(rng, rows):
                if self._repeat or drawn not in self._known:
                    return drawn
                first = first or drawn
        if first is not None:
            with contextlib.suppress(UserError):  # no neighbour fits the budget
                for _ in range(_STEPS):
                    first = self._space.mutate(first, rng)
                    if first not in self._known:
                        return first
        return sample_new(self._space, () if self._repeat else self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Record the behaviour policy of a trial that starts; update the policy when a batch of trials has ended."""
        self._known.add(architecture)
        if self._vocabulary.next(()) is None:  # a space without decisions: nothing to learn
            return
        episode = self._begun.get(architecture)
        if outcome.state == "running":
            self._begun[architecture] = episode or self._episode(architecture)
            return
        self._begun.pop(architecture, None)
        if outcome.accuracy is not None:
            reward = self._reward(architecture, outcome.accuracy, outcome)
        elif self._rewards:
            reward = min(self._rewards)  # unrewarded, what cannot be trained would be proposed on and on
        else:
            return
        self._ended.append((episode or self._episode(architecture), reward))
        self._rewards.append(reward)
        self._best = sorted([*self._best, self._ended[-1]], key=lambda each: -each[1])[:_BEST]
        if len(self._ended) == self._batch:
            self._update()
            self._ended.clear()

    def _reward(self, architecture: Architecture, accuracy: float, outcome: Outcome) -> float:
        if self._settings["reward"] == "accuracy":
            return accuracy
        cost = outcome.cost or architecture.cost(self._space.task or Task())
        paid, target = cost.whole(self._target.cost), self._target.most
        return mnasnet_reward(accuracy, paid, target, self._settings["alpha"], self._settings["beta"])

    def _episode(self, architecture: Architecture) -> Episode:
        """The architecture's choices, at least one, with their log-probabilities under the present policy."""
        return self._policy.episode(*self._vocabulary.sequence(architecture))

    def _sample(self, rng: np.random.Generator, rows: int) -> list[Architecture]:
        """Architectures sampled from the policy; fewer than `rows` if a prefix cannot be completed."""
        prefixes: list[tuple[int, ...]] = [()] * rows
        writing = list(range(rows))
        token = np.full(rows, self._vocabulary.start)
        state = self._policy.first(rows)
        drawn: list[Architecture] = []
        kept = self._kept(rng, rows)  # (rows, decisions)
        while True:
            steps = {}
            for row in writing:
                step = self._vocabulary.next(prefixes[row])
                if step is None:
                    drawn.append(self._space.architecture(self._vocabulary.choices(prefixes[row])))
                elif step[1].any():
                    steps[row] = step
            writing = list(steps)
            if not writing:
                return drawn
            logits, state = self._policy.step(token, state)  # (rows, tokens)
            decisions, masks = zip(*steps.values(), strict=True)
            slots = self._vocabulary.slots[list(decisions)]  # (writing, options)
            scores = np.where(masks, np.take_along_axis(logits[writing], slots, 1), -np.inf)
            ends = np.exp(scores - scores.max(1, keepdims=True)).cumsum(1)
            uniform = rng.random(len(writing)) * ends[:, -1]
            token[writing] = slots[range(len(writing)), (ends <= uniform[:, None]).sum(1)]
            given = kept[writing, list(decisions)]
            open_to = ((slots == given[:, None]) & np.array(masks)).any(1)
            token[writing] = np.where(open_to, given, token[writing])
            for row in writing:
                prefixes[row] = (*prefixes[row], int(token[row]))

    def _kept(self, rng: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
        """The tokens of one of the best trials that a row keeps where they are open, else -1; (rows, decisions)."""
        count = len(self._space.decisions)
        kept = np.full((rows, count), -1)
        if self._updates:
            for row in np.flatnonzero(rng.random(rows) < self._settings["revisit"]).tolist():
                episode = self._best[int(rng.integers(len(self._best)))][0]
                kept[row, episode.decisions] = episode.tokens
                kept[row, rng.random(count) < _CHANGES / count] = -1
        return kept

    def _update(self) -> None:
        """Learn from the batch of ended trials."""
        episodes, rewards = [episode for episode, _ in self._ended], np.array([reward for _, reward in self._ended])
        if self._settings["ranked"]:
            rewards = _shares_below(np.array(self._rewards), rewards)
        if self._value:
            for episode, reward in zip(episodes, rewards.tolist(), strict=True):
                self._value.add(episode, reward)
            advantages = self._value.advantages(episodes, rewards, self._settings["gae_lambda"])
        else:
            advantages = self._shared_advantages(rewards)
        self._gradient.update(episodes, advantages)
        self._updates += 1

    def _shared_advantages(self, rewards: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """One for all choices of a trial, (episodes, 1), by the moving average, which moves on."""
        decay = float(self._settings["baseline"])
        if self._updates == 0:
            self._mean, self._variance = float(rewards.mean()), float(rewards.var())
        else:
            spread = float(((rewards - self._mean) ** 2).mean())
            keep = decay ** len(rewards)
            self._variance = keep * self._variance + (1 - keep) * spread
        advantages: npt.NDArray[np.float64] = (rewards - self._mean) / max(self._variance**0.5, 1e-12)
        for reward in rewards.tolist() if self._updates else ():
            self._mean = decay * self._mean + (1 - decay) * reward
        return advantages[:, None]


def _shares_below(every: npt.NDArray[np.float64], some: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of all rewards that each of some exceeds; those equal to it count half."""
    ordered = np.sort(every)
    return (np.searchsorted(ordered, some, "left") + np.searchsorted(ordered, some, "right")) / (2 * len(ordered))


def _target(space: SearchSpace, given: int | str | None) -> Bound:
    """The target of the `mnasnet` reward, in MACs or milliseconds."""
    if given is None:
        bounds = {bound.cost: bound for bound in (space.budget.bounds if space.budget else ())}
        found = bounds.get("latency_ms") or bounds.get("macs")
        if found is None:
            raise UserError(
                "reward=mnasnet needs a target, as in target=400M or target=8ms: the space has no budget in either"
            )
        return Bound(found.cost, found.upper)
    bound, *others = Budget.parse(str(given)).bounds
    if others or bound.percent or bound.lower or bound.cost not in ("macs", "latency_ms"):
        raise UserError(f"target is a number of MACs or milliseconds, as in 400M or 8ms, got {given!r}")
    refuse_unknown([bound.cost], space, space.task or Task())
    return bound
