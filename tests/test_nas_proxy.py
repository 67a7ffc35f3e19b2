"""`nas proxy`: every proxy on the same networks, agreement as SciPy has it, the time that it costs, and resuming."""

from __future__ import annotations

import io
import json
import re
import shlex
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from estimators import load_data
from estimators.agreement import ceiling, kendall
from nas.api import open_study
from nas.commands.proxies import show_proxies, verdicts
from nas.next_commands import proxy_command, search_command
from nas.proxies import Comparison, _recommended, _row, found_within, parse_estimated
from searchspaces import Task, UserError, load_object
from studies import Study
from studies.pages.proxies import _ranked, proxies_figure
from studies.proxy_agreement import Agreement, _settings
from studies.settings import Settings

SPACE = """
from searchspaces import Space, Stage, choice, conv_head, conv_stem, mbconv

space = Space(
    "small",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[
        Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2), stride=2),
        Stage(mbconv, width=choice(16, 24), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2)),
    ],
    head=Stage(conv_head, width=32),
)


def key(architecture):
    return ",".join(map(str, architecture.choices.values()))
"""


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A space of one's own, a table of three noisy trainings of each network, and one of a proxy that knows half.

    And `few.npz`: 600 digits, for what is trained.
    """
    monkeypatch.chdir(tmp_path)
    Path("small.py").write_text(SPACE)
    space, key = (load_object(f"small.py:{name}") for name in ("space", "key"))
    rng = np.random.default_rng(0)
    truth, proxy = {}, {}
    for member in space.enumerate():
        quality = rng.normal(0, 0.02)
        truth[key(member)] = [0.8 + quality + rng.normal(0, 0.005) for _ in range(3)]
        proxy[key(member)] = [0.5 + quality + rng.normal(0, 0.02)]
    Path("truth.json").write_text(json.dumps(truth))
    Path("half.json").write_text(json.dumps(proxy))
    digits = load_data("digits")
    np.savez("few.npz", train_images=digits.images[:600], train_labels=digits.labels[:600])
    return truth, proxy, key


COMMAND = ("proxy", "--space", "small.py:space", "--budget", "100%", "--task", "16x16x1:10", "--networks", "30",
           "--reference", "table:truth.json+key=small.py:key", "--proxies", "table:half.json+key=small.py:key",
           "--name", "here", "--workers", "1", "--quiet")  # fmt: skip


def test_proxies_are_compared_on_the_same_networks_as_scipy_would(nas_cli, recorded):
    truth, proxy, key = recorded
    done = nas_cli(*COMMAND, "--trainings", "3", "--json")
    found = done.json()
    studies = [open_study(folder, space="small.py:space") for folder in sorted(Path("runs/here").glob("*-*"))]
    drawn = [{trial.architecture for trial in study.trials} for study in studies]
    assert len(studies) == 4
    assert all(each == drawn[0] for each in drawn)
    assert len(drawn[0]) == found["networks"] == 30
    by_study = {study.folder.name: {trial.architecture: trial.accuracy for trial in study.trials} for study in studies}
    networks = list(drawn[0])
    trainings = np.array([[by_study[f"reference-{n}"][each] for each in networks] for n in (1, 2, 3)])
    exact = trainings.mean(0)
    assert np.array_equal(trainings.T, [truth[key(each)] for each in networks])  # each recorded number once
    half = [proxy[key(each)][0] for each in networks]
    row = found["proxies"][-1]
    assert row["proxy"] == "table:half.json"
    assert row["tau"] == pytest.approx(kendalltau(half, exact).statistic)
    assert row["spearman"] == pytest.approx(spearmanr(half, exact).statistic)
    assert row["regret"] == pytest.approx(max(exact) - exact[int(np.argmax(half))])
    assert row["interval"][0] < row["tau"] < row["interval"][1]
    assert row["corrected"] > row["tau"]  # the reference is noisy
    macs = [each.cost(Task(16, 1, 10)).macs for each in networks]
    assert found["proxies"][0]["tau"] == pytest.approx(kendalltau(macs, exact).statistic)
    assert 0.7 < found["reference"]["tau"] < found["reference"]["ceiling"] < 1
    # two-way analysis of variance: what a training adds to all networks is none's luck; (3 - 1) * (30 - 1) degrees
    rest = trainings - exact - trainings.mean(1, keepdims=True) + trainings.mean()
    assert found["reference"]["luck"] == pytest.approx(((rest**2).sum() / 58) ** 0.5)
    assert found["reference"]["shares_validation"] is None  # of a table nobody knows
    assert found["recommended"] == "table:half.json"
    page = Path(found["files"]["plot"]).read_text()
    assert "table:half.json" in page
    assert "an exact proxy" in page
    assert json.loads(Path(found["files"]["results"]).read_text())["networks"] == 30


def test_a_table_is_the_reference_as_often_as_it_recorded_each_network(nas_cli, recorded):
    truth = recorded[0]
    Path("two.json").write_text(json.dumps({each: of[: 2 + (n % 2)] for n, (each, of) in enumerate(truth.items())}))
    Path("one.json").write_text(json.dumps({each: of[0] for each, of in truth.items()}))
    command = (*COMMAND, "--networks", "8")
    two = nas_cli(*command, "--reference", "table:two.json+key=small.py:key", "--trainings", "3", "--name", "two").out
    assert "the table holds 2 accuracies per network, not 3" in " ".join(two.split())
    told = json.loads(Path("runs/two/proxies.json").read_text())["reference"]
    assert (told["trainings"], told["asked"]) == (2, 3)
    again = nas_cli(*command, "--reference", "table:one.json+key=small.py:key", "--name", "one").out
    said = " ".join(again.split())
    assert "unknown, as the table holds one accuracy per network; so is the τ that an exact proxy would reach" in said
    assert "0.0 points between trainings" not in said
    told = json.loads(Path("runs/one/proxies.json").read_text())["reference"]
    assert (told["trainings"], told["tau"], told["ceiling"], told["luck"]) == (1, None, None, None)
    assert "an exact proxy" not in Path("runs/one/proxies.html").read_text()


def drawn(folder):
    return [each.architecture for each in open_study(folder, space="small.py:space").trials]


def test_more_networks_continue_the_comparison_and_fewer_are_the_first_of_them(nas_cli, recorded):
    """Of a recorded reference and of one that is trained, whose replicas are given the networks of the first."""
    scores = (*COMMAND[:7], "--reference", "naswot", "--proxies", "synflow", "--trainings", "2", "--data", "few.npz",
              "--workers", "1", "--quiet", "--name", "trained", "--networks")  # fmt: skip
    for command, name in (((*COMMAND, "--networks"), "here"), (scores, "trained")):
        first = nas_cli(*command, "5", "--json").json()
        folders = sorted(Path("runs", name).glob("*-*"))
        before = {each: (drawn(each), [trial.ended for trial in open_study(each, space="small.py:space").trials])
                  for each in folders}  # fmt: skip
        grown = nas_cli(*command, "9", "--json").json()
        assert (first["networks"], grown["networks"], grown["left_out"]) == (5, 9, 0)
        for folder, (networks, ends) in before.items():
            trials = open_study(folder, space="small.py:space").trials
            assert [each.architecture for each in trials][:5] == networks
            assert [each.ended for each in trials][:5] == ends  # none is trained again
        again = nas_cli(*command, "9", "--json").json()
        assert again["proxies"] == grown["proxies"]
        fewer = nas_cli(*command, "5", "--json").json()
        alike = ("tau", "interval", "spearman", "regret", "found", "beyond_counting")
        assert [[each[one] for one in alike] for each in fewer["proxies"]] == [
            [each[one] for one in alike] for each in first["proxies"]
        ]
        assert (fewer["networks"], fewer["left_out"], fewer["drawn"]) == (5, 0, 9)
        screen = " ".join(nas_cli(*command, "5").out.split())
        assert "the first 5 of 9 networks drawn" in screen
        assert "left out" not in screen
    reference, replica, rest = (drawn(f"runs/trained/reference-{n}") for n in ("1", "2", "2-from-6"))
    assert replica + rest == reference


def test_a_comparison_begun_before_networks_could_be_added_goes_on(nas_cli, recorded):
    """Its replicas were begun with the networks of the first, and their number, among their settings."""
    command = (*COMMAND[:7], "--reference", "naswot", "--proxies", "synflow", "--trainings", "2", "--data", "few.npz",
               "--workers", "1", "--quiet", "--name", "old", "--networks", "5")  # fmt: skip
    nas_cli(*command)
    manifest = Path("runs/old/reference-2/study.json")
    kept = json.loads(manifest.read_text())
    assert kept["strategy"]["name"] == "evolution"
    assert [json.loads(each)["choices"] for each in kept["strategy"]["resolved"]["start_from"]] == [
        dict(each.choices) for each in drawn("runs/old/reference-1")
    ]
    assert "among" not in json.loads(Path("runs/old/reference-1/study.json").read_text())["strategy"]["resolved"]


def test_a_table_of_part_of_a_space_is_a_reference_for_that_part(nas_cli, recorded):
    truth, _, key = recorded
    space = load_object("small.py:space")
    rng = np.random.default_rng(3)
    part = {each for each in truth if rng.random() < 0.15}
    Path("part.json").write_text(json.dumps({each: truth[each] for each in part}))
    found = nas_cli(*COMMAND, "--reference", "table:part.json+key=small.py:key", "--networks", "12", "--json").json()
    assert (found["networks"], found["left_out"]) == (12, 0)
    assert {key(each) for each in drawn("runs/here/reference-1")} < part
    assert drawn("runs/here/proxy-table-half.json") == drawn("runs/here/reference-1")
    more = nas_cli(*COMMAND, "--reference", "table:part.json+key=small.py:key", "--networks", "200").out
    assert f"{len(part)} networks" in more  # all that there are
    texts = {each.to_json(): truth[key(each)] for each in space.enumerate() if key(each) in part}
    Path("texts.json").write_text(json.dumps(texts))
    by_text = nas_cli(*COMMAND, "--reference", "table:texts.json", "--networks", "12", "--name", "texts", "--json")
    assert by_text.json()["reference"]["mean"] == found["reference"]["mean"]
    assert drawn("runs/texts/reference-1") == drawn("runs/here/reference-1")[:12]
    none = {f"9,{each}": of for each, of in truth.items()}
    Path("none.json").write_text(json.dumps(none))
    refused = nas_cli(*COMMAND, "--reference", "table:none.json+key=small.py:key", "--name", "none")
    assert (refused.code, "holds no network of small" in refused.err) == (2, True)
    assert not Path("runs/none").exists()


def test_the_screen_says_what_follows_and_the_command_resumes(nas_cli, recorded):
    out = nas_cli(*COMMAND, "--trainings", "2").out
    assert "recommended: table:half.json" in out
    assert "an exact proxy would reach at most" in " ".join(out.split())
    ledger = Path("runs/here/reference-1/ledger.db")
    before = ledger.read_bytes()
    again = nas_cli(*COMMAND, "--trainings", "3", "--json").json()  # goes on: one more training of each
    assert ledger.read_bytes() == before
    assert again["reference"]["trainings"] == 3
    refused = nas_cli(*COMMAND, "--seed", "5")
    assert refused.code == 2
    assert "seed" in refused.err


def test_counting_is_said_to_be_as_good_where_it_is(nas_cli, recorded):
    out = nas_cli(*COMMAND[:-7], "--proxies", "table:truth.json+key=small.py:key,synflow", "--name", "there",
                  "--networks", "8", "--trainings", "1", "--workers", "1", "--quiet").out  # fmt: skip
    assert "synflow" in out
    assert "not distinguishable from counting" in out or "no proxy is significantly better" in out
    said = " ".join(out.split())
    assert (
        "its noise unknown, as only one training per network was used; so is the τ that an exact proxy would reach"
        in said
    )
    assert "between trainings" not in said


def test_what_is_undefined_is_null_and_comes_last(nas_cli, recorded):
    rng = np.random.default_rng(2)
    luck = {key: rng.normal(0, 0.01) for key in recorded[0]}  # what is good in one training is bad in the other
    Path("luck.json").write_text(json.dumps({key: [0.8 + each, 0.8 - each / 2] for key, each in luck.items()}))
    Path("constant.json").write_text(json.dumps({key: [0.5] for key in recorded[0]}))
    tables = [f"table:{name}.json+key=small.py:key" for name in ("luck", "constant", "half")]
    command = (*COMMAND, "--reference", tables[0], "--trainings", "2", "--proxies", ",".join(tables[1:]))
    screen = nas_cli(*command).out
    found = json.loads(Path("runs/here/proxies.json").read_text(), parse_constant=pytest.fail)
    rows = {one["proxy"]: one for one in found["proxies"]}
    assert found["reference"]["tau"] <= 0  # of trainings that are luck alone, so there is nothing to correct by
    assert [one["corrected"] for one in rows.values()] == [None] * 4
    constant = rows["table:constant.json"]
    assert (constant["tau"], constant["interval"], constant["beyond_counting"]) == (None, [None] * 2, [None] * 2)
    assert [one["tau"] or -1 for one in _ranked(found)] == sorted(one["tau"] or -1 for one in rows.values())[::-1]
    assert proxies_figure(found).layout.yaxis.ticktext[0] == "table:constant.json"
    assert re.search(r"table:constant.json +– +–", screen)
    assert '<td class="text">table:constant.json</td><td>–</td>' in Path("runs/here/proxies.html").read_text()
    alike, half = (nas_cli(*SEARCH, *by_table(name), "--json").json() for name in ("constant", "half"))
    assert alike["proxy_agreement"] is None
    assert half["proxy_agreement"]["tau"] == rows["table:half.json"]["tau"]


def told(*rows):
    """What follows from rows of a name, what it finds and the interval beyond counting, which MACs do not have."""
    one = {"seconds": 1.0, "interval": [0.1, 0.5]}
    rows = [{**one, "proxy": name, "found": found, "beyond_counting": ends} for name, found, ends in rows]
    document = {"counting": "macs", "proxies": rows, "recommended": _recommended(rows), "within_seconds": 60.0}
    return document["recommended"], [said for said, _ in verdicts(document)]


def test_what_is_recommended_is_better_than_counting_and_finds_more():
    macs, params = ("macs", 0.90, None), ("params", 0.87, None)
    zico, snip = ("zico", 0.92, [-0.1, 0.3]), ("snip", 0.89, [-0.5, -0.1])
    short, naswot = ("short", 0.91, [0.05, 0.4]), ("naswot", 0.88, [0.1, 0.4])
    recommended, said = told(macs, params, short, zico, naswot, snip)
    assert recommended == "short"
    assert said == [
        "not distinguishable from counting macs: zico",
        "worse than counting macs: snip",
        "recommended: short, which finds a network with 91.0% accuracy in 1m on one worker, the most of those better "
        "than counting; counting macs finds one with 90.0% accuracy at no cost",
    ]
    recommended, said = told(macs, params, naswot)  # it ranks better, and its first choice is no better
    assert recommended is None
    assert said == [
        "better than counting macs: naswot",
        "none is recommended, as counting finds as much: naswot finds a network with 88.0% accuracy in 1m on one "
        "worker, and counting macs finds one with 90.0% accuracy at no cost",
    ]
    assert told(("macs", 0.85, None), ("params", 0.93, None), short)[0] is None  # the other count finds more
    recommended, said = told(macs, params, zico, snip)
    assert recommended is None
    assert said[-1] == (
        "no proxy is significantly better than counting macs: train longer or draw more networks to tell more"
    )


def test_the_screen_has_all_columns_in_80_characters_and_the_page_the_same(nas_cli, recorded, monkeypatch):
    from rich.console import Console

    out = nas_cli(*COMMAND, "--trainings", "2", "--top", "5", "--networks", "12").out
    assert re.search(r"proxy +τ +90% interval +corrected +beyond counting", out)
    assert re.search(r"proxy +ρ +90% interval +regret +best 5 +finds +time", out)
    found = json.loads(Path("runs/here/proxies.json").read_text())
    row = found["proxies"][-1]
    assert found["top"] == 5
    assert row["spearman_interval"][0] < row["spearman"] < row["spearman_interval"][1]
    slow = {"seconds": 83.0, "interval": [-0.2, -0.1], "estimator": {"name": "short-training"}}
    found["proxies"].append({**row, "proxy": "short+metric=training-loss", **slow})
    screen = Console(width=80, record=True, color_system=None, file=io.StringIO())
    show_proxies(found, screen)
    lines = screen.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(re.search(r"table:half.json .* –$", line.rstrip()) for line in lines)  # recorded, so nobody knows
    assert sum(line.strip() == "+metric=training-loss" for line in lines) == 2  # broken there alone, in both tables
    assert re.search(rf"short +{row['spearman']:.2f} .* {row['found']:.1%} +1m 23s", "\n".join(lines))
    page = Path("runs/here/proxies.html").read_text()
    for column in ("corrected", "beyond counting", "interval of ρ", "best 5", "finds"):
        assert f">{column}</th>" in page
    refused = nas_cli(*COMMAND, "--top", "31")
    assert (refused.code, "top must be from 1 to the 30 networks, got 31" in refused.err) == (2, True)


def test_short_trainings_and_scores_are_compared_with_long_trainings(nas_cli, recorded):
    found = nas_cli("proxy", "--space", "small.py:space", "--budget", "100%", "--networks", "8", "--reference-epochs",
                    "2", "--trainings", "1", "--proxies", "epochs=1,naswot", "--workers", "1", "--quiet", "--json",
                    "--task", "16x16x1:10", "--data", "few.npz").json()  # fmt: skip
    one, observed, by_loss = "epochs=1", "epochs=1+adjusted=false", "epochs=1+metric=training-loss"
    rows = {each["proxy"]: each for each in found["proxies"]}
    assert [*rows] == ["macs", "params", one, observed, by_loss, "naswot"]
    assert rows[one]["seconds"] == rows[observed]["seconds"] == rows[by_loss]["seconds"]  # nothing more is trained
    short, long = (open_study(f"{found['folder']}/{name}", space="small.py:space") for name in
                   ("proxy-epochs-1", "reference-1"))  # fmt: skip
    truth = {each.architecture: each.accuracy for each in long.trials}
    for name, value in (
        (one, lambda each: short.adjusted[each.number]), (observed, lambda each: each.accuracy),
        (by_loss, lambda each: -each.details["train_loss"]),
    ):  # fmt: skip
        values = {each.architecture: value(each) for each in short.trials}
        tau = kendalltau([values[each] for each in truth], [*truth.values()]).statistic
        assert rows[name]["tau"] == pytest.approx(tau), name
    assert rows[one]["estimator"] == {**rows[observed]["estimator"], "adjusted": True}
    assert found["reference"]["tau"] is None
    assert found["proxies"][2]["seconds"] > 0
    assert found["folder"] == "runs/proxy-small-space-100-few"


TRAINED = ("proxy", "--space", "small.py:space", "--budget", "100%", "--networks", "4", "--reference-epochs", "1",
           "--proxies", "naswot,epochs=1+split_seed=2", "--name", "split", "--workers", "1", "--quiet", "--task",
           "16x16x1:10", "--data", "few.npz", "--json")  # fmt: skip


def splits():
    places = sorted(Path("runs/split").glob("reference-*"))
    return [open_study(place, space="small.py:space").manifest.estimator["resolved"]["split_seed"] for place in places]


def test_each_training_of_the_reference_has_a_split_that_no_proxy_and_no_other_training_has(nas_cli, recorded):
    found = nas_cli(*TRAINED, "--trainings", "3").json()
    assert splits() == [1, 3, 4]  # 0 is that of short training where nobody says, 2 that of the other proxy
    assert found["reference"]["shares_validation"] is False
    assert "at most" not in Path(found["files"]["plot"]).read_text()


def test_a_reference_begun_with_one_split_goes_on_and_its_ceiling_is_an_upper_bound(nas_cli, recorded, monkeypatch):
    def all_by_the_first(self, place, taken, split=None):  # as it once was
        return replace(self.reference, settings={**self.reference.settings, "split_seed": 1})

    with monkeypatch.context() as before:
        before.setattr(Comparison, "_apart", all_by_the_first)
        nas_cli(*TRAINED, "--trainings", "2")
    ledgers = [Path(f"runs/split/reference-{number}/ledger.db") for number in (1, 2)]
    recorded_then = [ledger.read_bytes() for ledger in ledgers]
    same = nas_cli(*TRAINED, "--trainings", "2").json()
    assert [ledger.read_bytes() for ledger in ledgers] == recorded_then
    assert same["reference"]["shares_validation"] is True
    assert "share their validation images" in Path(same["files"]["plot"]).read_text()
    assert "reach at most" in " ".join(nas_cli(*TRAINED[:-1], "--trainings", "2").out.split())
    more = nas_cli(*TRAINED, "--trainings", "3").json()
    assert [ledger.read_bytes() for ledger in ledgers] == recorded_then
    assert splits() == [1, 1, 3]
    assert more["reference"]["shares_validation"] is True  # the first two still do
    studies = [open_study(f"runs/split/reference-{number}", space="small.py:space") for number in (1, 2, 3)]
    by_network = [{trial.architecture: trial.accuracy for trial in study.trials} for study in studies]
    one, two, third = ([found[each] for each in by_network[0]] for found in by_network)
    # the pair that shares its images agrees on their luck as well, and is left out
    apart = [kendalltau(one, third).statistic, kendalltau(two, third).statistic]
    assert more["reference"]["tau"] == pytest.approx(float(np.mean(apart)))


def test_trainings_on_data_with_a_validation_part_share_it(nas_cli, recorded):
    few = np.load("few.npz")
    images, labels = few["train_images"], few["train_labels"]
    np.savez("parts.npz", train_images=images[:300], train_labels=labels[:300], val_images=images[300:450],
             val_labels=labels[300:450], test_images=images[450:], test_labels=labels[450:])  # fmt: skip
    found = nas_cli(*TRAINED, "--trainings", "2", "--data", "parts.npz").json()
    assert found["reference"]["shares_validation"] is True


def test_the_ceiling_is_what_an_exact_proxy_has_where_trainings_do_not_share_their_luck():
    # quality, luck with images and luck in training deviate by 1 each: trainings that are judged on images of their own
    # correlate by 1/3, on the same images by 2/3, as if luck with these were quality
    quality, one, two, luck, other_luck = np.random.default_rng(0).normal(size=(5, 2000))
    shared = [quality + luck + each for each in (one, two)]
    apart = [quality + luck + one, quality + other_luck + two]
    exact = {}
    for name, trainings in (("shared", shared), ("apart", apart)):
        found = ceiling(kendall(*trainings), 2)
        exact[name] = found - kendall(quality, np.mean(trainings, 0))
    assert exact["apart"] == pytest.approx(0, abs=0.03)
    # sqrt(4/5) against sqrt(1/2.5) by Spearman and Brown: 2/pi * asin(0.894) less 2/pi * asin(0.632)
    assert exact["shared"] == pytest.approx(0.705 - 0.436, abs=0.03)


def test_trainings_at_once_count_with_what_they_took_of_the_device(nas_cli, recorded):
    command = (*COMMAND[:7], "--networks", "4", "--reference", "table:truth.json+key=small.py:key", "--trainings", "1",
               "--proxies", "epochs=1", "--data", "few.npz", "--name", "shared", "--quiet", "--json")  # fmt: skip
    row = next(each for each in nas_cli(*command, "--at-once", "4").json()["proxies"] if each["proxy"] == "epochs=1")
    trials = open_study("runs/shared/proxy-epochs-1", space="small.py:space").trials
    assert all(0 < each.details["device_share"] < 1 for each in trials)
    assert row["seconds"] == pytest.approx(np.mean([each.seconds * each.details["device_share"] for each in trials]))


def test_where_none_is_recommended_the_command_that_comes_next_draws_more_networks(nas_cli, recorded):
    command = ("proxy", "--space", "small.py:space", "--budget", "100%", "--networks", "4", "--reference",
               "table:truth.json+key=small.py:key", "--trainings", "1", "--proxies", "naswot", "--task", "16x16x1:10",
               "--data", "few.npz", "--quiet")  # fmt: skip
    found = nas_cli(*command, "--json").json()
    assert found["recommended"] is None
    assert found["next"] == f"nas {shlex.join([*command[:5], *command[7:], '--json', '--networks', '8'])}"
    assert "--networks 8" in " ".join(nas_cli(*command).out.split())
    assert nas_cli(*shlex.split(found["next"])[1:]).json()["networks"] == 8  # continues it, as it has the same name


def test_a_space_of_published_strides_is_searched_next_too(tmp_path):
    settings = Settings.parse({"space": "mbconv@published", "data": "digits", "trials": 2})
    study = Study.create(tmp_path / "run", settings)
    assert search_command(study).startswith("nas search --space mbconv@published --budget 100% --data digits")
    study.close()


def test_rungs_are_no_part_of_the_proxy_that_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rungs = "images:0.25+epochs:1,images:0.5"  # with both characters that separate settings and proxies
    settings = {"epochs": 2, "width": 1.0, "rungs": rungs}
    search = {"space": "mbconv", "data": "digits", "trials": 2, "pruner": "median", "estimator_settings": settings}
    with closing(Study.create(tmp_path / "run", Settings.parse(search))) as study:
        words = shlex.split(proxy_command(study))
        (proxy,) = map(parse_estimated, words[words.index("--proxies") + 1].split(","))
        assert proxy.settings == {"epochs": 2, "width": 1.0}
        same = {**search, "pruner": "none", "estimator_settings": proxy.settings}
        with closing(Study.create(tmp_path / "proxy", Settings.parse(same))) as measured:
            described = measured.manifest.estimator["resolved"]
        assert described != study.manifest.estimator["resolved"]
        assert _settings(described) == _settings(study.manifest.estimator["resolved"])


@pytest.mark.parametrize("proxy", ["epochs=1", "naswot", "epochs=1+metric=training-loss"])
def test_the_command_that_comes_next_searches_with_the_proxy_recommended(nas_cli, recorded, monkeypatch, proxy):
    monkeypatch.setattr("nas.proxies._recommended", lambda rows: proxy)  # four networks tell none apart
    trained = proxy.removesuffix("+metric=training-loss")
    command = ("proxy", "--space", "small.py:space", "--budget", "100%", "--networks", "4", "--reference", "epochs=1",
               "--trainings", "1", "--proxies", trained, "--workers", "1", "--quiet", "--task",
               "16x16x1:10", "--data", "few.npz")  # fmt: skip
    found = nas_cli(*command, "--json").json()
    assert found["next"] in " ".join(nas_cli(*command).out.split())
    made = nas_cli(*shlex.split(found["next"])[1:], "--trials", "1", "--workers", "1", "--quiet", "--json").json()
    run, compared = (
        open_study(folder, space="small.py:space").manifest
        for folder in (Path(made["run"]), next(Path(found["folder"]).glob("proxy-*")))
    )
    if proxy == trained:
        assert run.estimator == compared.estimator
    else:
        more = {"metric": "training-loss", "estimates": "training likelihood, not accuracy"}
        assert run.estimator["resolved"] | {"adjusted": True} == {**compared.estimator["resolved"], **more}
        shown = nas_cli("show", made["run"], "--space", "small.py:space", "--json").json()
        assert shown["proxy_agreement"]["tau"] == next(one["tau"] for one in found["proxies"] if one["proxy"] == proxy)
    assert (run.space, run.budget, run.task) == (compared.space, compared.budget, compared.task)


@pytest.mark.parametrize(
    ("text", "said"),
    [("zicco", "did you mean 'zico'"), ("table", "table:FILE.json"), ("epochs", "settings of short training")],
)
def test_a_proxy_that_is_none_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        parse_estimated(text)


def test_a_proxy_that_ranks_worse_than_counting_is_said_to_be_worse():
    one = Agreement("runs/proxy", 40, None, "short", -0.2, (-0.4, 0.0), 0.9, "macs", False, "worse")
    assert one.told().endswith("; worse than counting MACs")


def test_a_reference_that_cannot_be_read_is_refused_before_anything_is_trained(nas_cli, recorded):
    Path("percent.json").write_text(json.dumps({key: [100 * each for each in of] for key, of in recorded[0].items()}))
    refused = nas_cli("proxy", "--space", "small.py:space", "--budget", "100%", "--networks", "4", "--name", "x",
                      "--task", "16x16x1:10", "--reference", "table:percent.json+key=small.py:key",
                      "--proxies", "epochs=1")  # fmt: skip
    assert (refused.code, "is it 'percent'?" in refused.err) == (2, True)
    assert not Path("runs/x").exists()


def test_a_proxy_that_fails_everywhere_is_named(nas_cli, recorded):
    refused = nas_cli(*COMMAND[:-7], "--proxies", "table:half.json", "--name", "bad", "--workers", "1", "--quiet")
    assert refused.code == 2
    assert "proxy table:half.json: all 5 trials failed in the same way" in refused.err


def test_what_is_found_in_some_time_is_the_mean_over_all_draws():
    rng = np.random.default_rng(1)
    proxy, truth = rng.normal(size=7), rng.normal(size=7)
    exact = np.mean([truth[max(drawn, key=lambda each: proxy[each])] for drawn in combinations(range(7), 3)])
    assert found_within(proxy, truth, 2.0, 6.5) == pytest.approx(exact)
    assert found_within(proxy, truth, 0.0, 1.0) == truth[int(np.argmax(proxy))]


def test_a_table_of_accuracies_is_not_taken_for_scores(nas_cli, recorded):
    out = nas_cli("search", "--space", "small.py:space", "--budget", "100%", "--task", "16x16x1:10", "--trials", "4",
                  "--estimator", "table:truth.json", "--set", "estimator.key=small.py:key", "--workers",
                  "1").out  # fmt: skip
    assert "only rank" not in out
    assert "score" not in out


SEARCH = ("search", "--space", "small.py:space", "--budget", "100%", "--task", "16x16x1:10", "--trials", "2",
          "--workers", "1", "--quiet")  # fmt: skip


def by_table(name):
    return "--estimator", f"table:{name}.json", "--set", "estimator.key=small.py:key", "--name", f"by-{name}"


def test_a_search_says_what_was_measured_of_its_own_proxy_and_of_no_other(nas_cli, recorded):
    row = nas_cli(*COMMAND, "--trainings", "2", "--json").json()["proxies"][-1]
    found = nas_cli(*SEARCH, *by_table("half"), "--json").json()["proxy_agreement"]
    assert (found["tau"], found["interval"], found["networks"]) == (row["tau"], row["interval"], 30)
    assert (found["folder"], found["beyond"]) == ("runs/here", True)
    assert nas_cli(*SEARCH, *by_table("truth"), "--json").json()["proxy_agreement"] is None
    screen = " ".join(nas_cli("show", "runs/by-half", "--space", "small.py:space").out.split())
    assert f"Kendall's τ {row['tau']:.2f} (90% interval " in screen
    assert "better than counting" in screen
    assert "Kendall" not in nas_cli("show", "runs/by-truth", "--space", "small.py:space").out
    for folder, text in (("one", "{"), ("two", "[]"), ("three", '{"space": "small", "proxies": [{}]}')):
        Path("runs", folder).mkdir()
        Path("runs", folder, "proxies.json").write_text(text)  # damaged, and of another run
    assert nas_cli("show", "runs/by-half", "--space", "small.py:space", "--json").json()["proxy_agreement"] == found


def test_where_all_networks_are_equally_good_none_of_them_are_the_best():
    assert _row([1.0, 2.0, 3.0, 4.0], [0.5] * 4, None, 1, 1)["top"] is None
    assert _row([1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 0.5, 0.6], None, 1, 1)["top"] == 1.0


def test_the_command_that_a_search_names_measures_its_proxy(nas_cli, recorded):
    made = nas_cli(*SEARCH, "--data", "few.npz", "--set", "estimator.epochs=1", "--json").json()
    assert made["proxy_agreement"] is None
    less = ("--networks", "4", "--reference-epochs", "1", "--trainings", "1", "--workers", "1", "--quiet", "--json")
    measured = nas_cli(*shlex.split(made["proxy_command"])[1:], *less).json()
    shown = nas_cli("show", made["run"], "--space", "small.py:space", "--json").json()["proxy_agreement"]
    row = next(
        one for one in measured["proxies"] if one["proxy"].startswith("epochs=1") and "metric" not in one["proxy"]
    )
    assert (shown["tau"], shown["reference"]) == (row["tau"], "short, 1 epoch")
