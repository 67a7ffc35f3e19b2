"""Damaged run folders, trained networks and tables, read through the command line.

    python -m benchmarks.fuzz_runs [--inputs 10000] [--seed 0] [--only KIND]

An input is a whole file of one kind with a few changes: JSON values that became others, or bytes. Kinds: a run's
manifest, rows of its SQLite ledger, lines of its journal, the architecture of its best network, the weights of a
trained network, its checkpoint, its training.json, its network.json, a table of accuracies and a latency table. Each
must be read, or be one line with the file's or the folder's name: no traceback, no file of Python that the input names
run, nothing written outside the folder that the command was given.

Every 200 inputs have a process of their own, which imports torch before its first one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_images import called, in_chunks, judge, mutated, watch
from benchmarks.one_way import made_network

SLOW_S = 10.0
COUNTS = ("inputs", "read", "one line", "traceback", "other text", "no name", "crash", "written", "ran", "over 10 s")
CANARY = "exploded"
"""A file that the module `evil.py` leaves where it is run; `evil.py` lies where commands are typed."""
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**70, 1e308, float("nan"), float("inf"), 0.5, "", "x", "[bold]x", "\x1b[2J", "\ud800",
    "evil.py:boom", "evil:boom", "table:evil.py", "../escaped", "/tmp/escaped-by-nas", "sqlite:///../escaped.db",
    "9" * 5000, "a" * 3000, [], {}, [[]], {"a": {}}, "224x224x3:1000", "99999x99999x3:1000", "mbconv", "400M",
)  # fmt: skip


def mutated_json(text: str, rng: np.random.Generator) -> str:
    """A JSON text of which some values are others, are gone, or are twice."""
    value = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        _places(value, places)
        if not places:
            return json.dumps(ODD[int(rng.integers(len(ODD)))])
        holder, key = places[int(rng.integers(len(places)))]
        odd = ODD[int(rng.integers(len(ODD)))]
        match int(rng.integers(0, 6)):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[odd if isinstance(odd, str) else "x"] = holder.pop(key)
            case 2:
                holder[key] = [holder[key]]
            case 3:
                other, its = places[int(rng.integers(len(places)))]
                with contextlib.suppress(KeyError, IndexError):  # what was deleted a moment ago
                    holder[key] = json.loads(json.dumps(other[its]))
            case _:
                holder[key] = odd
    return json.dumps(value)


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in entries:
        found.append((value, key))
        _places(each, found)


def text_file(file: Path, rng: np.random.Generator) -> None:
    """Change a file of JSON: its values, or now and then its bytes."""
    content = file.read_bytes()
    if rng.random() < 0.8:
        file.write_bytes(mutated_json(content.decode(), rng).encode())
    else:
        file.write_bytes(mutated(content, rng))


def ledger_rows(file: Path, rng: np.random.Generator) -> None:
    """Change some values of a SQLite ledger, or the bytes of its file."""
    if rng.random() < 0.1:
        file.write_bytes(mutated(file.read_bytes(), rng))
        return
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type='table'")]
        filled = [name for name in sorted(tables) if database.execute(f"select count(*) from {name}").fetchone()[0]]
        for _ in range(int(rng.integers(1, 3))):
            name = filled[int(rng.integers(len(filled)))]
            columns = [row[1] for row in database.execute(f"pragma table_info({name})")]
            column = columns[int(rng.integers(len(columns)))]
            rows = database.execute(f"select rowid, {column} from {name}").fetchall()
            if not rows:
                continue
            row, old = rows[int(rng.integers(len(rows)))]
            new: Any = ODD[int(rng.integers(len(ODD)))]
            if isinstance(old, str) and old[:1] in '{["' and rng.random() < 0.7:
                with contextlib.suppress(json.JSONDecodeError):  # the change before was of this value
                    new = mutated_json(old, rng)
            elif isinstance(new, list | dict):
                new = json.dumps(new)
            elif new == "\ud800" or (isinstance(new, int) and abs(new) > 2**62):
                new = b"\xff\xfe"
            with contextlib.suppress(sqlite3.IntegrityError):  # a key that must be unique stays
                if rng.random() < 0.15:
                    database.execute(f"delete from {name} where rowid = ?", (row,))
                else:
                    database.execute(f"update {name} set {column} = ? where rowid = ?", (new, row))


def journal_lines(file: Path, rng: np.random.Generator) -> None:
    """Change some lines of a journal, or the bytes of its file."""
    lines = file.read_text().splitlines()
    if rng.random() < 0.2:
        file.write_bytes(mutated(file.read_bytes(), rng))
        return
    at = int(rng.integers(len(lines)))
    lines[at] = mutated_json(lines[at], rng)
    if rng.random() < 0.2:
        lines.insert(int(rng.integers(len(lines))), lines[int(rng.integers(len(lines)))])
    file.write_text("\n".join(lines) + "\n")


def tensors(file: Path, rng: np.random.Generator) -> None:
    """Change the header of a safetensors file, the length of its header, or its bytes."""
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size]
    if rng.random() < 0.8:
        header = mutated_json(header.decode(), rng).encode()
        told = len(header) if rng.random() < 0.9 else int(rng.integers(0, 2**40))
        file.write_bytes(told.to_bytes(8, "little") + header + content[8 + size :])
    else:
        file.write_bytes(mutated(content[: 8 + size], rng) + content[8 + size :])


@dataclass(frozen=True)
class Kind:
    """What is damaged, and which commands read it.

    Attributes:
        whole: folder in the folder of whole inputs that is copied.
        file: in it, the one that is changed.
        change: changes it.
        commands: words of each command; `IN` is the copy, `FILE` the changed file.
    """

    whole: str
    file: str
    change: Callable[[Path, np.random.Generator], None]
    commands: Sequence[Sequence[str]]


RUN = (("show", "IN"), ("show", "IN", "--all"), ("show", "IN", "--trial", "2"), ("plot", "IN"), ("resume", "IN"),
       ("runs", "."), ("report", "IN"), ("cost", "IN"))  # fmt: skip
PREDICT = ("predict", "IN", "whole.png")
TRAIN = ("train", "network.json", "--data", "noise.npz", "--epochs", "1", "--out", "IN", "--quiet")
SEARCH = ("search", "--space", "mbconv", "--budget", "60M", "--task", "32x32x3:8", "--workers", "1", "--quiet")
KINDS = {
    "manifest": Kind("run", "study.json", text_file, RUN),
    "ledger": Kind("run", "ledger.db", ledger_rows, RUN),
    "journal": Kind("journal", "ledger.log", journal_lines, RUN),
    "best": Kind("best", "best.json", text_file, (("cost", "FILE"), ("show", "FILE"))),
    "weights": Kind("trained", "best.safetensors", tensors, (PREDICT,)),
    "checkpoint": Kind("cut", "checkpoint.safetensors", tensors, (TRAIN,)),
    "training": Kind("trained", "training.json", text_file, (PREDICT, ("evaluate", "IN", "--data", "noise.npz"))),
    "network": Kind("trained", "network.json", text_file, (PREDICT, ("cost", "FILE"), ("show", "IN"))),
    "table": Kind("tables", "table.json", text_file,
                  ((*SEARCH, "--estimator", "table:FILE", "--trials", "2", "--out", "IN"),)),
    "latency": Kind("tables", "latency.json", text_file,
                    (("cost", "best/best.json", "--task", "32x32x3:8", "--latency", "FILE"),)),
}  # fmt: skip


def make_whole(at: Path) -> None:
    """Whole inputs of every kind in a folder: two runs, a training, one that was cut, and tables."""
    from PIL import Image

    from nas import search
    from searchspaces import Task, space_named
    from searchspaces.latency import LatencyTable, Line, part_name, parts_of

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from studies_stand_ins import Known

    settings: dict[str, Any] = {"space": "mbconv", "budget": "60M", "task": "32x32x3:8", "strategy": "random"}
    told = search(**settings, estimator=Known(), trials=6, seed=1, out=str(at), name="first", engine=_here())
    found = [trial.architecture for trial in told.trials]
    (at / "tables").mkdir()
    (at / "tables" / "table.json").write_text(json.dumps({one.to_json(): [0.5, 0.6] for one in found}))
    for name, ledger in (("run", "sqlite"), ("journal", "journal")):
        search(**settings, estimator=f"table:{at / 'tables' / 'table.json'}", trials=6, seed=1, out=str(at), name=name,
               ledger=ledger, engine=_here())  # fmt: skip
    (at / "best").mkdir()
    (at / "best" / "best.json").write_text(found[0].to_json())
    task = Task.parse("32x32x3:8")
    parts = {part_name(node, shape): 20.0 for node, shape in parts_of(found[0].network(task), task.shape)}
    how = {"runtime": "torch", "device": "cpu", "threads": 1, "batch": 1}
    table = LatencyTable(space_named("mbconv").name, task, how, parts, 5.0, Line(40.0, 1.3), {})
    (at / "tables" / "latency.json").write_text(table.text())
    made_network(at)
    cut_training(at)
    (at / "evil.py").write_text(f"open({CANARY!r}, 'w').close()\nboom = 1\n")
    Image.new("RGB", (40, 30), "red").save(at / "whole.png")


def cut_training(at: Path) -> None:
    """The folder of a training that was interrupted after its second step."""
    from estimators.training import train
    from nas.training import recipe_for, training_job

    def interrupt(moment: Any) -> None:
        if moment.step == 2:
            raise KeyboardInterrupt

    job = training_job(str(at / "network.json"), str(at / "noise.npz"))
    plan = recipe_for(job, at / "cut", "auto", {"epochs": 1})
    with contextlib.suppress(KeyboardInterrupt):
        train(job.network, job.data, plan, at / "cut", 0, found=job.found, checkpoint_s=0, on_moment=interrupt)
    assert (at / "cut" / "checkpoint.safetensors").exists()


def _here() -> Any:
    from studies import LocalEngine

    return LocalEngine()


def one(kind: Kind, number: int, rng: np.random.Generator) -> tuple[str, str]:
    """Damage a copy, read it, and judge; what became of it, and what was on standard error.

    The folder of whole inputs is the current one.
    """
    place = Path(f"in{number}")
    shutil.copytree(kind.whole, place)
    try:
        kind.change(place / kind.file, rng)
        words = kind.commands[int(rng.integers(len(kind.commands)))]
        file = str(place / kind.file)
        words = [word.replace("FILE", file).replace("IN", str(place)) for word in words]
        code, err = called(*words)
        return judge(code, err, place.name), f"{' '.join(words)}: {err[-3000:]}"
    finally:
        shutil.rmtree(place)


def chunk(name: str, first: int, count: int, seed: int, whole: Path) -> None:
    """Some inputs of a kind, in this process; prints what became of them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "here"
        shutil.copytree(whole, root)
        os.chdir(root)
        tempfile.tempdir = str(root)
        seen: list[str] = []
        outcomes: Counter[str] = Counter()
        for kind in (KINDS[name],):  # imports what takes seconds
            for words in kind.commands[:1]:
                file = f"{kind.whole}/{kind.file}"
                called(*(word.replace("FILE", file).replace("IN", kind.whole) for word in words))
        shutil.rmtree(root)
        shutil.copytree(whole, root)
        os.chdir(root)
        watch(root, seen)
        before = {*os.listdir(root), *os.listdir(root.parent)}
        for number in range(first, first + count):
            start = time.perf_counter()
            what, err = one(KINDS[name], number, np.random.default_rng((seed, number, len(name))))
            outcomes[what] += 1
            if what not in ("read", "one line"):
                print(json.dumps({"odd": what, "input": number, "err": err}), flush=True)
            if time.perf_counter() - start > SLOW_S:
                outcomes["over 10 s"] += 1
                print(json.dumps({"odd": "slow", "input": number, "err": err}), flush=True)
            new = {*os.listdir(root), *os.listdir(root.parent)} - before
            for each in [*seen, *(f"{'ran' if CANARY in one else 'written'} {one}" for one in new)]:
                outcomes[each.partition(" ")[0]] += 1
                print(json.dumps({"odd": each, "input": number, "err": err}), flush=True)
            before |= new
            seen.clear()
        print(json.dumps({"outcomes": {**outcomes, "inputs": count}}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--chunk", nargs=3, metavar=("KIND", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.chunk:
        kind, first, count = given.chunk
        return chunk(kind, int(first), int(count), given.seed, given.whole)
    names = [given.only] if given.only else list(KINDS)
    each = -(-given.inputs // len(names))
    print(f"{'':12}" + "".join(f"{name:>12}" for name in COUNTS))
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            make_whole(Path(folder))
        for name in names:
            total = in_chunks("benchmarks.fuzz_runs", name, each, ["--seed", str(given.seed), "--whole", folder])
            print(f"{name:12}" + "".join(f"{total[column]:>12,}" for column in COUNTS), flush=True)


if __name__ == "__main__":
    main()
