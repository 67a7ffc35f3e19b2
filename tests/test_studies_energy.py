"""The energy of trials: a driver's counter that moves, a GPU that torch uses, and what the report makes of it."""

from __future__ import annotations

import random
import types
from dataclasses import replace

import pytest
import torch
from studies_stand_ins import Known, begin
from test_nas_report import text_of

from searchspaces import UserError
from studies import energy
from studies.pages.report import energy_text


@pytest.fixture(autouse=True)
def anew():
    energy._gpus.cache_clear()
    yield
    energy._gpus.cache_clear()


class Clock:
    """Counters of two GPUs in mJ; the second is older than Volta."""

    def __init__(self, monkeypatch):
        import pynvml

        self.reads = 0
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{'ab'[handle]}")
        monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", self.read)

    def read(self, handle):
        import pynvml

        if handle == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.reads += 1
        return 90_000 * self.reads  # 25 mWh between two reads


def uses(monkeypatch, uuid):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(uuid=uuid))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)


def test_each_trial_keeps_its_readings_however_it_ends_and_the_report_adds_them(tmp_path, monkeypatch):
    Clock(monkeypatch)
    uses(monkeypatch, "a")

    def fails(_, seed):
        if seed % 5 == 0:
            raise UserError("no")

    study = begin(tmp_path / "run", trials=20, pruner="median", estimator=Known(fails))
    study.run()
    assert {trial.state for trial in study.trials} == {"complete", "pruned", "failed"}
    assert [trial.details["energy"]["gpu"] for trial in study.trials] == ["a"] * 20
    assert energy.joules(trial.details for trial in study.trials) == (20 * 90.0, 20)
    assert "While the trials ran, their GPUs used 0.5 Wh according to the driver's counter" in energy_text(study)


@pytest.mark.parametrize("uuid", ["b", "of another machine"])
def test_a_gpu_without_a_counter_is_not_recorded(tmp_path, monkeypatch, uuid):
    Clock(monkeypatch)
    uses(monkeypatch, uuid)
    study = begin(tmp_path / "run", trials=2, estimator=Known())
    study.run()
    assert all("energy" not in trial.details for trial in study.trials)
    assert "Energy was not recorded" in text_of(energy_text(study))


def test_where_no_driver_is_nothing_is_read():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert energy.counters() == {}
    assert energy.reading({}) is None
    assert energy.reading({"a": 1.0}) is None  # torch has not used a GPU


def test_of_trials_that_overlap_nothing_is_counted_twice():
    draw = random.Random(0)
    spans = [(draw.choice("ab"), *sorted(draw.sample(range(60), 2))) for _ in range(12)]
    details = [{"energy": {"gpu": gpu, "from_j": start, "to_j": end}} for gpu, start, end in spans]
    used = {(gpu, each) for gpu, start, end in spans for each in range(start, end)}
    assert energy.joules(details) == (len(used), 12)


def test_a_counter_that_began_anew_with_its_machine_adds_to_what_it_counted_before():
    spans = [("first boot", 1000, 2000), ("second boot", 900, 1900)]
    details = [{"energy": {"gpu": "a", "boot": boot, "from_j": start, "to_j": end}} for boot, start, end in spans]
    assert energy.joules(details) == (2000.0, 2)


def test_a_trial_that_used_another_device_has_no_reading(tmp_path, monkeypatch):
    Clock(monkeypatch)
    uses(monkeypatch, "a")

    class OnCpu(Known):
        def estimate(self, architecture, context):
            return replace(super().estimate(architecture, context), details={"device": "cpu"})

    study = begin(tmp_path / "run", trials=2, estimator=OnCpu())
    study.run()
    assert all("energy" not in trial.details for trial in study.trials)


@pytest.mark.parametrize(
    "odd",
    [None, 3, {}, {"from_j": 1}, {"from_j": "1", "to_j": 2}, {"from_j": 5, "to_j": 2}, {"from_j": 0, "to_j": 10**400}],
)  # fmt: skip
def test_readings_that_a_ledger_cannot_have_are_left_out(odd):
    assert energy.joules([{"energy": odd}]) == (0.0, 0)
