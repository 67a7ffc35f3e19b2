"""Checkpoints: tensors and JSON in one file that is written whole or not at all.

The file is in the safetensors format, with the JSON in its metadata; reading one never runs code. It is at a local path
or at a URL of fsspec. Left out: optimizers other than torch's own, and trainings of several modules.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError
from searchspaces.files import make_folder, write_whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_STATE: Final = "state"  # the key of the metadata under which the JSON lies
_MODEL, _OPTIMIZER = "model.", "optimizer."
_HEADER_LIMIT: Final = 100_000_000  # bytes, as safetensors has it


def save(place: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and state; if the process is killed, the file is either the old one or the new one.

    Args:
        place: a local path or a URL of fsspec. Missing folders are created.
        tensors: by name; they may share memory, and are copied to the CPU.
        state: plain JSON values; NaN and infinity are allowed.

    Raises:
        UserError: the file cannot be written.
    """
    from safetensors.torch import save as packed

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = packed(plain, {_STATE: json.dumps(dict(state))})
    if is_local(place):
        make_folder(local_path(place).parent)
        write_whole(local_path(place), data, "the checkpoint")
        return
    try:
        files, path = remote(place)
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        part = f"{path}.{uuid.uuid4().hex[:8]}.part"
        files.pipe_file(part, data)
        files.mv(part, path)
    except OSError as error:
        raise UserError(f"cannot write the checkpoint {place}: {error.strerror or error}") from error


def load(place: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors, on the CPU, and the state of a file; None if there is no file.

    Raises:
        UserError: the file cannot be read or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as unpacked

    try:
        if is_local(place):
            data = local_path(place).read_bytes()
        else:
            files, path = remote(place)
            data = files.cat_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {place}: {error.strerror or error}") from error
    try:
        tensors = unpacked(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, json.loads(header["__metadata__"][_STATE])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"the checkpoint {place} is damaged or not a checkpoint; remove it to start again ({error})"
        ) from error


def state_in(path: Path) -> dict[str, Any] | None:
    """The state in a local file, whose tensors are not read; None where there is none, or no checkpoint."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _HEADER_LIMIT)))
        state = json.loads(header["__metadata__"][_STATE])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return state if isinstance(state, dict) else None


def remove(place: str) -> None:
    """Remove a checkpoint, if there is one, and partial files of killed processes.

    Raises:
        UserError: a file cannot be removed.
    """
    try:
        if is_local(place):
            target = local_path(place)
            left = target.parent.glob(f"{_plain(target.name)}.*.part") if target.parent.is_dir() else ()
            for each in (target, *left):
                each.unlink(missing_ok=True)
        else:
            files, path = remote(place)
            for each in (path, *files.glob(f"{_plain(path)}.*.part")):
                if files.exists(each):
                    files.rm_file(each)
    except Exception as error:  # each storage has errors of its own
        raise UserError(f"cannot remove the checkpoint {place}: {getattr(error, 'strerror', None) or error}") from error


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything the next step depends on besides its number, for `save`: weights and buffers, and the optimizer.

    Randomness is not part of it: each step draws from a seed of its own.

    Args:
        model: must continue on the same kind of device.
        optimizer: SGD, AdamW or another of torch's, with a state of tensors and plain values.
    """
    import torch

    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    held = optimizer.state_dict()
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in held["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{_OPTIMIZER}{index}.{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    left_out = ("params", "lr")  # the rate of a step follows from its number
    groups = [{key: value for key, value in group.items() if key not in left_out} for group in held["param_groups"]]
    holds = {str(index): sorted(entries) for index, entries in held["state"].items()}
    return tensors, {"optimizer": {"groups": groups, "state": plain, "holds": holds}}


def restore(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> None:
    """Restore a `training_state` into a model and an optimizer that were made in the same way.

    Other tensors and other keys of the state are ignored.

    Raises:
        UserError: the state belongs to another network or optimizer.
    """
    import torch

    try:
        model.load_state_dict(under(tensors, _MODEL))
        fresh = optimizer.state_dict()
        kept: dict[int, dict[str, Any]] = {}
        for index, values in state["optimizer"]["state"].items():
            kept.setdefault(int(index), {}).update(values)
        for name, tensor in under(tensors, _OPTIMIZER).items():
            index, _, key = name.partition(".")
            kept.setdefault(int(index), {})[key] = tensor
        holds = state["optimizer"].get("holds")  # not in checkpoints of before
        if holds is not None and holds != {str(index): sorted(entries) for index, entries in kept.items()}:
            raise ValueError("its optimizer's state is not whole")
        own = ("params", "lr", "fused", "foreach", "capturable")  # of the present device
        groups = [
            {key: group[key] if key in own else _like(group[key], old.get(key)) for key in group}
            for group, old in zip(fresh["param_groups"], state["optimizer"]["groups"], strict=True)
        ]
        optimizer.load_state_dict({"state": kept, "param_groups": groups})
        for parameter, held in optimizer.state.items():
            for key, value in held.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    # a fused optimizer walks through memory, and files know no channels-last format
                    held[key] = torch.empty_like(parameter).copy_(value)
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the checkpoint belongs to another training: {first}") from error


def _like(fresh: Any, old: Any) -> Any:
    """An option of an optimizer as it was saved; JSON turns tuples into lists."""
    return tuple(old) if isinstance(fresh, tuple) else old


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def is_local(place: str) -> bool:
    """Whether a place is a path in the local file system."""
    return "://" not in place or place.startswith("file://")


def local_path(place: str) -> Path:
    """The path of a place that `is_local`."""
    return Path(place.removeprefix("file://"))


def remote(place: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there.

    Raises:
        UserError: no library that is installed reads such a URL.
    """
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise UserError(f"no checkpoint can be written to {place}: {error}") from error
    return files, str(path)


def _plain(name: str) -> str:
    """A name with the wildcards of globs escaped."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
