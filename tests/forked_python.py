"""A Python that begins `python -m nas` as a fork of a process which has loaded all that commands load.

A script of several commands spends half of its processor time on loading torch, Optuna and onnx for each of them. Each
command still is a process of its own, with its own arguments, folder, environment and exit code; whatever else is asked
of the Python, such as `python -I -`, goes to the real one.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:3] != ["-m", "nas"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    what = json.dumps([sys.argv[3:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(what).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(what)
    sys.exit(int(server.makefile().read()))
"""


@contextmanager
def forked_python(folder: Path) -> Iterator[Path]:
    """The path of such a Python, which lies in a folder."""
    address, python = str(folder / "python.socket"), folder / "python"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        python.write_text(CLIENT.format(python=sys.executable, address=address))
        python.chmod(0o755)
        command, path = [sys.executable, __file__, str(listening.fileno())], str(Path(__file__).parents[1])
        server = subprocess.Popen(command, pass_fds=[listening.fileno()], env={**os.environ, "PYTHONPATH": path})
    try:
        yield python
    finally:
        server.kill()
        server.wait()


def _load() -> None:
    """What starts no thread, as scikit-learn and ONNX Runtime do: of threads a fork has but one."""
    import onnxscript  # noqa: F401
    import optuna.storages._rdb.storage  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import torch.onnx  # noqa: F401

    import nas.commands.exporting
    import nas.commands.scaling
    import nas.commands.search
    import nas.commands.training  # noqa: F401

    assert len(os.listdir("/proc/self/task")) == 1


def _serve(listening: socket.socket) -> None:
    while True:
        asking, _ = listening.accept()
        size, files, _, _ = socket.recv_fds(asking, 4, 3)
        arguments, folder, environment = json.loads(asking.makefile("rb").read(int.from_bytes(size, "big")))
        child = os.fork()
        if not child:
            for place, file in enumerate(files):
                os.dup2(file, place)
                os.close(file)
            listening.close()
            asking.close()
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv, sys.path[0] = ["nas", *arguments], folder
            runpy.run_module("nas", run_name="__main__", alter_sys=True)  # exits
        for file in files:
            os.close(file)
        asking.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        asking.close()


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
