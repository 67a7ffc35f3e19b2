"""How long the command line takes to answer: each command as a process of its own, the fastest and the median of N.

    python benchmarks/startup.py [--runs N] [--json]

The laws: `nas --help` within 0.5 s, `nas space mbconv --budget 400M` within 1.5 s. An empty interpreter runs beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "nas --help": ([sys.executable, "-m", "nas", "--help"], 0.5),
    "nas spaces": ([sys.executable, "-m", "nas", "spaces"], None),
    "nas cost efficientnet_b0": ([sys.executable, "-m", "nas", "cost", "efficientnet_b0"], None),
    "nas space mbconv": ([sys.executable, "-m", "nas", "space", "mbconv"], None),
    "nas space mbconv --budget 400M": ([sys.executable, "-m", "nas", "space", "mbconv", "--budget", "400M"], 1.5),
}
"""What is timed, and the seconds it may take."""


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of one process, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Time all commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for name, (command, law_s) in COMMANDS.items():
        times = [seconds(command) for _ in range(given.runs)]
        rows.append({"command": name, "best_s": min(times), "median_s": statistics.median(times), "law_s": law_s})
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'command':34}{'best':>9}{'median':>9}{'law':>9}")
    for row in rows:
        law = f"{row['law_s']:.1f} s" if row["law_s"] else ""
        print(f"{row['command']:34}{row['best_s']:7.2f} s{row['median_s']:7.2f} s{law:>9}")


if __name__ == "__main__":
    main()
