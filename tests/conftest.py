"""What all tests share: one thread for torch, shares for workers, the command line called as a person calls it."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch: steady times on shared machines
os.environ["COLUMNS"] = "120"  # wide enough for every screen, whatever the terminal; commands that are piped go by it
os.environ.setdefault("NAS_CORES", "1")  # a search in a test runs one trial at a time, unless it is about more
os.environ.setdefault("NAS_CACHE", "none")  # tests write nothing into the cache of the person who runs them
os.environ.setdefault("RAY_worker_niceness", "0")  # of nodes that tests start; the other files' tests starve them else

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # each of the hundred processes that tests start would compile all
    sys.dont_write_bytecode = False

MEMORY = Path("/dev/shm")
"""A file system in memory, where a ledger's thousands of commits need not wait for a disk."""
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 8 * 2**30:  # Ray's object store lies there too
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


RAY = (
    "test_studies_ray",
    "test_studies_ray_training",
    "test_studies_ray_cluster",
    "test_examples_cluster",
    "test_studies_every_core",
    "test_estimators_rungs",
    "test_nas_live",
)
"""Files whose tests start Ray: never two at once, as each wants cores for workers of its own."""

FIRST = (*RAY, "test_whole_way")
"""Files that take longest, and so begin first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


gc.set_threshold(20_000, 10, 10)  # in place of 700: collections were an eighth of the time of cheap tests


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Garbage is not looked for while all modules are imported, and never again among what they and the tests hold.

    These are half a million objects, which each full collection would walk through, for half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Among several workers a file goes whole to one of them, as its tests share fixtures, and Ray's files go together.

    Not by `--dist loadgroup`: pytest-xdist 3.8 writes a test's group where pytest 9.2 does not look, and says nothing.
    """
    from xdist.scheduler import LoadFileScheduling

    class Shares(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "ray" if Path(file).stem in RAY else file

    config.option.loadscopereorder = False  # they begin in the order above, not by their number of tests
    return Shares(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line that says what was skipped and why: for want of a program, such as PostgreSQL or Chromium."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(each.longrepr[-1]).removeprefix("Skipped: ") for each in skipped})
    if reasons:
        terminalreporter.write_line(f"{len(skipped)} skipped: {'; '.join(reasons)}")


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        import json

        return json.loads(self.out)


@pytest.fixture
def nas_cli(capfd):
    """The command line in this process, output and exit code and all: `nas_cli("cost", "efficientnet_b0")`."""

    def call(*arguments: str) -> Said:
        from nas.cli import main

        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture(scope="session", autouse=True)
def _prepared_once() -> Iterator[None]:
    """What every search prepares anew, and is always the same, is made once for all tests of a process.

    These are the automaton of a space of ours on a task, the space under a budget, how many fit, Optuna's list of the
    versions of its tables, made of 20 files, and the versions of libraries: together two thirds of the processor time
    of a search that trains nothing.
    """
    from importlib import metadata

    from optuna.storages._rdb import storage

    from searchspaces import Feasible, Space, Task, space_named
    from searchspaces.catalog import SPACES
    from searchspaces.nasnet import NASNetSpace

    ours = {id(space_named(name)) for name in SPACES}  # each is made once and kept
    versions = storage._VersionManager._create_alembic_script
    prepared: dict[Any, Any] = {}
    usual = Task()

    def once(under: Callable[[Any, Any, Task], Feasible]) -> Callable[..., Feasible]:
        def under_once(space: Any, budget: Any, task: Task = usual) -> Feasible:
            if id(space) not in ours:
                return under(space, budget, task)
            key = id(space), budget, task
            if key not in prepared:
                prepared[key] = under(space, budget, task)
            return prepared[key]

        return under_once

    walked = Space.walked

    def walked_once(space: Any, task: Task) -> Any:
        if id(space) not in ours:
            return walked(space, task)
        key = "walked", id(space), task
        if key not in prepared:
            prepared[key] = walked(space, task)
        return prepared[key]

    def versions_once(manager: Any) -> Any:
        if "versions" not in prepared:
            prepared["versions"] = versions(manager)
        return prepared["versions"]

    with pytest.MonkeyPatch.context() as patch:
        for kind in (Space, NASNetSpace):
            patch.setattr(kind, "under", once(kind.under))
        patch.setattr(Space, "walked", walked_once)
        patch.setattr(Feasible, "counted", functools.cache(Feasible.counted))
        patch.setattr(storage._VersionManager, "_create_alembic_script", versions_once)
        patch.setattr(metadata, "version", functools.cache(metadata.version))
        yield
