"""A Python environment with torch, what torch itself requires, and nothing else; made of links, without a download.

    python examples/bare_environment.py FOLDER     prints the path of its interpreter

It shows that an exported model.py needs no more. The same, the long way: python3 -m venv FOLDER, then
FOLDER/bin/pip install torch.
"""

from __future__ import annotations

import argparse
import sys
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement


def required(name: str, found: dict[str, metadata.Distribution]) -> dict[str, metadata.Distribution]:
    """A distribution and all that it requires, extras aside, by name."""
    if name not in found:
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            each = Requirement(text)
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                required(each.name, found)
    return found


def make(folder: Path) -> Path:
    """Make the environment and give its interpreter."""
    venv.create(folder, clear=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for each in required("torch", {}).values():
        tops = {file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(str(each.locate_file(top))).resolve())
    return folder / "bin" / "python"


def checked(folder: Path) -> Path:
    """The folder, if an environment may be made there: it is new, empty, or an environment already.

    Raises:
        SystemExit: it holds anything else, which making the environment would delete.
    """
    if folder.exists() and not folder.is_dir():
        sys.exit(f"{folder} is a file")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        sys.exit(f"{folder} is not empty and is no Python environment; what is in it would be deleted")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="new, empty, or an environment to be made again")
    print(make(checked(parser.parse_args().folder)))
