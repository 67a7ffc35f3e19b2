"""`nas measure`, and what its tables are for, from end to end. Nothing here depends on how fast the machine is."""

import json
import re
import shlex

import pytest
from latency_stand_ins import measured_quickly

from estimators.latency import How
from nas.measuring import measure_networks
from searchspaces import UserError

SPACE = """
from searchspaces import Space, Stage, choice, conv_head, conv_stem, mbconv
space = Space(
    "tiny",
    stem=Stage(conv_stem, width=8),
    stages=[Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2))],
    head=Stage(conv_head, width=16),
)
"""
TASK = "8x8x1:10"


@pytest.fixture(autouse=True)
def _quick():
    with measured_quickly():
        yield


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(SPACE)
    return f"{path}:space"


def test_networks_are_measured_in_one_table(nas_cli, tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\nnet = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))\n")
    given = ["mobilenetv1_025", "mobilenetv3_small_100", f"{tmp_path}/net.py:net", "--task", "32x32x3:10"]
    document = nas_cli("measure", *given, "--runtime", "torch", "--batch", "2", "--json").json()
    assert [one["name"] for one in document["networks"]][:2] == given[:2]
    assert document["networks"][2]["params"] == 30_730  # 3072 * 10 + 10
    assert all(0 < one["p10_ms"] <= one["latency_ms"] <= one["p90_ms"] for one in document["networks"])
    assert (document["how"]["runtime"], document["how"]["batch"]) == ("torch", 2)
    said = nas_cli("measure", given[0], "--task", "32x32x3:10", "--quiet")
    assert said.code == 0
    assert "onnxruntime on cpu, 1 thread, batch 1" in said.out


def test_from_a_table_to_a_search_in_milliseconds(nas_cli, tmp_path, tiny):
    table = str(tmp_path / "latency.json")
    make = ["measure", "--space", tiny, "--task", TASK, "--out", table, "--check", "4", "--runtime", "torch"]
    made = nas_cli(*make, "--json").json()
    assert made["check"]["fitted_on"] == made["check"]["checked_on"] == 4
    before = (tmp_path / "latency.json").read_text()
    assert nas_cli(*make, "--json").json() == made  # there was nothing to do
    assert (tmp_path / "latency.json").read_text() == before
    said = nas_cli(*make)
    assert "this table" in said.out
    assert "MACs alone" in said.out

    look = ["space", tiny, "--task", TASK, "--latency", table, "--json"]
    least, most = (nas_cli(*look).json()[which]["latency_ms"] for which in ("smallest", "largest"))
    assert 0 < least < most
    share = (least + most) / (2 * most)  # halfway, as a busy machine may measure all of them alike
    space = nas_cli(*look, "--budget", f"latency_ms={share:.2%}").json()
    upper = float(space["budget"].removeprefix("latency_ms="))
    assert upper == pytest.approx(share * most, rel=1e-3, abs=0.001 + 5e-5 * most)  # of the budget and of the share

    run = tmp_path / "runs" / "a"
    search = ["search", "--space", tiny, "--task", TASK, "--latency", table, "--budget", f"{upper}ms", "--trials", "2",
              "--strategy", "pareto", "--objectives", "accuracy,latency_ms", "--set", "estimator.epochs=1",
              "--out", str(tmp_path / "runs"), "--name", "a"]  # fmt: skip
    found = nas_cli(*search, "--json").json()
    assert found["against"] == "latency_ms"
    assert all(one["latency_ms"] <= upper for one in found["pareto"])
    (tmp_path / "latency.json").unlink()
    again = nas_cli("resume", str(run), "--space", tiny, "--trials", "3", "--json").json()
    assert again["trials"]["complete"] == 3
    assert nas_cli("cost", str(run), "--space", tiny, "--json").json()["latency_ms"] == again["best"]["latency_ms"]
    shown = nas_cli("show", str(run), "--space", tiny).out
    assert re.search(r"accuracy +latency +MACs", shown)
    assert re.search(r"% +[\d.]+ms +[\d.]+K", shown)


def test_ctrl_c_says_the_command_that_resumes_the_table(nas_cli, monkeypatch, tmp_path):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.measuring.measure_space", interrupted)
    words = ["measure", "--space", "mbconv", "--task", "32x32x3:10", "--out", str(tmp_path / "my table.json")]
    said = nas_cli(*words)
    assert (said.code, said.err) == (130, f"nas: interrupted; resume with: nas {shlex.join(words)}\n")


def test_an_unknown_network_is_refused_before_another_is_made():
    steps = []
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        measure_networks(["resnet18", "resnet19"], How("torch"), on_step=steps.append)
    assert steps == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["measure"], "give networks to measure, or --space SPACE --out FILE.json"),
        (["measure", "resnet18", "--out", "t.json"], "give networks to measure, or"),
        (["measure", "--out", "t.json"], "add --space SPACE"),
        (["measure", "resnet19"], "did you mean 'resnet18'"),
        (["measure", "--space", "nasnet", "--out", "t.json"], "not a chain of stages"),
        (["measure", "resnet18", "--threads", "0"], "threads must be from 1"),
        (["measure", "resnet18", "--budget", "1M"], "--budget is for the latency table of a space; leave it out with"),
        (["measure", "resnet18", "--check", "20"], "--check is for the latency table of a space; leave it out with"),
        (["measure", "--space", "mbconv", "--out", "there.json"], "is not a latency table"),
        (["search", "--budget", "8ms"], "nas measure --space mbconv --task 224x224x3:1000 --out latency.json"),
        (["space", "mbconv", "--latency", "none.json"], "cannot read the latency table none.json"),
        (["search", "--budget", "8ms", "--latency", "there.json"], "'there.json' is not a latency table"),
    ],
)
def test_a_mistake_is_one_line(nas_cli, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text(json.dumps({"format": 1}))
    said = nas_cli(*arguments)
    assert said.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "t.json").exists()
    assert not (tmp_path / "runs").exists()


def test_what_is_measured_otherwise_is_another_table(nas_cli, tmp_path, tiny):
    table = str(tmp_path / "latency.json")
    make = ["measure", "--space", tiny, "--task", TASK, "--out", table, "--check", "4", "--runtime", "torch"]
    assert nas_cli(*make, "--quiet").code == 0
    said = nas_cli(*make, "--batch", "2")
    assert said.code == 2
    assert "started with batch 1, not 2" in said.err
