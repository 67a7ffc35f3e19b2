"""Other people's searches, in an environment of their own: this file is run by that environment's Python.

    python3.11 -m venv peers && peers/bin/pip install --no-deps -r benchmarks/peers.txt
    nas bench-strategies --strategies guided,peer:nni-evolution --peers-python peers/bin/python ...
    python -m benchmarks.regret --peers peers/bin/python

NNI 3.0 and Syne Tune want older packages than ours, so `elsewhere` talks to them through pipes, one JSON value a line:

    to here    {"search": "nni-evolution", "settings": {...}, "digits": [3, 3, 2], "trials": 200, "seed": 1}
    from here  [0, 2, 1]      what is tried: for each decision, the place of its option
    to here    0.912          its accuracy; 0 where it does not fit the budget, of which these searches know nothing
    ...                       until all trials are spent, and then
    from here  null

and the next search may be asked for. Needs nothing of this repository.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

Observe = Callable[[list[int]], float]  # digits to accuracy


def syne_tune_evolution(observe: Observe, digits: list[int], trials: int, seed: int, **settings: Any) -> None:
    """Syne Tune's regularized evolution."""
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.searchers.regularized_evolution import RegularizedEvolution

    space = {f"digit{i}": choice(list(range(n))) for i, n in enumerate(digits)}
    search = RegularizedEvolution(space, random_seed=seed, **settings)
    for number in range(trials):
        config = search.suggest()
        accuracy = observe([int(config[name]) for name in space])
        search.on_trial_complete(number, config, -accuracy)  # it minimizes


def nni(make: Callable[..., Any], observe: Observe, digits: list[int], trials: int) -> None:
    """A strategy of NNI through its own engine, on a space that has nothing but choices."""
    from nni.mutable import Categorical, MutableDict
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import ExecutableModelSpace, ModelStatus

    class Digits(ExecutableModelSpace):  # type: ignore[misc]  # NNI is not installed here
        evaluator = None
        sample: dict[str, int]

        def __init__(self, mutables: Any) -> None:
            super().__init__()
            self.mutables = mutables

        def check_contains(self, sample: Any) -> Any:
            return self.mutables.check_contains(sample)

        def leaf_mutables(self, is_leaf: Any) -> Any:
            yield from self.mutables.leaf_mutables(is_leaf)

        def freeze(self, sample: Any) -> Digits:
            self.validate(sample)
            frozen = Digits(self.mutables)
            frozen.status, frozen.sample = ModelStatus.Frozen, dict(sample)
            return frozen

        def execute(self) -> None:
            self.metrics.final = observe([self.sample[name] for name in names])

    names = [f"digit{i}" for i in range(len(digits))]
    options = {name: Categorical(list(range(n)), label=name) for name, n in zip(names, digits, strict=True)}
    make()(Digits(MutableDict(options)), SequentialExecutionEngine(max_model_count=trials))


def nni_evolution(observe: Observe, digits: list[int], trials: int, seed: int, **settings: Any) -> None:
    """NNI's `RegularizedEvolution`; it never repeats a choice of digits."""
    from nni.nas.strategy import RegularizedEvolution

    nni(lambda: RegularizedEvolution(seed=seed, **settings), observe, digits, trials)


def nni_rl(observe: Observe, digits: list[int], trials: int, seed: int, **settings: Any) -> None:
    """NNI's `PolicyBasedRL`: PPO on an LSTM."""
    from nni.nas.strategy import PolicyBasedRL

    nni(lambda: PolicyBasedRL(**settings), observe, digits, trials)


SEARCHES = {"syne-tune-evolution": syne_tune_evolution, "nni-evolution": nni_evolution, "nni-rl": nni_rl}


def main() -> None:
    """Answer until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the packages print is no answer
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for line in sys.stdin:
        asked = json.loads(line)
        seed_all(asked["seed"])

        def observe(tried: list[int]) -> float:
            print(json.dumps(tried), file=answers)
            return float(json.loads(sys.stdin.readline()))

        SEARCHES[asked["search"]](observe, asked["digits"], asked["trials"], asked["seed"], **asked["settings"])
        print("null", file=answers)


def seed_all(seed: int) -> None:
    """Both draw from global generators, Syne Tune its first population and NNI's policy everything."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
