"""ONNX in 8 bits: static quantization by ONNX Runtime, calibrated on training and validation images.

Symmetric int8 weights per output channel and asymmetric int8 activations per tensor, with QuantizeLinear and
DequantizeLinear around each operator (QDQ), which ONNX Runtime and OpenVINO read. Calibration takes the minimum and
maximum of each activation. Left out: symmetric activations with biases in floats, which is all that TensorRT reads, and
which ONNX Runtime does not fuse; and quantization-aware training, which recovers the accuracy that is lost here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.quiet import quietly
from nas.formats import Exportable, Made, Pixels, onnx_predictor, random_pixels

if TYPE_CHECKING:
    from estimators.data import ImageData

CALIBRATION_IMAGES: Final = 256
_BATCH: Final = 32


def calibration_pixels(found: Exportable, images: ImageData | None) -> Pixels:
    """Images to calibrate on, none of them test images, or noise if the weights are random."""
    if images is None:
        return random_pixels(found.task, CALIBRATION_IMAGES)
    count = min(CALIBRATION_IMAGES, len(images.images))
    chosen = np.random.default_rng(0).choice(len(images.images), count, replace=False)
    pixels: Pixels = images.images[np.sort(chosen)]
    return pixels


def quantized(found: Exportable, content: bytes, images: ImageData | None) -> Made:
    """The ONNX file `content` in 8 bits."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    pixels = calibration_pixels(found, images)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.parts = iter(pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH))

        def get_next(self) -> dict[str, Any] | None:
            part = next(self.parts, None)
            return None if part is None else {"pixels": part}

    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "model.int8.onnx"
        quantize_static(
            onnx.load_from_string(content),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(path)
    onnx.helper.set_model_props(model, found.described())
    smaller = model.SerializeToString()
    onnx.checker.check_model(smaller)
    return Made({"model.int8.onnx": smaller}, lambda: onnx_predictor(smaller))
