"""What a refactoring must not change: seeded proposals, estimates, costs, and the document of each command.

`golden/behaviour.json` holds what was recorded; `python -m tests.test_behaviour` records it anew, which is right only
for a change that stands under *Changes results* in `CHANGELOG.md`. Only public functions and the command line are used,
so that everything behind them may move. Prose, times and places are left out: they may change.

What training gives is compared to the last digit on a processor of the kind that recorded it, and by its kind
elsewhere: torch's kernels differ between processors. Those of AVX2, which the golden file has, run on newer processors
of the same maker too, in a process of their own: ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # with more, sums of floats have another order

import pytest

import nas
from estimators import Estimate, TrialContext
from nas.cli import main
from searchspaces import Architecture, Space, Stage, choice, conv_head, conv_stem, mbconv
from strategies import STRATEGIES

GOLDEN = Path(__file__).with_name("golden") / "behaviour.json"
REPOSITORY = Path(__file__).resolve().parents[1]
STRATEGY_NAMES = [*STRATEGIES, "optuna:NSGAIISampler"]
PROPOSALS = 40
TASK = "32x32x3:10"

TINY = Space(
    "tiny",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[
        Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2), stride=2),
        Stage(mbconv, width=choice(16, 24), depth=choice(1, 2, 3), kernel=choice(3, 5, 7), expansion=choice(1, 2, 3)),
    ],
    head=Stage(conv_head, width=choice(32, 48)),
)
SPACES: dict[str, tuple[str | Space, str]] = {
    "tiny": (TINY, "400K"),
    "mbconv": ("mbconv", "60M"),
    "nasnet": ("nasnet", "95%"),
}
"""Of each kind one (listed, a chain, drawn), with a budget that binds."""
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"budget": None},
    "budget": {},
    "confirm": {"confirm": 2},
    "waves": {"wave": 4},
}
SMALL = {
    "space": "mbconv",
    "scale": {"width": 0.25, "depth": 0.3},
    "task": "8x8x1:10",
}


class Hashed:
    """An accuracy that follows from the architecture and the seed, in no time."""

    def describe(self) -> dict[str, Any]:
        return {"name": "hashed"}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        digest = hashlib.sha256(f"{json.dumps(architecture.choices)} {context.seed}".encode()).digest()
        return Estimate(int.from_bytes(digest[:4], "big") / 2**32, 0.0, (), {})


def proposals(strategy: str, space: str, way: str) -> str:
    """A hash of the first architectures that a seeded study tries, with their states and accuracies."""
    where, budget = SPACES[space]
    changes = {"budget": budget, **WAYS[way]}
    with tempfile.TemporaryDirectory() as out:
        try:
            study = nas.search(
                where, data="digits", task=TASK, trials=PROPOSALS, strategy=strategy, estimator=Hashed(), seed=5,
                name="one", out=out, ledger="memory", **changes,
            )  # fmt: skip
        except nas.UserError:
            return "refused"
        told = [
            (json.dumps(each.architecture.choices), each.state, each.accuracy, each.confirms) for each in study.trials
        ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def real_study() -> list[dict[str, Any]]:
    """The trials of a short search on digits."""
    with tempfile.TemporaryDirectory() as out:
        study = nas.search(
            "mbconv", "40M", "digits", task=TASK, trials=4, strategy="evolution", seed=1, name="one", out=out,
            strategy_settings={"population": 2}, estimator_settings={"epochs": 2, "data_fraction": 0.2}, device="cpu",
        )  # fmt: skip
        return [
            {
                "choices": each.architecture.choices,
                "accuracy": each.accuracy,
                "curve": list(each.curve),
                **each.cost.told(),
            }
            for each in study.trials
        ]


def said(*arguments: object) -> Any:
    """The document that a command prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--json"])
    assert not end.value.code, err.getvalue()
    return json.loads(out.getvalue())


def documents() -> Iterator[tuple[str, Any]]:
    """Each command with its document, in an order in which one can use what another has made."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name, arguments in commands():
                yield name, plain(said(*arguments), Path(folder))
        finally:
            os.chdir(before)


def commands(written: bool = True) -> Iterator[tuple[str, list[object]]]:
    """What a person types, by a name; `written` makes the files that some of it reads."""
    quick = words("--set estimator.epochs=1 --set estimator.data_fraction=0.1 --quiet --device cpu")
    small_images = words(f"search --space mbconv --task {TASK}")
    benchmarks = REPOSITORY / "benchmarks"
    if written:
        Path("small.json").write_text(json.dumps(small()))
        write_image(Path("one.png"))
    yield "spaces", words("spaces")
    yield "classics", words("classics")
    yield "space", words("space mbconv --budget 400M")
    yield "space small images", words(f"space resnet-cifar --budget 360K..40M,params=1M --task {TASK}")
    yield "space drawn", words(f"space nasnet --budget 30M --task {TASK}")
    yield "cost", words("cost efficientnet_b0")
    yield "cost of a module", ["cost", f"{REPOSITORY / 'examples' / 'my_net.py'}:net", "--task", TASK]
    yield "show a network", words(f"show mobilenetv3_small_100 --task {TASK}")
    yield "search", [*small_images, *words("--budget 40M --strategy random --seed 3 --trials 4 --name first"), *quick]
    pareto = "--strategy pareto --objectives accuracy,params --start-from mobilenetv2_100 --set strategy.population=2"
    yield "search pareto", [*small_images, *words(f"{pareto} --budget 100% --trials 2 --name second"), *quick]
    yield "resume", words("resume runs/first --trials 5 --quiet --device cpu")
    yield "show", words("show runs/first")
    yield "show a trial", words("show runs/first --trial 1 --svg one.svg")
    yield "plot", words("plot runs/first")
    yield "compare", words("compare runs/first")
    yield "scale by hand", words("scale efficientnet_b0 --coefficients 1.2,1.1,1.15 --phi 1..3")
    yield "scale as published", words("scale efficientnet_b0 --coefficients published --phi 1..2")
    sizes = words("scale small.json --task 16x16x1:10 --step 0.25 --band 20% --phi 1..2 --trials 2 --confirm 0")
    yield "scale", [*sizes, *quick]
    yield (
        "bench-strategies",
        [
            *("bench-strategies", "--table", benchmarks / "fashion.json"),
            *("--space", f"{benchmarks / 'fashion_space.py'}:space", "--key", f"{benchmarks / 'fashion_space.py'}:key"),
            *words("--task 14x14x1:10 --budget 90K --trials 12 --seeds 2 --strategies random,evolution --quiet"),
        ],
    )
    yield "measure", words("measure small.json --task 8x8x1:10 --runtime torch --quiet")
    less = words("--set batch=64 --set data_fraction=0.2 --set randaugment_operations=0 --set mix=0")
    yield "train", [*words("train small.json --data digits --epochs 1 --device cpu --out trained --quiet"), *less]
    yield "evaluate", words("evaluate trained")
    yield "predict", words("predict trained one.png --top 3")
    yield "export", words("export trained --to python --out exported")


def words(text: str) -> list[object]:
    return list(text.split())


def small() -> dict[str, Any]:
    """A shrunken MobileNetV2, as a text form."""
    member = nas.classic("mobilenetv2_100").architecture
    assert member is not None
    return {**SMALL, "choices": member.choices}


def write_image(path: Path) -> None:
    import numpy as np
    from PIL import Image

    Image.fromarray((np.arange(64, dtype=np.uint8).reshape(8, 8) * 4), "L").save(path)


PROSE = {"doc", "reason", "paper", "test_part", "input", "output", "notes"}
MACHINES = {
    "latency_ms",
    "p10_ms",
    "p90_ms",
    "runs",
    "disturbed",
    "stable",
    "versions",
    "processor",
    "runtime",
    "bytes",
}
MOMENTS = {"seconds", "started", "ended"}


def plain(value: Any, folder: Path, key: str = "") -> Any:
    """A document without its prose, times and places, and with long lists as their hash."""
    scalar = not isinstance(value, dict | list)
    if key in PROSE and (isinstance(value, str) or key == "notes"):
        return "prose"
    if value is not None and (key in MACHINES or (key in MOMENTS and scalar)) and not (key == "runs" and not scalar):
        return f"some {key}"
    if isinstance(value, dict):
        return {name: plain(each, folder, name) for name, each in value.items()}
    if isinstance(value, list):
        found = [plain(each, folder, key) for each in value]
        text = json.dumps(found, sort_keys=True)
        return found if len(text) < 2000 else f"{len(found)} of sha256 {digest(text)}"
    if isinstance(value, str):
        for place, name in ((folder.resolve(), "."), (folder, "."), (REPOSITORY, "REPOSITORY")):
            value = value.replace(str(place), name)
    return value


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def processor() -> str:
    """What decides the last digits of a training here."""
    import torch

    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__.partition('+')[0]}"


def maker(processor: str) -> str:
    """What of a processor decides the last digits of sums and products outside torch."""
    return processor.partition(",")[0]


@cache
def golden() -> Any:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


KERNELS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""With these, a processor that has AVX-512 does without."""
LEARNED = re.compile(
    "best|near_best|pareto|family|looks|curve|observed|adjusted|values|mean|classes|confusions|confusion_matrix"
    "|calibration_error|train_loss|best_epoch|largest_logit|(.+_)?(accuracy|standard_error|interval)"
)
"""What hangs on the last digits of a training, by its key in a document of a command that trains."""


def differences(now: Any, then: Any, where: str = "", alike: bool = True) -> list[str]:
    """Where two documents differ; if their processors are not alike, of what is learned only by its kind."""
    if not alike and LEARNED.fullmatch(re.sub(r"\[\d+\]", "", where.rpartition(".")[2])):
        if isinstance(now, dict) and isinstance(then, dict):
            now, then = sorted(now), sorted(then)
        elif type(now) is type(then) or now is None or then is None:
            return []
    if isinstance(now, dict) and isinstance(then, dict):
        found = [f"{where}: {sorted(now.keys() ^ then.keys())} on one side only"] if now.keys() != then.keys() else []
        both = [key for key in then if key in now]
        return found + [each for key in both for each in differences(now[key], then[key], f"{where}.{key}", alike)]
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = enumerate(zip(now, then, strict=True))
        return [each for index, pair in pairs for each in differences(*pair, f"{where}[{index}]", alike)]
    return [] if now == then and type(now) is type(then) else [f"{where}: {then!r} was recorded, {now!r} now"]


ALL = [(strategy, space, way) for strategy in STRATEGY_NAMES for space in SPACES for way in WAYS]
WEIGHED = ("guided", "rl", "tpe")
"""Strategies that choose by floats: proposals may differ between processors."""


def in_suite() -> Iterator[tuple[str, str, str]]:
    """Those that the suite compares each time: of every strategy three, every space and every way among them.

    `python -m tests.test_behaviour --check` compares all, and so does `python -m benchmarks.proofs recorded`.
    """
    for index, strategy in enumerate(STRATEGY_NAMES):
        yield strategy, "tiny", "budget"
        yield strategy, "tiny", ("plain", "confirm", "waves")[index % 3]
        if strategy in STRATEGIES:
            yield strategy, *(("nasnet", "plain") if index % 2 else ("mbconv", "budget"))


NOT_TRAINED = (
    *("spaces", "classics", "space", "space small images", "space drawn", "cost", "cost of a module", "show a network"),
    *("plot", "scale by hand", "scale as published", "bench-strategies", "measure"),
)
"""Commands whose documents are the same on every processor."""


@pytest.mark.parametrize(("strategy", "space", "way"), [*in_suite()])
def test_a_seeded_study_proposes_what_it_always_did(strategy, space, way):
    if strategy in WEIGHED and maker(processor()) != maker(golden()["processor"]):
        pytest.skip("recorded on a processor of another maker")
    assert proposals(strategy, space, way) == golden()["proposals"][strategy][space][way]


@pytest.fixture(scope="module")
def trained_now(tmp_path_factory):
    """What `trained` gives, in a process that does without AVX-512."""
    place = tmp_path_factory.mktemp("now") / "trained.json"
    kernels = KERNELS if "AVX512" in processor() else {}
    command = [sys.executable, "-m", "tests.test_behaviour", "--trained", str(place)]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **kernels}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(place.read_text(encoding="utf-8"))


def test_a_short_study_on_real_images_has_the_trials_that_it_always_had(trained_now):
    now, then = trained_now["real study"], golden()["real study"]
    if trained_now["processor"] != golden()["processor"]:
        now, then = now[:2], then[:2]  # what is tried next hangs on what was learned
    assert differences(now, then, alike=trained_now["processor"] == golden()["processor"]) == []


@pytest.mark.parametrize("name", [name for name, _ in commands(written=False)])
def test_a_command_gives_the_document_that_it_always_gave(trained_now, name):
    alike = name in NOT_TRAINED or trained_now["processor"] == golden()["processor"]
    assert differences(trained_now["documents"][name], golden()["documents"][name], alike=alike) == []


def trained() -> dict[str, Any]:
    """What hangs on a training in `behaviour.json`, as it is now, and the documents of the other commands."""
    return {"processor": processor(), "real study": real_study(), "documents": dict(documents())}


def record() -> dict[str, Any]:
    """All that `behaviour.json` holds, as it is now."""
    found: dict[str, Any] = {"processor": processor(), "proposals": {}}
    for strategy, space, way in ALL:
        found["proposals"].setdefault(strategy, {}).setdefault(space, {})[way] = proposals(strategy, space, way)
    return found | trained()


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        wrong = differences(record(), golden())
        print("\n".join(wrong) or f"nothing differs, {len(ALL)} seeded studies of {PROPOSALS} trials included")
        sys.exit(bool(wrong))
    if sys.argv[1:2] == ["--trained"]:
        sys.path.insert(0, str(Path(__file__).parent))
        from latency_stand_ins import measured_quickly

        with measured_quickly():  # for as long as usual where all is recorded or compared: see `in_suite`
            Path(sys.argv[2]).write_text(json.dumps(trained()), encoding="utf-8")
        sys.exit()
    GOLDEN.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
