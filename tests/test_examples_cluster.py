"""The examples for clusters: two nodes run for real; what needs Kubernetes or SLURM is checked as far as can be."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ray_nodes import Nodes

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "cluster"
BASH = shutil.which("bash")

needs_bash = pytest.mark.skipif(BASH is None, reason="needs bash")


def pinned_ray() -> str:
    return next(line.split("==")[1] for line in (ROOT / "constraints.txt").read_text().split() if line[:5] == "ray==")


def job() -> dict[str, Any]:
    import yaml

    found = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_the_kuberay_job_has_all_that_its_definition_requires() -> None:
    # Of KubeRay's apis/ray/v1: what has no default, and the names of the rest, as a slip of the pen is no error there.
    made = job()
    assert (made["apiVersion"], made["kind"]) == ("ray.io/v1", "RayJob")
    assert made["metadata"]["name"]
    assert set(made["spec"]) <= {
        "entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec",
        "runtimeEnvYAML", "submissionMode",
    }  # fmt: skip
    cluster = made["spec"]["rayClusterSpec"]
    known = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"}
    assert set(cluster) == known | {"workerGroupSpecs"}
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # a map of text to text
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["name"]
            assert container["image"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert set(container["resources"]) == {"requests", "limits"}
    for worker in cluster["workerGroupSpecs"]:
        assert worker["groupName"]
        assert 0 <= worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


def test_kuberay_dockerfile_and_constraints_have_one_version_of_ray() -> None:
    text = (EXAMPLES / "kuberay.yaml").read_text() + (EXAMPLES / "Dockerfile").read_text()
    versions = re.findall(r"(?:rayVersion: \"|ray:|nas:|ray\[default\]==)(\d+\.\d+\.\d+)", text)
    assert len(versions) >= 7
    assert set(versions) == {pinned_ray()}


def test_the_job_is_a_search_that_we_understand_and_fits_a_worker(nas_cli: Any, tmp_path: Path) -> None:
    made = job()
    words = made["spec"]["entrypoint"].split()
    assert words[:2] == ["nas", "search"]
    given = dict(itertools.pairwise(words))
    (worker,) = made["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    has = worker["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(given["--workers"]) == worker["maxReplicas"]
    assert float(given["--gpus-per-trial"]) <= float(has["nvidia.com/gpu"])
    assert float(given["--cpus-per-trial"]) <= float(has["cpu"])
    mounts = worker["template"]["spec"]["containers"][0]["volumeMounts"]
    assert given["--out"].startswith(mounts[0]["mountPath"])
    said = nas_cli(
        *words[1:], "--out", tmp_path
    )  # all options are known: what is wrong is that these images are not here
    assert said.code == 2
    assert "/nas/photos" in said.err


@needs_bash
@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_good_bash(script: Path) -> None:
    subprocess.run([str(BASH), "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


def stand_in(folder: Path, name: str, body: str) -> None:
    """A command on the PATH that writes down how it is called, and then does no more than it must."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f'#!{BASH}\necho "{name} $*" >> "$SAID"\n{body}\n')
    program.chmod(0o755)


@needs_bash
@pytest.mark.parametrize("gpus", [{"CUDA_VISIBLE_DEVICES": "2,3"}, {}], ids=["with GPUs", "without"])
def test_the_slurm_script_starts_a_node_on_each_host_and_passes_the_end_on(
    tmp_path: Path, gpus: dict[str, str]
) -> None:
    stand_in(tmp_path / "bin", "scontrol", "printf 'a\\nb\\nc\\n'")
    stand_in(tmp_path / "bin", "srun", 'while [[ $1 == --* ]]; do shift; done; "$@"')
    stand_in(tmp_path / "bin", "ray", 'echo "gpus $CUDA_VISIBLE_DEVICES, mps $CUDA_MPS_PIPE_DIRECTORY" >> "$SAID"')
    stand_in(tmp_path / "bin", "mkdir", "exit 0")  # folders of the service are in /tmp
    stand_in(tmp_path / "bin", "nvidia-cuda-mps-control", "exit 0")
    stand_in(tmp_path / "bin", "nvidia-smi", """[ -n "${1#--id=}" ] && printf 'GPU-one\nGPU-two\n'""")
    nodes_are_there = 'until [ "$(grep -c "^ray start" "$SAID")" = 3 ]; do sleep 0.05; done'  # in the background
    nas = f"trap 'echo interrupted >> \"$SAID\"; exit 143' TERM; {nodes_are_there}; kill -USR1 $PPID; sleep 20 & wait"
    stand_in(tmp_path / "bin", "nas", nas)
    stand_in(tmp_path / "bin", "python", f'exec {sys.executable} "$@"')
    said = tmp_path / "said"
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SAID": str(said), "SLURM_JOB_ID": "123",
        "SLURM_JOB_NODELIST": "a,b,c", "SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4", **gpus,
    }  # fmt: skip
    words = ["--budget", "400M", "--name", "two words"]
    ended = subprocess.run([str(EXAMPLES / "slurm.sh"), *words], env=environment)
    assert ended.returncode == 143
    lines = said.read_text().splitlines()
    starts = sorted(line for line in lines if line.startswith("srun"))
    assert len(starts) == 3
    assert all("--num-cpus=16 --num-gpus=4" in line for line in starts)
    assert [f"--nodelist={host} " in line for host, line in zip("abc", starts, strict=True)] == [True] * 3
    assert ["--head --port=20123" in line for line in starts] == [True, False, False]
    assert ["--address=a:20123" in line for line in starts] == [False, True, True]
    services = [line for line in lines if line.startswith("nvidia-cuda-mps-control")]
    assert services == ["nvidia-cuda-mps-control -f"] * (3 if gpus else 0)
    assert lines.count("gpus GPU-one,GPU-two, mps /tmp/nas-mps-123") == len(services)
    assert "nas search --ray auto --budget 400M --name two words" in lines
    assert lines[-1] == "interrupted"
    assert not re.search(r"[0-9a-f]{64}", said.read_text())  # the token is on no command line


@needs_bash
@pytest.mark.cluster
def test_two_nodes_of_one_machine_search_together_and_leave_nothing_behind(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    stand_in(tmp_path / "bin", "nvidia-smi", "exit 0")
    stand_in(tmp_path / "bin", "nvidia-cuda-mps-control", '[ "$*" = -d ] || cat >> "$SAID"')
    environment = {
        **os.environ, "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(port), "TMPDIR": str(tmp_path), "SAID": str(tmp_path / "said"),
    }  # fmt: skip
    quick = ["--trials", "4", "--set", "estimator.epochs=1", "--set", "estimator.data_fraction=0.1", "--name", "a"]
    command = [str(EXAMPLES / "two_nodes.sh"), *quick, "--out", str(tmp_path / "runs")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    lines = [line for line in ended.stdout.splitlines() if re.match(r"\d/4  trial", line)]
    assert len(lines) == 4
    assert {word for line in lines for word in re.findall(r" on (\w+)", line)} == {"one", "two"}
    said = (tmp_path / "said").read_text()
    assert said.split() == ["nvidia-smi", "nvidia-cuda-mps-control", "-d", "nvidia-cuda-mps-control", "quit"]
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.cluster
def test_the_command_of_the_guide_submits_a_search_as_a_job(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "cluster.md").read_text()
    (command,) = re.findall(r"^    (ray job submit.*?)\n\n", guide, re.DOTALL | re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for old, new in {
        "http://127.0.0.1:8265": f"http://127.0.0.1:{port}", "/shared/photos": "digits", "/shared/runs": str(tmp_path),
    }.items():  # fmt: skip
        words[words.index(old)] = new
    quick = ["--trials", "2", "--set", "estimator.epochs=1", "--set", "estimator.data_fraction=0.1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the job's `python` is the one that the head finds
    with Nodes(tmp_path / "nodes.log", PATH=path) as nodes:
        nodes.head("--num-cpus=1", "--include-dashboard=true", f"--dashboard-port={port}")
        submit = [sys.executable, "-m", "ray.scripts.scripts", *words[1:], *quick]
        for _ in range(10):  # on a busy machine a new head has no agent within the ten seconds that Ray waits
            ended = subprocess.run(submit, cwd=ROOT, env=nodes.environment, capture_output=True, text=True, timeout=400)
            if "No available agent to submit job" not in ended.stderr:
                break
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "first" / "best.json").exists()
    assert (tmp_path / "first" / "trials.csv").read_text().count("complete") == 2
