"""Mutated image files, `.npz` files and folders, read through the command line.

    python -m benchmarks.fuzz_images [--inputs 10000] [--seed 0]

Seven of ten inputs are image files (`nas predict`), the others `.npz` files and folders (`nas evaluate --data`, for
every second folder with `--skip-bad`). Each must be read, or be one line with its name: no traceback, nothing on
standard error beside that line, no program run, no object unpickled, nothing written outside the folder of results.
Decoders are C: they run in processes of a few hundred inputs, so that a crash is counted and does not end the run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.one_way import CLASSES, made_network

CHUNK = 250
"""Inputs of one process."""
SLOW_S = 10.0
"""Seconds from which on an input is counted and named; an import of torch is not among them."""
COUNTS = (
    "inputs", "read", "one line", "traceback", "other text", "no name", "crash", "written", "ran", "over 10 s",
)  # fmt: skip
NAMES = (
    b"cat", b"dog", b"caf\xe9", "cafe\u0301".encode(), b"[bold]", b"[red]x", b"new\nline", b"\x1b[2J", b"-rf", b"train",
    b"Test", b"valid", b".hidden", b"__MACOSX", b"a" * 200, "\U0001f600".encode(), b"'", b'"', b"{x}", b"%s", b"runs",
)  # fmt: skip


def seeds(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """Whole image files of many formats and modes, by suffix."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from photographs import MODES, in_mode, pixels

    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a camera"
    made: list[tuple[str, Image.Image, dict[str, Any]]] = []
    rgb = pixels(0, 0, 40)
    for mode, suffix in MODES.items():
        made.append((suffix, in_mode(mode, rgb), {"exif": exif} if suffix in ("jpg", "png", "webp", "tif") else {}))
    whole = Image.fromarray(rgb)
    made += [(suffix, whole, {}) for suffix in ("bmp", "ppm", "tga", "ico", "pcx", "sgi", "jp2", "avif", "qoi", "dib")]
    made += [("tif", whole, {"compression": each}) for each in ("tiff_lzw", "jpeg", "tiff_deflate", "packbits")]
    made += [("jpg", whole, {"progressive": True}), ("gif", whole, {"save_all": True, "append_images": [whole] * 2})]
    made.append(("png", in_mode("P", rgb), {"transparency": 3}))
    files = []
    for suffix, image, settings in made:
        out = io.BytesIO()
        image.save(out, Image.registered_extensions()[f".{suffix}"], **settings)
        files.append((suffix, out.getvalue()))
    return files


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with some of its bytes changed, cut out, put in or repeated."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, many = int(rng.integers(0, max(len(data), 1))), int(rng.integers(1, 40))
        match rng.integers(0, 8):
            case 0:
                data[at : at + 1] = rng.bytes(1)
            case 1:
                data[at : at + many] = rng.bytes(many)
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[:many]
            case 4:
                data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"])
            case 5:
                del data[at : at + many]
            case 6:  # the header, where sizes are
                first = int(rng.integers(0, 64))
                data[first : first + 2] = rng.bytes(2)
            case _:
                data[at : at + many] = bytes(many)
    return bytes(data)


class Bomb:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def arrays_file(rng: np.random.Generator) -> bytes:
    """An `.npz` that is odd, damaged or both."""
    shapes = [(12, 8, 8, 3), (12, 8, 8), (12, 3, 8, 8), (12, 8), (0, 8, 8), (12, 8, 8, 3, 1), (12, 1, 1, 3), ()]

    def one(many: Sequence[Any]) -> Any:
        """The first of several, which is a good one, more often than the others."""
        return many[0] if rng.random() < 0.6 else many[int(rng.integers(len(many)))]

    types = [np.uint8, np.uint8, np.uint8, np.float32, np.int64, np.bool_, "S3", "U3"]
    images = rng.integers(0, 2, one(shapes)).astype(one(types))
    labels = one([
        rng.integers(0, 8, 12), rng.integers(0, 8, (12, 1)), rng.integers(-9, 99, 12), rng.random(12), np.array(3),
        rng.integers(0, 8, 11), np.eye(12), np.array([Bomb()] * 12, object), np.full(12, 2**62),
    ])  # fmt: skip
    names = one([
        np.array([f"kind {each * 2}" for each in "abcdefgh"]), np.array([b"\xe9", b"\xff"]), np.array(["a", "a"]),
        np.array([Bomb()], object), np.arange(8), np.array("x"), np.array(["\ud800", "b"]),
    ])  # fmt: skip
    content = {"train_images": images, "train_labels": labels, "class_names": names}
    for key in [each for each in content if rng.random() < 0.15]:
        del content[key]
    out = io.BytesIO()
    if rng.random() < 0.05:
        return pickle.dumps(Bomb())
    (np.savez_compressed if rng.random() < 0.3 else np.savez)(out, **content)
    data = out.getvalue()
    if rng.random() < 0.1:
        data = data.replace(b"(12, ", b"(9999999999999, ")
    return mutated(data, rng) if rng.random() < 0.5 else data


def folder_at(at: Path, rng: np.random.Generator, files: Sequence[tuple[str, bytes]]) -> None:
    """A folder with odd names, links, special files, junk and damaged images."""
    at.mkdir()
    folders = [at]
    if rng.random() < 0.7:  # classes that the network has, and the oddities inside
        folders = [at / "kind aa", at / "kind bb"]
        for label, each in enumerate(folders):
            each.mkdir()
            (each / f"whole.{files[label][0]}").write_bytes(files[label][1])
    for _ in range(int(rng.integers(1, 12))):
        above = folders[int(rng.integers(len(folders)))]
        new = Path(os.fsdecode(os.fsencode(above) + b"/" + NAMES[int(rng.integers(len(NAMES)))]))
        if not new.exists() and len(os.fsencode(new)) < 900:
            new.mkdir()
            folders.append(new)
    for number in range(int(rng.integers(0, 20))):
        above, (suffix, content) = folders[int(rng.integers(len(folders)))], files[int(rng.integers(len(files)))]
        file = above / f"{number}.{suffix if rng.random() < 0.9 else rng.choice(['txt', 'JPG', 'heic', 'csv', ''])}"
        match rng.integers(0, 12):
            case 0:
                file.symlink_to(folders[int(rng.integers(len(folders)))])
            case 1:
                file.symlink_to(at / "nowhere")
            case 2:
                os.mkfifo(file)
            case 3:
                file.write_bytes(mutated(content, rng))
            case 4:
                (above / "study.json").write_text("[" * 3000)
            case _:
                file.write_bytes(content)


def watch(root: Path, seen: list[str]) -> None:
    """Note programs that are run, objects that are unpickled, and files that are opened to write outside a folder."""

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class"):
            seen.append(f"ran {event}")
        elif event == "open" and isinstance(given[0], str | bytes) and isinstance(given[2], int):
            place = os.path.abspath(os.fsdecode(given[0]))
            writes = given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and not place.startswith((str(root), "/dev/")):
                seen.append(f"written {place}")
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree", "sqlite3.connect"):
            place = os.path.abspath(os.fsdecode(given[0]))
            if not place.startswith(str(root)):
                seen.append(f"written {place}")

    sys.addaudithook(hook)


@contextlib.contextmanager
def caught(fd: int, file: Any) -> Iterator[None]:
    """What C libraries print, too."""
    stream = sys.stderr if fd == 2 else sys.stdout
    stream.flush()
    kept = os.dup(fd)
    os.dup2(file.fileno(), fd)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(kept, fd)
        os.close(kept)


def called(*words: object) -> tuple[int | None, str]:
    """Exit code (None after a traceback) and standard error of a command."""
    from nas.cli import main

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code: int | None = None
        with caught(1, out), caught(2, err):
            try:
                main([str(word) for word in words])
            except SystemExit as ended:
                code = int(ended.code or 0)
            except Exception:
                traceback.print_exc()
        err.seek(0)
        return code, err.read().decode(errors="replace")


def judge(code: int | None, err: str, name: str) -> str:
    """What became of one input."""
    if code is None or "Traceback" in err:
        return "traceback"
    if code == 0:
        return "other text" if err else "read"
    if err.count("\n") != 1 or not err.startswith("nas: "):
        return "other text"
    return "one line" if name in err else "no name"


def chunk(kind: str, first: int, count: int, seed: int, network: Path) -> None:
    """Some inputs of a kind, in this process; prints what became of them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        seen: list[str] = []
        outcomes: Counter[str] = Counter()
        whole = seeds(np.random.default_rng(seed))
        made = []
        for number in range(first, first + count):
            rng = np.random.default_rng((seed, number))
            place = root / f"in{number}"
            if kind == "files":
                suffix, content = whole[int(rng.integers(len(whole)))]
                suffix = suffix if rng.random() < 0.9 else whole[int(rng.integers(len(whole)))][0]
                place = place.with_suffix(f".{suffix}")
                place.write_bytes(mutated(content, rng))
            elif kind == "npz":
                place = place.with_suffix(".npz")
                place.write_bytes(arrays_file(rng))
            else:
                folder_at(place, rng, whole)
            made.append(place)
        os.chdir(root)
        tempfile.tempdir = str(root)
        (root / "whole.png").write_bytes(next(content for suffix, content in whole if suffix == "png"))
        np.savez(root / "whole.npz", train_images=np.eye(8, dtype=np.uint8)[:, None].repeat(8, 1), class_names=CLASSES,
                 train_labels=np.arange(8))  # fmt: skip
        assert called("predict", network, root / "whole.png") == (0, "")  # imports torch, which takes seconds
        assert called("evaluate", network, "--data", root / "whole.npz") == (0, "")
        watch(root, seen)
        for number, place in enumerate(made):
            start, busy = time.perf_counter(), time.process_time()
            words = ["predict", network, place] if kind == "files" else ["evaluate", network, "--data", place]
            skipping = kind == "folders" and number % 2 == 0
            code, err = called(*words, *(["--skip-bad"] if skipping else []))
            outcome = judge(code, err, place.name)
            outcomes[outcome] += 1
            if outcome not in ("read", "one line"):
                print(json.dumps({"odd": outcome, "input": place.name, "err": err[-1500:]}), flush=True)
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
            if seconds > SLOW_S:
                outcomes["over 10 s"] += 1
                print(json.dumps({"odd": f"{seconds:.1f} s, {busy:.1f} s of CPU", "input": place.name}), flush=True)
        for each in seen:
            outcomes[each.partition(" ")[0]] += 1
            print(json.dumps({"odd": each}), flush=True)
        outcomes["written"] += (root / "exploded").exists()
        print(json.dumps({"outcomes": {**outcomes, "inputs": count}}), flush=True)


def in_chunks(module: str, kind: str, inputs: int, more: Sequence[str]) -> Counter[str]:
    """The outcomes of so many inputs of a kind, a process for each `CHUNK` of them; findings go to stderr."""
    total: Counter[str] = Counter()
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    for first in range(0, inputs, CHUNK):
        count = min(CHUNK, inputs - first)
        command = [sys.executable, "-m", module, "--chunk", kind, str(first), str(count), *more]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
        for line in map(json.loads, done.stdout.splitlines()):
            total.update(line.get("outcomes", {}))
            if "odd" in line:
                print(kind, line, file=sys.stderr)
        if done.returncode:
            total.update({"crash": 1, "inputs": count})
            print(f"{kind} {first}: exit code {done.returncode} {done.stderr[-2000:]}", file=sys.stderr)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chunk", nargs=3, metavar=("KIND", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--network", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.chunk:
        kind, first, count = given.chunk
        return chunk(kind, int(first), int(count), given.seed, given.network)
    shares = {"files": 0.7, "npz": 0.15, "folders": 0.15}
    print(f"{'':8}" + "".join(f"{name:>12}" for name in COUNTS))
    with tempfile.TemporaryDirectory() as folder:
        network = made_network(Path(folder))
        for kind, share in shares.items():
            more = ["--seed", str(given.seed), "--network", str(network)]
            total = in_chunks("benchmarks.fuzz_images", kind, round(given.inputs * share), more)
            print(f"{kind:8}" + "".join(f"{total[name]:>12,}" for name in COUNTS), flush=True)


if __name__ == "__main__":
    main()
