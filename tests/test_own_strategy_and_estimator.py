"""A strategy and an estimator of one's own: a line in the table, or a file outside of the repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from estimators import ESTIMATORS, Estimate, ImageData, TrialContext
from searchspaces import Architecture, SearchSpace, Task
from strategies import STRATEGIES, Outcome

TASK = "32x32x3:10"


class Hillclimber:
    """Mutates the best architecture so far; uniform draws at first."""

    def __init__(self, space: SearchSpace, *, trials: int = 100, draws: int | None = None) -> None:
        self._space, self._draws = space, trials // 4 if draws is None else draws
        self._told: list[tuple[float, Architecture]] = []
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"draws": self._draws}

    def ask(self, rng: np.random.Generator) -> Architecture:
        while True:
            best = max(self._told, key=lambda each: each[0])[1] if len(self._told) >= self._draws else None
            proposal = self._space.sample(rng) if best is None else self._space.mutate(best, rng)
            if proposal not in self._known:
                return proposal

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        self._known.add(architecture)
        if outcome.accuracy is not None:
            self._told.append((outcome.accuracy, architecture))


class Parameters:
    """The more parameters, the better; no image is looked at."""

    def __init__(self, data: ImageData, device: str = "auto", most: float = 1e7) -> None:
        self._data, self._most = data, most

    def describe(self) -> dict[str, Any]:
        return {"name": "parameters", "most": self._most, "data": self._data.describe()}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        return Estimate(min(architecture.cost(self._data.task).params / self._most, 1.0), 0.0)


def test_a_line_in_each_table_makes_a_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(STRATEGIES, "hillclimber", Hillclimber)
    monkeypatch.setitem(ESTIMATORS, "parameters", Parameters)
    study = nas.search(
        "mbconv", "60M", "digits", task=TASK, trials=12, strategy="hillclimber", estimator="parameters", name="a",
        estimator_settings={"most": 5e7}, out=tmp_path,
    )  # fmt: skip
    assert study.manifest.strategy["name"] == "hillclimber"
    assert len({each.architecture for each in study.trials}) == 12
    digits = Task.parse("8x8x1:10")
    assert study.best.accuracy == max(each.architecture.cost(digits).params for each in study.trials) / 5e7
    assert nas.open_study(tmp_path / "a").best.architecture == study.best.architecture
    for given, message in (
        ({"strategy": "hillclimbr"}, "unknown strategy 'hillclimbr'; did you mean 'hillclimber'"),
        ({"strategy_settings": {"drawn": 3}}, "hillclimber has no setting 'drawn'; did you mean 'draws'"),
        ({"estimator_settings": {"least": 1}}, "parameters: unknown setting 'least'"),
    ):
        words = {"strategy": "hillclimber", "estimator": "parameters", "name": "b", "out": tmp_path, **given}
        with pytest.raises(nas.UserError, match=message):
            nas.search("mbconv", "60M", "digits", task=TASK, trials=12, **words)


def test_a_file_outside_of_the_repository_makes_the_same_search(nas_cli: Any, tmp_path: Path) -> None:
    text = Path(__file__).read_text()
    (tmp_path / "own.py").write_text(text[: text.index("def test_")])
    with (tmp_path / "own.py").open("a") as file:
        file.write("\nfrom estimators import load_data\n_DIGITS = load_data('digits')\n")
        file.write("def parameters(most=1e7):\n    return Parameters(_DIGITS, most=most)\n")
    own = [f"--strategy={tmp_path}/own.py:Hillclimber", f"--estimator={tmp_path}/own.py:parameters"]
    said = nas_cli(
        "search", "--budget", "60M", "--task", TASK, "--trials", 12, "--name", "a", "--out", tmp_path, *own,
        "--set", "strategy.draws=3", "--set", "estimator.most=50000000", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert said.json()["trials"]["complete"] == 12
    study = nas.search(
        "mbconv", "60M", task=TASK, trials=12, strategy=Hillclimber, strategy_settings={"draws": 3},
        estimator=f"{tmp_path}/own.py:parameters", estimator_settings={"most": 5e7}, name="b", out=tmp_path,
    )  # fmt: skip
    again = nas_cli("show", tmp_path / "a", "--json")
    assert again.code == 0, again.err
    assert again.json()["best"]["accuracy"] == study.best.accuracy
