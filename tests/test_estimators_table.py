"""Laws of the table of accuracies and of the table of names."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from estimators import ESTIMATORS, Estimate, Estimator, ShortTraining, TableEstimator, TrialContext, make_estimator
from searchspaces import SPACES, UserError

MACRO = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "nas-bench-macro.json"


def named(name: str) -> SimpleNamespace:
    """Stands for an architecture whose text form is the given one."""
    return SimpleNamespace(to_json=lambda: name)


def table(path: Path, content: object, **settings: object) -> TableEstimator:
    file = path / "table.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return make_estimator(f"table:{file}", **settings)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("entry", "unit", "expected"),
    [
        ([0.5, 0.25], "fraction", {0.5, 0.25}),
        ({"test_acc": [50, 25.0]}, "percent", {0.5, 0.25}),
        (1, "fraction", {1.0}),
    ],
)
def test_an_estimate_is_one_of_the_recorded_accuracies_chosen_by_the_seed(tmp_path, entry, unit, expected):
    estimator = table(tmp_path, {"a": entry}, unit=unit)
    drawn = [estimator.estimate(named("a"), TrialContext(seed)).accuracy for seed in range(30)]
    assert set(drawn) == expected
    assert drawn == [estimator.estimate(named("a"), TrialContext(seed)).accuracy for seed in range(30)]


def test_a_training_is_the_recorded_accuracy_of_that_number_whatever_the_seed(tmp_path):
    entries = {"a": [0.1, 0.2, 0.3], "b": [0.4, 0.5]}
    second = table(tmp_path, entries, training=2)
    assert [second.estimate(named(each), TrialContext(7)).accuracy for each in ("a", "b", "a")] == [0.2, 0.5, 0.2]
    assert second.describe() == {**table(tmp_path, entries).describe(), "training": 2}
    with pytest.raises(UserError, match="entry 'b' holds fewer accuracies than 3"):
        table(tmp_path, entries, training=3)
    for wrong in (0, True, "first"):
        with pytest.raises(UserError, match="training must be a whole number of at least 1"):
            table(tmp_path, entries, training=wrong)


def test_the_mean_is_of_what_is_recorded(tmp_path):
    estimator = table(tmp_path, {"a": [10.0, 20.0, 60.0]}, unit="percent")
    assert estimator.mean(named("a")) == pytest.approx(0.3)
    assert estimator.mean(named("b")) is None


@pytest.mark.parametrize(("entries", "noisy"), [({"a": 0.1, "b": [0.2]}, False), ({"a": 0.1, "b": [0.2, 0.3]}, True)])
def test_a_table_says_whether_accuracies_of_a_network_differ(tmp_path, entries, noisy):
    assert table(tmp_path, entries).noisy is noisy


def test_recorded_accuracies_are_drawn_alike(tmp_path):
    estimator = table(tmp_path, {"a": [0.1, 0.2, 0.3]})
    drawn = [estimator.estimate(named("a"), TrialContext(seed)).accuracy for seed in range(1200)]
    # 400 each, sd sqrt(1200 * 1/3 * 2/3) = 16.3; the band is 6 sd.
    assert all(abs(drawn.count(each) - 400) < 98 for each in (0.1, 0.2, 0.3))


def test_an_architecture_is_looked_up_by_its_text_form_or_by_a_key_of_ones_own(tmp_path):
    space = SPACES["mbconv"]()
    architecture = space.sample(np.random.default_rng(0))
    assert table(tmp_path, {architecture.to_json(): 0.5}).estimate(architecture, TrialContext(0)).accuracy == 0.5

    def activation(each):
        return str(each.choices["act"])

    by_key = table(tmp_path, {architecture.choices["act"]: 0.25}, key=activation)
    assert by_key.estimate(architecture, TrialContext(0)).accuracy == 0.25
    assert by_key.describe()["key"].endswith("activation")
    with pytest.raises(UserError, match="has no entry 'b'"):
        by_key.estimate(SimpleNamespace(choices={"act": "b"}), TrialContext(0))


def test_the_hash_of_a_table_is_of_the_bytes_that_were_read(tmp_path, monkeypatch):
    reads: list[bytes] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: reads.append(read(file)) or reads[-1])
    described = table(tmp_path, '{"a":\r\n0.5}').describe()
    assert reads == [b'{"a":\r\n0.5}']
    assert described["sha256"] == hashlib.sha256(reads[0]).hexdigest()


def test_a_table_says_which_file_it_is(tmp_path):
    described = table(tmp_path, {"a": [50.0]}, unit="percent").describe()
    digest = hashlib.sha256((tmp_path / "table.json").read_bytes()).hexdigest()
    assert described.items() >= {"name": "table", "file": "table.json", "sha256": digest, "unit": "percent"}.items()
    assert json.loads(json.dumps(described)) == described
    assert table(tmp_path, {"a": [51.0]}, unit="percent").describe() != described


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("{", {}, "is not JSON"),
        ("[" * 100_000, {}, "is not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), {}, "is not JSON"),
        ("key,test_acc\n00,0.5\n", {}, "is not JSON .* must hold one JSON object of entries, as in {"),
        ('{"a": 0.5}\n{"b": 0.6}\n', {}, r"is not JSON \(Extra data.*\); it must hold one JSON object of entries"),
        ('{"a": 0.5, "b": 0.8, "b": 0.9}', {}, "has the key 'b' twice"),
        ('{"a": {"test_acc": 0.5, "test_acc": 0.6}}', {}, "has the key 'test_acc' twice"),
        ([1], {}, "one JSON object"),
        ({}, {}, "at least one"),
        ({"a": []}, {}, "'a' holds no accuracy"),
        ({"a": [True]}, {}, "holds True, which is not an accuracy"),
        ({"a": ["0.5"]}, {}, "holds '0.5', which is not an accuracy"),
        ('{"a": [NaN]}', {}, "holds nan, which is not an accuracy"),
        ({"a": [50.0]}, {}, r"outside 0 to 1 \(fraction\); is it 'percent'\?"),
        ({"a": [150.0]}, {"unit": "percent"}, "outside 0 to 100"),
        ({"a": [-0.1]}, {}, "outside 0 to 1"),
        ({"a": [0.93], "b": [0.91]}, {"unit": "percent"}, "no accuracy is above 1 percent; are they fractions"),
        ({"a": {"test_accuracy": [0.5]}}, {}, "has no 'test_acc'; did you mean 'test_accuracy'"),
        ({"a": [0.5]}, {"unit": "percents"}, "unknown unit 'percents'; did you mean 'percent'"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, content, settings, message):
    with pytest.raises(UserError, match=message):
        table(tmp_path, content, **settings)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read the table"):
        make_estimator(f"table:{tmp_path / 'nothing.json'}")


@pytest.mark.skipif(not MACRO.exists(), reason="NAS-Bench-Macro is not at ../shared/data/nas-bench-macro.json")
def test_nas_bench_macro_is_read_and_answers_thousands_of_times_a_second():
    estimator = TableEstimator(MACRO, unit="percent")
    best = named("22212220")  # its record: 93.13 mean, the best of the table (../shared/data/README.md)
    observed = {estimator.estimate(best, TrialContext(seed)).accuracy for seed in range(50)}
    assert len(observed) == 3
    assert 0.92 < min(observed) < max(observed) < 0.94
    start = time.process_time()
    for seed in range(2000):
        estimator.estimate(best, TrialContext(seed))
    assert 2000 / (time.process_time() - start) > 2000


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_says_its_name_and_settings_in_json(tmp_path, name):
    file = tmp_path / "table.json"
    file.write_text('{"a": 0.5}')
    estimator = make_estimator(f"{name}:{file}" if name == "table" else name)
    assert isinstance(estimator, Estimator)
    assert estimator.describe()["name"] == name
    assert json.loads(json.dumps(estimator.describe())) == estimator.describe()


def test_data_size_settings_and_device_reach_the_training():
    estimator = make_estimator("short-training", data="digits", device="cpu", image_size=12, epochs=3)
    assert isinstance(estimator, ShortTraining)
    assert (estimator.device, estimator.epochs, estimator.data.task.image_size) == ("cpu", 3, 12)
    assert make_estimator("short-training", data=estimator.data).describe()["image_size"] == 12


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("short-trainig", {}, "unknown estimator 'short-trainig'; did you mean 'short-training'"),
        ("short-training:x", {}, "unknown estimator 'short-training:x'"),
        ("table", {}, "needs its file: table:FILE.json"),
        ("short-training", {"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'"),
        ("table:x.json", {"units": "percent"}, "unknown setting 'units'; did you mean 'unit'"),
        ("short-training", {"device": "gpu"}, "unknown device 'gpu'"),
        ("short-training", {"data": "nowhere"}, "no data at 'nowhere'"),
    ],
)
def test_unknown_names_and_settings_are_refused_with_the_nearest(name, settings, message):
    with pytest.raises(UserError, match=message):
        make_estimator(name, **settings)


def test_an_accuracy_is_a_fraction():
    for accuracy in (-0.1, 1.1, 93.0, float("nan")):
        with pytest.raises(ValueError, match="accuracy must be in"):
            Estimate(accuracy, 1.0)


def test_importing_estimators_imports_nothing_heavy():
    code = "import sys, estimators; print([each for each in sys.argv[1:] if each in sys.modules])"
    heavy = ["torch", "sklearn", "PIL", "datasets", "pandas", "optuna", "scipy"]
    said = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
