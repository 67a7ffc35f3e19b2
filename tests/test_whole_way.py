"""`examples/whole_way.sh`, as short as it can be: search, plot, scale, train, evaluate, export, and run elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from forked_python import forked_python

SHORT = {
    "TRIALS": "2",
    "SIZES": "1",
    "EPOCHS": "4",
    "QUICK": "estimator.epochs=1 estimator.data_fraction=0.1",
    "TRAINING": "batch=64 mixup=0 cutmix=0 randaugment_operations=0 drop_path=0 ema=0.9 data_fraction=0.5",
    "FORMATS": "onnx,python",
}


def test_the_whole_way_ends_with_files_that_name_the_same_classes_elsewhere(tmp_path):
    root = Path(__file__).parents[1]
    with forked_python(tmp_path) as python:
        done = subprocess.run(
            ["bash", root / "examples" / "whole_way.sh"],
            env={**os.environ, **SHORT, "OUT": str(tmp_path / "way"), "PYTHONPATH": str(root), "PYTHON": str(python)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for name in ("onnx", "python"):  # digits keep 269 of their 1,797 images as the test part
        assert f"{name}: the same class as torch on 269 of 269 test images" in done.stdout
    classes = {name: (tmp_path / "way/trained/export" / f"classes.{name}").read_text() for name in ("torch", "python")}
    assert len(set(classes["torch"].split())) > 5  # it tells images apart
    assert (tmp_path / "way/search/pareto.html").exists()
    card = (tmp_path / "way/trained/export/model_card.md").read_text()
    assert "scaled: width times" in card
    assert "Test, onnx int8" in card
    assert f"| base | {tmp_path / 'way/search'} |" in card
    assert "| phi | 1 |" in card
