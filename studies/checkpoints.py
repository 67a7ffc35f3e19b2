"""Where the trials of a study keep their training while it lasts: one file each, which is removed when its trial ends.

The files are the estimator's; this says where they are and sees that none stays. They lie in the run folder, or in a
folder or at a URL that every node reaches, each study in a folder of its own there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from estimators.checkpoint import is_local, local_path, remote, remove
from searchspaces import UserError
from studies.folder import CHECKPOINTS

if TYPE_CHECKING:
    from studies.manifest import Manifest

NOWHERE: Final = "none"
PROBE: Final = ".probe"
SUFFIX: Final = ".safetensors"


class Checkpoints:
    """The checkpoints of a study; made by `of`.

    Args:
        root: a folder or a URL that is the study's own; None keeps none.
    """

    def __init__(self, root: str | None) -> None:
        self._root = root

    @classmethod
    def of(cls, folder: Path | None, manifest: Manifest, given: str | None, inside: str = CHECKPOINTS) -> Checkpoints:
        """Those of a study.

        Args:
            folder: of the run.
            given: a folder, a URL, or `none`; None is what the manifest says, which is the run folder unless told
                otherwise.
            inside: name of the folder in the run folder; that of the weights is of the same name elsewhere too.

        Raises:
            UserError: the location is empty, a URL of an unknown storage, or in the manifest a path that is not whole.
        """
        check_place(given)
        given = manifest.checkpoints if given is None else whole_place(given)
        if given not in (None, NOWHERE) and is_local(given) and not local_path(given).is_absolute():
            raise UserError(
                f"{folder}: its checkpoints {given!r} are neither an absolute path nor a URL; see --checkpoints"
            )
        if given == NOWHERE or (given is None and folder is None):
            return cls(None)
        if given is None:
            assert folder is not None
            return cls(str(folder.resolve() / inside))
        which = hashlib.sha256(json.dumps([manifest.created, manifest.seed, manifest.space]).encode()).hexdigest()
        root = f"{given.rstrip('/')}/{manifest.study}-{which[:8]}"
        return cls(root if inside == CHECKPOINTS else f"{root}/{inside}")

    def begin(self, ended: Iterable[int]) -> None:
        """Make the folder, or see that a URL can be written to, and remove what trials that ended left behind.

        Args:
            ended: their numbers.

        Raises:
            UserError: nothing can be kept there.
        """
        if self._root is None:
            return
        try:
            if is_local(self._root):
                local_path(self._root).mkdir(parents=True, exist_ok=True)
            else:
                files, path = remote(self._root)
                files.makedirs(path, exist_ok=True)
                files.pipe_file(f"{path}/{PROBE}", b"")
                files.rm_file(f"{path}/{PROBE}")
            kept = self._kept()
        except Exception as error:  # each storage has errors of its own
            why = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UserError(f"checkpoints cannot be kept at {self._root}: {why}; see --checkpoints") from error
        for number in {*ended} & {*kept}:
            self.remove(number)

    def place(self, number: int) -> str | None:
        """Where a trial may keep its training; None is nowhere."""
        return None if self._root is None else f"{self._root}/{number}{SUFFIX}"

    def remove(self, number: int) -> None:
        """What a trial kept; what cannot be removed now is left to the next `begin`."""
        if self._root is not None:
            with contextlib.suppress(UserError):
                remove(f"{self._root}/{number}{SUFFIX}")

    def end(self) -> None:
        """Remove the folder, if nothing is in it; most storages behind a URL have no folders."""
        if self._root is not None and is_local(self._root):
            with contextlib.suppress(OSError):
                local_path(self._root).rmdir()

    def _kept(self) -> list[int]:
        """Trials of which there is something, a part of a file included."""
        assert self._root is not None
        if is_local(self._root):
            names = [each.name for each in local_path(self._root).iterdir()]
        else:
            files, path = remote(self._root)
            names = [each.rpartition("/")[2] for each in files.ls(path, detail=False)] if files.isdir(path) else []
        return [int(number) for number in (name.partition(".")[0] for name in names) if number.isdecimal()]


def check_place(given: str | None) -> None:
    """Refuse what is no place, before anything is made.

    Raises:
        UserError: it is empty, or a URL of a storage that fsspec does not know.
    """
    if given == "":
        raise UserError("checkpoints: the location is empty; give a folder, a URL or 'none'")
    if given is not None and not is_local(given):
        remote(given)


def whole_place(given: str) -> str:
    """A place that other processes find too."""
    if given == NOWHERE or "://" in given:
        return given
    return str(Path(given).expanduser().resolve())


def reachable(place: str | None) -> str | None:
    """The place as seen from this machine: None if its folder is not here, as where nodes share no files."""
    if place is None or not is_local(place) or local_path(place).parent.is_dir():
        return place
    return None
