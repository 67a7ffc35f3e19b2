"""The RL controller: an LSTM writes the architecture decision by decision, and learns from the accuracy it reached.

Zoph & Le 2017, *Neural Architecture Search with Reinforcement Learning*, arXiv:1611.01578, sec. 3.1 and 3.2 (the LSTM;
REINFORCE with a moving-average baseline); Zoph et al. 2018, arXiv:1707.07012, app. A.2 (PPO in its place); Schulman et
al. 2017, arXiv:1707.06347, eq. 7 (the clipped ratio). Left out: anchor points for skip connections, which are decisions
like any other here, the parameter servers, and a learnt value function, which neither paper on architectures has.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from searchspaces import Bound, Budget, Task, UserError, nearest
from searchspaces.latency import refuse_unknown
from strategies.novelty import sample_new

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome

Floats = npt.NDArray[np.float64]

ALGORITHMS: Final = ("ppo", "reinforce")
REWARDS: Final = ("accuracy", "mnasnet")
_DRAWS: Final = (1, 8, 24)  # architectures drawn from the policy, at once, until one is new
_STEPS: Final = 50  # mutations, at most, of a draw that is not
_REMEMBERED: Final = 1 << 16  # prefixes whose open options are remembered; 30 MB or so
_FITTED: Final = 256  # uniform draws that the first policy is fitted to
_EMBEDDING: Final = 32  # numbers that a choice is read as


def mnasnet_reward(accuracy: float, cost: float, target: float, alpha: float = -0.07, beta: float = -0.07) -> float:
    """Accuracy times (cost / target) ** w, where w is `alpha` up to the target and `beta` above.

    Tan et al. 2019, arXiv:1807.11626, eq. 2 and 3; the cost is latency as there, or MACs in its place. Their soft form
    has -0.07 twice: twice the cost pays off from 5 % more accuracy (relative). Their hard form has 0 and -1.

    >>> round(mnasnet_reward(0.75, 400e6, 200e6), 4)  # 0.75 * 2 ** -0.07
    0.7145
    >>> mnasnet_reward(0.75, 100e6, 200e6, alpha=0, beta=-1), mnasnet_reward(0.75, 400e6, 200e6, alpha=0, beta=-1)
    (0.75, 0.375)
    """
    return float(accuracy * (cost / target) ** (alpha if cost <= target else beta))


@final
class RLController:
    """An LSTM policy trained by PPO or REINFORCE.

    Each active decision is one step: the LSTM reads the choice before, and a softmax of the decision's own gives the
    probabilities of its options. Options after which no network of the space fits the budget have probability zero; the
    policy, its log-probabilities and its entropy are those of what remains. Each choice is an action; the reward comes
    at the end and is not discounted, so all choices of a trial share one advantage: the reward less a moving average of
    rewards, in units of a moving deviation, so that the entropy bonus means the same on any data.

    **When it learns.** Trials with an accuracy, pruned ones included, are collected as they end; with every `batch` of
    them the policy is updated, and they are forgotten. Failed trials teach nothing.

    **Asks ahead of tells.** A trial's behaviour policy is the policy at the moment when its start is told, or its end
    where no start was. Its log-probabilities are the denominator of PPO's ratio, however many updates lie between the
    start and the update that learns from it (its *staleness*): what moved the policy meanwhile counts against the clip,
    so that a stale trial can pull a choice at most as far as a fresh one, measured from where it began. A batch may mix
    behaviour policies. REINFORCE corrects nothing, as in the asynchronous training of Zoph & Le.

    Departures from the papers:

    * Nothing is proposed twice: after 33 draws from the policy without a new one, the first is mutated until it is new,
      and after 50 steps a uniform draw takes its place. Learning takes every proposal as if the policy had drawn it.
    * The first policy does not give every option the same chance, which under a budget means large early stages and
      starved late ones: the biases of its softmaxes are the shares of options among 256 uniform draws of the space.
    * Learning rates and batches are for studies of 50 to 2,000 trials, where the papers had 12,800 and 20,000: by
      default a study has 20 updates or so. PPO's clip lets each raise a chance by a fifth or a little more, and
      1.2 ** 20 = 38, so that a policy can be sure at the end and not before the middle. A batch has at least 5 trials,
      below which its mean is mostly noise, and is gone through 5 times, after which the clip leaves little to learn.

    Args:
        space: what may be proposed; a budget is its business.
        trials: how many the study plans; gives the default batch, and nothing else.
        algorithm: `ppo` or `reinforce`.
        batch: trials per update. By default a twentieth of `trials`, at least 5 and at most 50; 10 for 200 trials.
        epochs: steps of Adam on a batch; by default 5 for PPO, always 1 for REINFORCE.
        learning_rate: of Adam; by default 0.01 for PPO and 0.02 for REINFORCE, which takes fewer steps.
        clip: how far PPO's ratio of a choice may leave 1 (0.2 in the paper).
        entropy: weight of the bonus for entropy, beside advantages of deviation 1.
        baseline: share of the moving average of rewards that is kept at each trial (0.95 in Zoph et al. 2018).
        hidden: units of the LSTM (100 in Zoph et al. 2018).
        seed: of the first weights; the same for every study, since the studies' own seeds draw the proposals.
        reward: `accuracy`, or `mnasnet`: see `mnasnet_reward`.
        target: of `mnasnet`, in MACs, as a number or as in `400M`, or in milliseconds, as in `8ms`, where a latency
            table tells them; by default the upper bound of the space's budget, of its latency rather than its MACs.
        alpha: exponent of `mnasnet` up to the target.
        beta: exponent of `mnasnet` above the target.
        repeat: propose what the policy draws, tried or not. A study promises to train nothing twice: this is asking for
            such repetitions.

    Raises:
        UserError: a setting out of range, or `mnasnet` without a target.
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
        baseline: float = 0.95,
        hidden: int = 64,
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
        for name, value in (("batch", batch), ("epochs", epochs), ("hidden", hidden)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if epochs != 1 and not ppo:
            raise UserError(f"epochs must be 1 for reinforce, whose gradient holds for one step, got {epochs}")
        if learning_rate <= 0:
            raise UserError(f"learning_rate must be positive, got {learning_rate}")
        if not 0.0 < clip < 1.0:
            raise UserError(f"clip must be between 0 and 1, got {clip}")
        if entropy < 0:
            raise UserError(f"entropy must not be negative, got {entropy}")
        if not 0.0 <= baseline < 1.0:
            raise UserError(f"baseline is a share in [0, 1), got {baseline}")
        if seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        self._settings: dict[str, Any] = {
            "algorithm": algorithm,
            "batch": batch,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "clip": clip,
            "entropy": entropy,
            "baseline": baseline,
            "hidden": hidden,
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
        self._space = space
        self._ppo, self._batch, self._epochs, self._repeat = ppo, batch, epochs, repeat
        self._clip, self._entropy, self._keep = clip, entropy, baseline
        self._book = _Book(space)
        draw = np.random.default_rng(seed)
        with _quietly():
            self._policy = _Policy(self._book.slots, hidden, _shares(space, draw), draw)
            self._adam = _Adam(list(self._policy.weights.values()), learning_rate)
        self._known: set[Architecture] = set()
        self._begun: dict[Architecture, _Trial] = {}  # of running trials
        self._ended: list[tuple[_Trial, float]] = []  # with their rewards, waiting for a batch
        self._mean = self._variance = 0.0  # of rewards, moving; of the first batch before there is a moving one
        self._updates = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """As resolved; the number of trials is in them only through the batch."""
        return self._settings

    @property
    def updates(self) -> int:
        """How often the policy was updated."""
        return self._updates

    def log_probability(self, architecture: Architecture) -> float:
        """Natural logarithm of the chance that the policy's next draw is this architecture, new or not."""
        with _quietly():
            return float(self._started(architecture).log_probs.sum())

    def ask(self, rng: np.random.Generator) -> Architecture:
        """What the policy draws, given that it is new.

        Raises:
            Exhausted: every architecture of the space was tried.
        """
        first: Architecture | None = None
        for rows in _DRAWS:
            for drawn in self._draw(rng, rows):
                if self._repeat or drawn not in self._known:
                    return drawn
                first = first or drawn
        if first is not None:
            with contextlib.suppress(UserError):  # nothing near it fits
                for _ in range(_STEPS):
                    first = self._space.mutate(first, rng)
                    if first not in self._known:
                        return first
        return sample_new(self._space, () if self._repeat else self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """A start fixes the trial's behaviour policy; with the last accuracy of a batch, the policy is updated."""
        self._known.add(architecture)
        with _quietly():
            trial = self._begun.get(architecture)
            if outcome.state == "running":
                self._begun[architecture] = trial or self._started(architecture)
                return
            self._begun.pop(architecture, None)
            if outcome.accuracy is None:
                return
            reward = self._reward(architecture, outcome.accuracy, outcome)
            self._ended.append((trial or self._started(architecture), reward))
            if len(self._ended) == self._batch:
                self._update()
                self._ended.clear()

    def _reward(self, architecture: Architecture, accuracy: float, outcome: Outcome) -> float:
        if self._settings["reward"] == "accuracy":
            return accuracy
        cost = outcome.cost or architecture.cost(self._space.task or Task())
        paid, target = cost.whole(self._target.cost), self._target.most
        return mnasnet_reward(accuracy, paid, target, self._settings["alpha"], self._settings["beta"])

    def _started(self, architecture: Architecture) -> _Trial:
        """The architecture as the policy would write it now."""
        tokens, decisions, masks = self._book.written(architecture)
        batch = _Batch.of([_Trial(tokens, decisions, masks, np.zeros(len(tokens)))])
        with torch.no_grad():
            taken, _ = self._policy.log_probs(batch)  # (1, steps)
        return _Trial(tokens, decisions, masks, taken[0].numpy())

    def _draw(self, rng: np.random.Generator, rows: int) -> list[Architecture]:
        """Architectures drawn from the policy; fewer than asked for where a prefix turns out to lead nowhere."""
        prefixes: list[tuple[int, ...]] = [()] * rows
        writing = list(range(rows))
        token = np.full(rows, self._book.start)
        state = self._policy.first(rows)
        drawn: list[Architecture] = []
        while True:
            steps = {}
            for row in writing:
                step = self._book.next(prefixes[row])
                if step is None:
                    drawn.append(self._space.architecture(self._book.choices(prefixes[row])))
                elif step[1].any():
                    steps[row] = step
            writing = list(steps)
            if not writing:
                return drawn
            logits, state = self._policy.step(token, state)  # (rows, tokens)
            decisions, masks = zip(*steps.values(), strict=True)
            slots = self._book.slots[list(decisions)]  # (writing, options)
            scores = np.where(masks, np.take_along_axis(logits[writing], slots, 1), -np.inf)
            ends = np.exp(scores - scores.max(1, keepdims=True)).cumsum(1)
            uniform = rng.random(len(writing)) * ends[:, -1]
            token[writing] = slots[range(len(writing)), (ends <= uniform[:, None]).sum(1)]
            for row in writing:
                prefixes[row] = (*prefixes[row], int(token[row]))

    def _update(self) -> None:
        """Learn from the trials that ended, and move the baseline on."""
        rewards = np.array([reward for _, reward in self._ended])
        if self._updates == 0:
            self._mean, self._variance = float(rewards.mean()), float(rewards.var())
        else:
            spread = float(((rewards - self._mean) ** 2).mean())
            keep = self._keep ** len(rewards)
            self._variance = keep * self._variance + (1 - keep) * spread
        advantages = (rewards - self._mean) / max(self._variance**0.5, 1e-12)
        for reward in rewards.tolist() if self._updates else ():
            self._mean = self._keep * self._mean + (1 - self._keep) * reward
        batch = _Batch.of([trial for trial, _ in self._ended])
        for _ in range(self._epochs):
            with torch.enable_grad():
                taken, entropy = self._policy.log_probs(batch)  # (trials, steps)
                gained = (
                    ppo_objective(taken, batch.log_probs, torch.from_numpy(advantages), batch.there, self._clip)
                    if self._ppo
                    else reinforce_objective(taken, torch.from_numpy(advantages), batch.there)
                )
                bonus = (entropy * batch.there).sum(1).mean()
                gradients = torch.autograd.grad(-gained - self._entropy * bonus, self._adam.weights)
            self._adam.step(gradients)
        self._updates += 1


def ppo_objective(taken: Tensor, behaviour: Tensor, advantages: Tensor, there: Tensor, clip: float) -> Tensor:
    """The clipped surrogate of Schulman et al. 2017, eq. 7, summed over a trial's choices, in the mean of trials.

    Args:
        taken: log-probabilities of the choices under the policy; (trials, steps).
        behaviour: the same under each trial's behaviour policy.
        advantages: (trials,).
        there: 1 for a choice, 0 beyond a trial's end; (trials, steps).
        clip: how far the ratio may leave 1.
    """
    ratio = (taken - behaviour).exp()
    gain = advantages[:, None]
    return (torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain) * there).sum(1).mean()


def reinforce_objective(taken: Tensor, advantages: Tensor, there: Tensor) -> Tensor:
    """Its gradient is Zoph & Le's estimate of the policy gradient, sec. 3.2; arguments as in `ppo_objective`."""
    return (advantages[:, None] * taken * there).sum(1).mean()


@dataclass(frozen=True, eq=False, slots=True)
class _Trial:
    """An architecture as a policy writes it.

    Attributes:
        tokens: what was chosen, step by step; (steps,).
        decisions: what it was chosen for; (steps,).
        masks: which options were open; (steps, options).
        log_probs: of the choices under the behaviour policy; (steps,).
    """

    tokens: npt.NDArray[np.int64]
    decisions: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]
    log_probs: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class _Batch:
    """Trials side by side; beyond a trial's end stands a choice among one option, which has no gradient."""

    tokens: Tensor  # (trials, steps)
    decisions: Tensor  # (trials, steps)
    masks: Tensor  # (trials, steps, options)
    log_probs: Tensor  # (trials, steps)
    there: Tensor  # (trials, steps)

    @staticmethod
    def of(trials: Sequence[_Trial]) -> _Batch:
        shape = len(trials), max(len(trial.tokens) for trial in trials)
        tokens, decisions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        masks = np.zeros((*shape, trials[0].masks.shape[1]), np.bool_)
        masks[:, :, 0] = True
        log_probs, there = np.zeros(shape), np.zeros(shape)
        for row, trial in enumerate(trials):
            steps = len(trial.tokens)
            tokens[row, :steps], decisions[row, :steps] = trial.tokens, trial.decisions
            masks[row, :steps], log_probs[row, :steps], there[row, :steps] = trial.masks, trial.log_probs, 1.0
        return _Batch(*map(torch.from_numpy, (tokens, decisions, masks, log_probs, there)))


class _Book:
    """Choices as tokens: whole numbers, one for each option of each decision; and what is open after some of them.

    Attributes:
        slots: the token of each option; (decisions, most options), -1 where there is none.
        start: the token that stands before the first choice.
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
        """What they stand for."""
        return dict(self._pairs[token] for token in tokens)

    def next(self, prefix: tuple[int, ...]) -> tuple[int, npt.NDArray[np.bool_]] | None:
        """The first open decision and which of its options are open, (options,); None when all is chosen."""
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

    def written(
        self, architecture: Architecture
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Tokens, decisions and masks of an architecture, in the order in which the policy writes it."""
        chosen = architecture.choices
        tokens: list[int] = []
        decisions: list[int] = []
        masks: list[npt.NDArray[np.bool_]] = []
        while (step := self.next(tuple(tokens))) is not None:
            name = self._space.decisions[step[0]].name
            tokens.append(self._tokens[name, chosen[name]])
            decisions.append(step[0])
            # A member's own choice is open, also where the space, whose search is bounded, did not find it to be.
            masks.append(step[1] | (self.slots[step[0]] == tokens[-1]))
        return np.array(tokens), np.array(decisions), np.stack(masks)


class _Policy:
    """The LSTM; its weights are the only thing that is learnt.

    Args:
        slots: tokens of the options of each decision; (decisions, options).
        hidden: units.
        shares: chances of the options that the first policy has, for each token.
        draw: gives the first weights.
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
        self.weights = {name: torch.from_numpy(value).requires_grad_() for name, value in first.items()}
        self._views = first  # the same memory, which steps of Adam write to
        self._slots = torch.from_numpy(slots.clip(0))
        self._hidden = hidden

    def first(self, rows: int) -> tuple[Floats, Floats]:
        """The state before the first choice: twice (rows, hidden)."""
        return np.zeros((rows, self._hidden)), np.zeros((rows, self._hidden))

    def step(self, token: npt.NDArray[np.int64], state: tuple[Floats, Floats]) -> tuple[Floats, tuple[Floats, Floats]]:
        """Read the choices before, (rows,); give logits of all tokens, (rows, tokens), and the state after.

        What `log_probs` does for whole trials, in numpy, which takes a tenth of torch's time for a few rows.
        """
        weights = self._views
        read = weights["embedding"][token] @ weights["w_in"].T + state[0] @ weights["w_back"].T
        gates = read + weights["b_in"] + weights["b_back"]  # (rows, 4 * hidden): in, forget, cell, out, as torch has it
        enter, forget, cell, leave = gates.reshape(len(token), 4, self._hidden).swapaxes(0, 1)
        memory = _sigmoid(forget) * state[1] + _sigmoid(enter) * np.tanh(cell)
        output = _sigmoid(leave) * np.tanh(memory)
        return output @ weights["head"].T + weights["bias"], (output, memory)

    def log_probs(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities of a batch's choices, and entropies of what they were drawn from; each (trials, steps)."""
        weights = self.weights
        start = torch.full_like(batch.tokens[:, :1], len(weights["bias"]))
        read = weights["embedding"][torch.cat([start, batch.tokens[:, :-1]], 1)]  # (trials, steps, embedding)
        first = [torch.from_numpy(each)[None] for each in self.first(len(read))]  # (1 layer, trials, hidden) each
        cell = [weights[name] for name in ("w_in", "w_back", "b_in", "b_back")]
        outputs, _, _ = torch.lstm(read, first, cell, True, 1, 0.0, True, False, True)  # (trials, steps, hidden)
        logits = outputs @ weights["head"].T + weights["bias"]  # (trials, steps, tokens)
        slots = self._slots[batch.decisions]  # (trials, steps, options)
        closed = ~batch.masks
        every = logits.gather(2, slots).masked_fill(closed, -torch.inf).log_softmax(2)
        chosen = ((slots == batch.tokens[:, :, None]) & batch.masks).to(torch.int64).argmax(2, keepdim=True)
        entropy = -(every.exp() * every.masked_fill(closed, 0.0)).sum(2)
        return every.gather(2, chosen)[:, :, 0], entropy


def _sigmoid(values: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-values))
    return result


class _Adam:
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1. torch's own imports its compiler at the first step: seconds."""

    def __init__(self, weights: Sequence[Tensor], rate: float) -> None:
        self.weights = weights
        self._rate = rate
        self._steps = 0
        self._moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move against the gradients."""
        self._steps += 1
        with torch.no_grad():
            for weight, gradient, (first, second) in zip(self.weights, gradients, self._moments, strict=True):
                first.lerp_(gradient, 1 - 0.9)
                second.lerp_(gradient**2, 1 - 0.999)
                unbiased = (second / (1 - 0.999**self._steps)).sqrt_().add_(1e-8)
                weight.sub_(first / unbiased, alpha=self._rate / (1 - 0.9**self._steps))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """One thread, so that sums have one order on every machine, and no mode; afterwards all is as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.set_num_threads(threads)


def _shares(space: SearchSpace, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Of the options of each decision among uniform draws where it is active; one is added to each count; (tokens,)."""
    vectors = np.stack([space.encode(space.sample(rng)) for _ in range(_FITTED)])  # (draws, decisions)
    shares = []
    for index, decision in enumerate(space.decisions):
        counts = 1.0 + np.bincount(vectors[:, index] + 1, minlength=len(decision.options) + 1)[1:]
        shares.append(counts / counts.sum())
    return np.concatenate(shares)


def _target(space: SearchSpace, given: int | str | None) -> Bound:
    """What `mnasnet` aims at: so many MACs, or milliseconds."""
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
