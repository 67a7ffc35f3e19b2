"""The default engine: one trial on each core, in how many processes, and what happens where it cannot be."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from estimators import Estimate, ShortTraining, load_data, machine
from searchspaces import UserError, load_object
from studies.engine import Job
from studies.every_core import EveryCore, cores
from studies.ray.cluster import RayUnavailableError, connected, settings_of_ray


@dataclass
class Threaded:
    """An estimator of so many threads, without a training."""

    threads: int = 1
    device: str = "cpu"

    def describe(self) -> dict[str, Any]:
        return {"name": "threaded"}

    def estimate(self, architecture: Any, context: Any) -> Estimate:
        return Estimate(0.5, 0.0)


class Silent:
    """An estimator that says nothing of its threads."""

    describe, estimate = Threaded.describe, Threaded.estimate


@pytest.mark.parametrize(
    ("given", "estimator", "memory_gb", "count"),
    [
        ("1", Threaded(), 64, 1),
        ("16", Threaded(), 64, 16),
        ("16", Threaded(threads=4), 64, 4),
        ("3", Threaded(threads=4), 64, 1),
        ("16", Threaded(), 8, 4),  # half of the memory, one GiB each
        ("16", Threaded(), 1, 1),
        ("16", Silent(), 64, 1),
    ],
)
def test_there_are_as_many_as_cores_and_memory_hold(monkeypatch, given, estimator, memory_gb, count):
    monkeypatch.setenv("NAS_CORES", given)
    monkeypatch.setattr(machine, "memory_bytes", lambda: memory_gb << 30)
    assert EveryCore("cpu").workers_for(estimator) == count
    assert EveryCore("cpu", workers=3).workers_for(estimator) == 3
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert EveryCore("cpu").workers_for(estimator) == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "many", ""])
def test_a_wrong_number_of_cores_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("NAS_CORES", wrong)
    with pytest.raises(UserError, match="NAS_CORES must be a number of cores, at least 1"):
        cores()


def test_where_ray_counts_fewer_cores_there_are_fewer_workers_unless_a_number_was_given(monkeypatch):
    from studies.ray.engine import RayEngine

    monkeypatch.setenv("NAS_CORES", "16")
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 << 30)
    four = [{"Alive": True, "Resources": {"CPU": 4.0}}]
    monkeypatch.setattr(RayEngine, "run", lambda engine, *_: engine._fit((1.0, 0.0), four))
    by_default = EveryCore("cpu")
    by_default.run(Threaded(), lambda: None, lambda *_: True, lambda *_: None)
    assert by_default.note == "4 trials at once"
    assert by_default.exact_by == "--workers 1 or --deterministic reproduces a seed exactly"
    with pytest.raises(UserError, match="enough for 4 trials at once with 1 cores and 0 GPUs each, not for 16"):
        EveryCore("cpu", workers=16).run(Threaded(), lambda: None, lambda *_: True, lambda *_: None)


def test_where_ray_cannot_start_trials_run_one_after_the_other_and_it_is_said(monkeypatch):
    from studies.ray import engine

    @contextlib.contextmanager
    def unavailable(address):
        raise RayUnavailableError("cannot start Ray: no room in /dev/shm")
        yield

    monkeypatch.setattr(engine, "connected", unavailable)
    said: list[str] = []
    jobs = [Job(number, None, number) for number in range(3)]  # type: ignore[arg-type]
    ended: dict[int, Any] = {}
    started = EveryCore("cpu", workers=2, on_fallback=said.append)
    started.run(Threaded(), lambda: jobs.pop(0) if jobs else None, lambda *_: True, ended.__setitem__)
    assert sorted(ended) == [0, 1, 2]
    assert all(each.state == "complete" for each in ended.values())
    assert said == ["one trial at a time instead of 2: cannot start Ray: no room in /dev/shm"]
    assert started.note is None


def test_a_node_that_does_not_come_up_in_time_is_ray_that_is_not_there(monkeypatch):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'ray[tune]'")

    def slow(*_, **__):
        raise Exception("The current node timed out during startup.")  # as Ray does, on a busy machine

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(RayUnavailableError, match="cannot start Ray: The current node timed out"), connected(None):
        pass


def test_a_short_training_is_run_on_every_core(monkeypatch):
    monkeypatch.setenv("NAS_CORES", "2")
    assert EveryCore("cpu").workers_for(ShortTraining(load_data("digits"))) == 2


THREADED = """
from estimators import Estimate

class Threaded:  # one thread, and no training for which a worker would have to load torch
    threads, device = 1, "cpu"

    def describe(self):
        return {"name": "threaded"}

    def estimate(self, architecture, context):
        return Estimate(0.5, 0.0)
"""


WORDS = ["search", "--budget", "40M", "--task", "32x32x3:10", "--strategy", "random", "--trials", "4",
         "--estimator", "threaded.py:Threaded", "--out", ".", "--name", "a"]  # fmt: skip


def test_a_search_takes_every_core_and_says_so(nas_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CORES", "2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "threaded.py").write_text(THREADED)
    said = nas_cli(*WORDS)
    assert (said.code, said.err) == (0, "")
    assert "2 trials at once; --workers 1 or --deterministic reproduces a seed exactly" in said.out
    assert json.loads((tmp_path / "a" / "study.json").read_text())["wave"] is None


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Started once, for the tests from here on."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'ray[tune]'")
    with settings_of_ray(), connected(None):
        yield


@pytest.mark.usefixtures("ray")
def test_where_it_is_to_be_deterministic_trials_are_proposed_in_batches_of_all_cores(nas_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CORES", "2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "threaded.py").write_text(THREADED)
    said = nas_cli(*WORDS, "--deterministic", "--json", "--quiet")
    assert said.code == 0
    assert json.loads((tmp_path / "a" / "study.json").read_text())["wave"] == 2
    assert said.json()["trials"]["complete"] == 4


SPACE = """
from searchspaces import Space, Stage, choice, conv_head, conv_stem, mbconv

space = Space(
    "small",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2))],
    head=Stage(conv_head, width=32),
)


def key(architecture):
    return ",".join(map(str, architecture.choices.values()))
"""


@pytest.mark.usefixtures("ray")
def test_proxies_are_compared_on_ray_as_in_one_process_in_a_space_of_ones_own(nas_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text(SPACE)
    space, key = (load_object(f"small.py:{name}") for name in ("space", "key"))
    rng = np.random.default_rng(0)
    (tmp_path / "truth.json").write_text(json.dumps({key(each): rng.uniform(0.5, 0.9) for each in space.enumerate()}))
    reference = "table:truth.json+key=small.py:key"
    words = ["proxy", "--space", "small.py:space", "--budget", "100%", "--task", "8x8x1:10", "--networks", "6",
             "--reference", reference, "--proxies", "naswot", "--quiet", "--json"]  # fmt: skip

    def reported(*more):
        found = nas_cli(*words, *more).json()
        rows = [{name: value for name, value in row.items() if name != "seconds"} for row in found["proxies"]]
        apart = ("proxies", "folder", "files", "within_seconds", "next")  # which is what was typed, with more networks
        reference = {name: value for name, value in found["reference"].items() if name != "seconds"}
        return {**{name: each for name, each in found.items() if name not in apart}, "reference": reference}, rows

    on_ray = reported("--ray", "--workers", "2", "--name", "ray")
    assert on_ray == reported("--workers", "1", "--name", "alone")
    assert on_ray[0]["networks"] == 6
