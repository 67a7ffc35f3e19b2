"""The gallery of the documentation: real searches, trainings and comparisons, the pages that `nas` makes of them, and
what a browser shows of these.

    python -m benchmarks.gallery [--runs gallery-runs] [--pages report,family]

Pages go to `docs/gallery/*.html`. Each holds plotly and so takes 5 MB: git ignores them, and `make docs` puts those
that are there into the site. Pictures of them, `docs/gallery/*.png` and the README's `docs/pareto.png`, are kept in the
repository; they need Chromium. A second run goes on from the runs of the first.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: one core, and the same networks again

import argparse
import io
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs" / "gallery"
WIDTH = 1280
"""Of pictures in pixels, as of a window."""
MOST_BYTES = {".html": 6_000_000, ".png": 200_000}


@dataclass(frozen=True)
class Page:
    """A page of the gallery.

    Attributes:
        commands: that make it, in a folder of their own.
        made: the file that they make.
        height: of the picture in pixels.
        picture: where the picture goes, if not beside the page.
    """

    commands: tuple[str, ...]
    made: str
    height: int = 900
    picture: Path | None = None


TABLE = ROOT / "benchmarks" / "fashion"
OWN = f"--space {ROOT / 'examples' / 'my_space.py'}:space"
PAGES = {
    "front": Page(
        ("nas search --space mbconv --budget 400M --data digits --trials 30 --workers 1 --name first",),
        "runs/first/pareto.html",
        picture=ROOT / "docs" / "pareto.png",
    ),
    "report": Page(
        (
            f"nas search {OWN} --task 16x16x1:10 --budget 2M --data digits --trials 24 --confirm 2 "
            "--workers 1 --name front --set estimator.epochs=3",
            f"nas train runs/front {OWN} --image-size 16 --epochs 8",
            f"nas report runs/front {OWN}",
        ),
        "runs/front/report.html",
        height=1400,
    ),
    "family": Page(
        (f"nas scale runs/front {OWN} --data digits --trials 4 --confirm 0 --workers 1 --name family",),
        "runs/family/family.html",
    ),
    "comparison": Page(
        (
            f"nas bench-strategies --table {TABLE}.json --space {TABLE}_space.py:space --key {TABLE}_space.py:key "
            "--task 14x14x1:10 --budget 90K --trials 60 --seeds 6 "
            "--strategies guided,evolution,local-search,random "
            "--out comparison",
        ),
        "comparison/compare.html",
        height=1100,
    ),
    "classics": Page(("nas classics --plot classics.html",), "classics.html"),
}


def main() -> None:
    """Make the pages that are asked for, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("gallery-runs"), help="where the runs are kept")
    parser.add_argument("--pages", default=",".join(PAGES), help="which are made; family is of the run of report")
    given = parser.parse_args()
    given.runs.mkdir(exist_ok=True)
    GALLERY.mkdir(exist_ok=True)
    for name in given.pages.split(","):
        page, began = PAGES[name], time.monotonic()
        for command in page.commands:
            print(f"$ {command}", flush=True)
            words = [sys.executable, "-m", *shlex.split(command), *(["--quiet"] if "search" in command else [])]
            subprocess.run(words, cwd=given.runs, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        made = GALLERY / f"{name}.html"
        shutil.copyfile(given.runs / page.made, made)
        shown = page.picture or made.with_suffix(".png")
        shown.write_bytes(picture(made, page.height))
        took = time.monotonic() - began
        for file in (made, shown):
            assert file.stat().st_size < MOST_BYTES[file.suffix], f"{file} has {file.stat().st_size:,} bytes"
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e3:,.0f} kB")
        print(f"{name}: {took / 60:.1f} minutes", flush=True)


def picture(page: Path, height: int) -> bytes:
    """What a browser shows of a page in a window of so many pixels, as a PNG of 256 colours."""
    from PIL import Image

    browser = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("pictures need Chromium or Google Chrome")
    with tempfile.TemporaryDirectory() as folder:
        shot, frame = Path(folder) / "shot.png", Path(folder) / "frame.html"
        # of a fixed size: the window itself changes its own for the picture, and plots are drawn before
        frame.write_text(
            f'<body style="margin:0"><iframe src="{page.resolve().as_uri()}" '
            f'style="border:0;width:{WIDTH}px;height:{height}px"></iframe>'
        )
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000",
            f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{height}", f"--screenshot={shot}",
            frame.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        written = io.BytesIO()
        Image.open(shot).convert("RGB").quantize(256).save(written, "PNG", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
