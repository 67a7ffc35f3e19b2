"""`nas search` with real training, killed with SIGKILL ten times at random moments and begun again, beside an unbroken
run.

    python benchmarks/kill_and_resume.py [--trials N] [--kills N] [--epochs N] [--seed N] [--json]

The law: no finished trial is lost, none is trained to its end twice, and in the end both studies have the same trials:
the same proposals in the same order with the same seeds and, on a CPU, the same accuracies to the last digit. A kill
may also come before there is anything to keep; the table says what there was.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from studies import Study


def command(folder: Path, given: argparse.Namespace) -> list[str]:
    """The search that is typed, the same each time: one trial after the other, as only that repeats a seed exactly."""
    search = ["search", "--budget", "400M", "--data", "digits", "--device", "cpu", "--workers", "1"]
    search += ["--seed", str(given.seed)]
    settings = ["--set", f"estimator.epochs={given.epochs}", "--trials", str(given.trials), "--pruner", given.pruner]
    return [sys.executable, "-m", "nas", *search, *settings, "--name", folder.name, "--out", str(folder.parent)]


def finished(folder: Path) -> list[dict[str, Any]]:
    """All that must stay and must be equal, of each trial that has ended."""
    if not folder.exists():
        return []
    study = Study.open(folder)
    kept = ("number", "state", "accuracy", "reports", "told", "rank", "ended", "reason")
    found = [
        {
            **{name: getattr(each, name) for name in kept},
            "network": each.architecture.to_json(),
            "seed": study.seed_of(n),
        }
        for n, each in enumerate(study.trials)
        if each.state != "running"
    ]
    study.close()
    return found


def main() -> None:
    """Run both, print what happened, and exit with 1 if the law does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--pruner", default="asha")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        whole, broken = Path(place) / "whole", Path(place) / "broken"
        began = time.monotonic()
        subprocess.run(command(whole, given), check=True, stdout=subprocess.DEVNULL)
        whole_s = time.monotonic() - began
        unbroken = finished(whole)

        trial_s = whole_s / given.trials  # and a share of the start-up

        moments, rows = random.Random(given.seed), list[dict[str, Any]]()
        before: list[dict[str, Any]] = []
        for kill in range(given.kills):
            process = subprocess.Popen(command(broken, given), stdout=subprocess.PIPE, text=True)
            began = time.monotonic()
            if kill < 2:  # while it starts up
                time.sleep(moments.uniform(0.0, 3.0))
            else:  # once it has said what it is about to do
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(moments.uniform(0.0, 3.0 * trial_s))
            process.send_signal(signal.SIGKILL)
            life_s = time.monotonic() - began
            process.communicate()
            code = process.returncode
            after = finished(broken)
            rows.append({"kill": kill + 1, "after_s": round(life_s, 2), "code": code, "finished": len(after)})
            rows[-1]["kept"] = after[: len(before)] == before
            before = after
        subprocess.run(command(broken, given), check=True, stdout=subprocess.DEVNULL)
        last = finished(broken)
        rows.append(
            {"kill": "none", "after_s": None, "code": 0, "finished": len(last), "kept": last[: len(before)] == before}
        )
        for each in (*unbroken, *last):
            del each["ended"]
    equal = last == unbroken
    if given.json:
        print(json.dumps({"whole_s": whole_s, "rows": rows, "equal": equal}, indent=2))
    else:
        print(f"unbroken: {len(unbroken)} trials in {whole_s:.0f} s; killed and begun again:\n")
        print(f"{'kill':>6}{'after':>10}{'exit code':>12}{'finished':>10}   what had finished before is kept")
        for row in rows:
            after_s = f"{row['after_s']:.2f} s" if row["after_s"] is not None else "-"
            kept = "yes" if row["kept"] else "NO"
            print(f"{row['kill']:>6}{after_s:>10}{row['code']:>12}{row['finished']:>10}   {kept}")
        print(f"\nthe {len(last)} trials equal those of the unbroken run: {'yes' if equal else 'NO'}")
    sys.exit(not (equal and all(row["kept"] for row in rows)))


if __name__ == "__main__":
    main()
