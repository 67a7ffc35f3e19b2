#!/usr/bin/env bash
# The whole way: from images to files of a trained network that run where there is no nas.
#
#     examples/whole_way.sh                      as short as it can be: real digits, a minute or two
#     DATA=pets/ SPACE=mbconv TASK=224x224x3:37 BUDGET=400M TRIALS=200 EPOCHS=100 QUICK= TRAINING= examples/whole_way.sh
#
# Everything lands in OUT. Killed anywhere and started again it goes on. PYTHON is one that has nas; BARE is one that
# has torch and nothing else, and is made from the torch that is there unless it is given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

OUT=${OUT:-whole-way}
DATA=${DATA:-digits}
SPACE=${SPACE:-$here/my_space.py:space}
TASK=${TASK:-16x16x1:10}         # height x width x channels : classes
BUDGET=${BUDGET:-2M}             # MACs of the network that is searched for
TRIALS=${TRIALS:-4}
SIZES=${SIZES:-3}                # factors that are tried to scale it by; empty tries them all
PHI=${PHI:-1}                    # the size that is trained: about 2^PHI times the MACs
EPOCHS=${EPOCHS:-5}
SEED=${SEED:-0}
FORMATS=${FORMATS:-onnx,torchscript,torch-export,python}
IMAGES=${IMAGES:-500}            # test images that classes are compared on, at most
# settings of the short training that ranks networks, and of the full training; the defaults are for real use
QUICK=${QUICK-estimator.epochs=2 estimator.width=1 estimator.depth=1 estimator.data_fraction=0.5}
TRAINING=${TRAINING-batch=64 mixup=0 cutmix=0 randaugment_operations=0 drop_path=0 ema=0.9}
PYTHON=${PYTHON:-python3}

nas() { "$PYTHON" -m nas "$@"; }
settings() { for each in $1; do printf -- '--set %s ' "$each"; done; }
step() { printf '\n== %s\n' "$*"; }

mkdir -p "$OUT"
network=$OUT/family/family/phi$PHI.json
trained=$OUT/trained
exported=$trained/export

step "search: $TRIALS networks of at most $BUDGET MACs"
nas search --space "$SPACE" --task "$TASK" --budget "$BUDGET" --data "$DATA" --trials "$TRIALS" --seed "$SEED" \
    --out "$OUT" --name search --quiet $(settings "$QUICK")

step "plot"
nas plot "$OUT/search" --space "$SPACE"

step "scale: the best one, to about 2^$PHI times its MACs"
nas scale "$OUT/search" --space "$SPACE" --data "$DATA" --phi "1..$((PHI > 1 ? PHI : 2))" ${SIZES:+--trials "$SIZES"} \
    --seed "$SEED" --out "$OUT" --name family --quiet $(settings "$QUICK")

step "train: $EPOCHS epochs"
nas train "$network" --space "$SPACE" --data "$DATA" --epochs "$EPOCHS" --seed "$SEED" --out "$trained" --quiet \
    $(settings "$TRAINING")

step "evaluate"
nas evaluate "$trained" --space "$SPACE"

step "export"
nas export "$trained" --space "$SPACE" --data "$DATA" --to "$FORMATS" --int8

step "run elsewhere: torch here, ONNX Runtime, and model.py where there is torch alone"
"$PYTHON" - "$trained" "$DATA" "$SPACE" "$IMAGES" <<'PYTHON'
import sys
from pathlib import Path

from estimators import load_data
from estimators.trained import Trained
from searchspaces import load_space

folder, data, space, count = sys.argv[1:]
trained = Trained.open(folder, load_space(space))
images = load_data(data, trained.task.image_size).test_images[: int(count)]
(Path(folder) / "export" / "images.raw").write_bytes(images.tobytes())
classes = trained.logits(images).argmax(1).tolist()
(Path(folder) / "export" / "classes.torch").write_text("".join(f"{each}\n" for each in classes))
PYTHON

(cd "$exported" && "$PYTHON" -I - <<'PYTHON'
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
shape = session.get_inputs()[0].shape[1:]
pixels = np.fromfile("images.raw", np.uint8).reshape(-1, *shape)
classes = np.concatenate([session.run(["logits"], {"pixels": part})[0].argmax(1) for part in np.array_split(pixels, 5)])
open("classes.onnx", "w").write("".join(f"{each}\n" for each in classes))
PYTHON
)

if [ -z "${BARE:-}" ]; then
    BARE=$("$PYTHON" "$here/bare_environment.py" "$OUT/bare")
fi
BARE=$(realpath -s "$BARE")
(cd "$exported" && "$BARE" -I -W ignore - <<'PYTHON'
import importlib.util
import pathlib
import sys

sys.path.insert(0, "")
import model

for other in ("nas", "searchspaces", "numpy", "onnx", "safetensors"):
    assert importlib.util.find_spec(other) is None, f"{other} is here: this is no bare environment"
network, classes = model.load(), []
for part in model.read_images("images.raw").split(100):
    classes += model.predict(network, part).argmax(1).tolist()
pathlib.Path("classes.python").write_text("".join(f"{each}\n" for each in classes))
PYTHON
)

cd "$exported"
count=$(wc -l < classes.torch)
for other in onnx python; do
    same=$(paste classes.torch "classes.$other" | awk '$1 == $2' | wc -l)
    echo "$other: the same class as torch on $same of $count test images, $(sort -u classes.torch | wc -l) classes among them"
    [ "$same" -eq "$count" ]
done
