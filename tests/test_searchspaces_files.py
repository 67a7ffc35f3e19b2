"""Laws of writing files: they are there whole, and nothing is put in the place of what is not a file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from searchspaces import UserError
from searchspaces.files import write_whole


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path):
    for content in ("one\n", b"two\n"):
        write_whole(tmp_path / "a.csv", content)
        assert (tmp_path / "a.csv").read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_its_target_is_written(tmp_path, there):
    target, link = tmp_path / "below" / "real.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    if there:
        target.write_text("before\n")
    link.symlink_to(Path("below") / "real.csv")
    write_whole(link, "after\n")
    assert link.is_symlink()
    assert target.read_text() == "after\n"
    assert (os.listdir(tmp_path / "below"), sorted(os.listdir(tmp_path))) == (["real.csv"], ["below", "link.csv"])


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_and_stays_one(tmp_path, linked):
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        path = tmp_path / "link.csv"
        path.symlink_to(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(path, "file,class\n")
    reader.join(timeout=10)
    assert read == [b"file,class\n"]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert path.is_symlink() == linked


def test_the_file_that_a_process_prints_into_is_not_replaced(tmp_path):
    out = tmp_path / "out.txt"
    code = "from pathlib import Path; from searchspaces.files import write_whole as write"
    code += "; write(Path('out.txt'), 'table\\n'); print('screen')"
    with out.open("wb") as stream:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=stream, check=True)
    assert out.read_text() == "table\nscreen\n"


def test_what_cannot_be_written_is_one_line_with_its_path_and_reason(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere" / "real.csv")
    for name, why in (("folder", "Is a directory"), ("lost", "No such file or directory"),
                      ("no/a.csv", "No such file or directory")):  # fmt: skip
        with pytest.raises(UserError, match=rf"cannot write the table .*{name}: {why}"):
            write_whole(tmp_path / name, "x", "the table")
    assert sorted(os.listdir(tmp_path)) == ["folder", "lost"]
