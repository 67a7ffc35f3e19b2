"""What this process may use of its machine: cores and memory, as its affinity and the limits of its container say.

A container's limits are those of its cgroup, version 2 or 1, which lies at the root of what the container sees of them;
Ray reads them there too. Left out: groups below that root, as systemd makes them outside of containers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use: of a container's quota of processor time the whole ones, and at least one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _read("cpu.max") or _read("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us") or ("max", "1")
    return min(there, max(1, int(quota) // int(period))) if quota.isdecimal() else there  # else `max`, or -1


def memory_bytes() -> int:
    """Bytes of memory that this process may use."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not known on this system
        there = 16 << 30
    (limit,) = _read("memory.max") or _read("memory/memory.limit_in_bytes") or ("max",)
    return min(there, int(limit)) if limit.isdecimal() else there


def _read(*files: str) -> list[str]:
    """The words of files of the cgroup; none where they are not there."""
    try:
        return [word for file in files for word in (CGROUP / file).read_text().split()]
    except OSError:
        return []
