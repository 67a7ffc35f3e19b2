"""What a killed process left in the temporary folder is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studies_stand_ins import begin

from searchspaces import UserError
from studies.leftovers import MARK, YOUNG_S, marked, remove_left
from studies.manifest import Manifest

HOLD = """
import sys
from pathlib import Path
from studies.leftovers import marked

with marked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def aged(folder: Path) -> Path:
    """As if it had been made before the present minute."""
    then = time.time() - 2 * YOUNG_S
    os.utime(folder, (then, then))
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="an open file is not removed there")
def test_only_the_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    folders = {name: tmp_path / f"nas-ray-{name}" for name in ("dead", "alive", "young", "unmarked", "linked")}
    for name, folder in folders.items():
        if name != "linked":
            folder.mkdir()
            (folder / "result").touch()
    command = [sys.executable, "-c", HOLD, str(folders["dead"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        aged(folders["dead"])
        remove_left(tmp_path.glob("nas-ray-*"))
        assert folders["dead"].exists()  # not yet
        holder.kill()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / MARK).touch()
    folders["linked"].symlink_to(aged(elsewhere), target_is_directory=True)
    (folders["young"] / MARK).touch()
    with marked(folders["alive"]):
        for name in ("alive", "unmarked"):
            aged(folders[name])
        remove_left(tmp_path.glob("nas-ray-*"))
    left = {name for name, folder in folders.items() if folder.exists()}
    assert left == {"alive", "young", "unmarked", "linked"}
    assert (elsewhere / MARK).exists()


def test_a_folder_that_cannot_be_marked_is_used_all_the_same(tmp_path: Path) -> None:
    with marked(tmp_path / "not there"):
        assert not (tmp_path / "not there").exists()


def test_a_run_folder_that_was_half_made_is_removed_when_one_of_its_name_is_made(tmp_path: Path) -> None:
    mine = [".run.4242", ".run.4243", ".run.notes", ".other.4242", ".run.x.4242"]
    for name in mine:
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").touch()
        if name != ".run.4243":  # another process's, of this moment
            aged(tmp_path / name)
    begin(tmp_path / "run").close()
    assert {each.name for each in tmp_path.iterdir()} == {"run", *mine[1:]}


def test_two_processes_of_one_number_make_a_run_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Manifest.write

    def write_later(manifest: Manifest, part: Path) -> None:
        monkeypatch.setattr(Manifest, "write", write)
        begin(tmp_path / "run").close()  # in another container, in the same moment
        assert part.exists()
        write(manifest, part)

    monkeypatch.setattr(Manifest, "write", write_later)
    with pytest.raises(UserError, match=r"cannot create the run folder .*run': .*not empty"):
        begin(tmp_path / "run")
    assert [each.name for each in tmp_path.iterdir()] == ["run"]
    begin(tmp_path / "run").close()
