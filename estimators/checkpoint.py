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
_MODEL, _OPTIMIZER, _GENERATOR, _GLOBAL = "model.", "optimizer.", "generator.", "global."


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
    except OSError as error:
        raise UserError(f"cannot remove the checkpoint {place}: {error.strerror or error}") from error


def training_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, **generators: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything the next step depends on, for `save`: weights and buffers, the optimizer, the random state.

    Args:
        model: must continue on the same kind of device.
        optimizer: SGD, AdamW or another of torch's, with a state of tensors and plain values.
        generators: by name. Torch's global generators of the CPU and of the model's device are always included, since
            dropout draws from them.
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
    groups = [{key: value for key, value in group.items() if key != "params"} for group in held["param_groups"]]
    tensors |= {_GENERATOR + name: each.get_state() for name, each in generators.items()}
    tensors |= {_GLOBAL + kind: get() for kind, (get, _) in _globals(model).items()}
    return tensors, {"optimizer": {"groups": groups, "state": plain}}


def restore(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    **generators: torch.Generator,
) -> None:
    """Restore a `training_state` into a model, an optimizer and generators that were made in the same way.

    Other tensors and other keys of the state are ignored.

    Raises:
        UserError: the state belongs to another network, optimizer or set of generators.
    """
    try:
        model.load_state_dict(under(tensors, _MODEL))
        fresh = optimizer.state_dict()
        kept: dict[int, dict[str, Any]] = {}
        for index, values in state["optimizer"]["state"].items():
            kept.setdefault(int(index), {}).update(values)
        for name, tensor in under(tensors, _OPTIMIZER).items():
            index, _, key = name.partition(".")
            kept.setdefault(int(index), {})[key] = tensor
        groups = [
            {key: _like(group[key], old.get(key)) if key != "params" else group[key] for key in group}
            for group, old in zip(fresh["param_groups"], state["optimizer"]["groups"], strict=True)
        ]
        optimizer.load_state_dict({"state": kept, "param_groups": groups})
        for name, each in generators.items():
            each.set_state(tensors[_GENERATOR + name])
        for kind, (_, put) in _globals(model).items():
            if _GLOBAL + kind in tensors:
                put(tensors[_GLOBAL + kind])
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the checkpoint belongs to another training: {first}") from error


def _like(fresh: Any, old: Any) -> Any:
    """An option of an optimizer as it was saved; JSON turns tuples into lists."""
    return tuple(old) if isinstance(fresh, tuple) else old


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _globals(model: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Getter and setter of torch's global generators, by the kind of device."""
    import torch

    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    found: dict[str, tuple[Any, Any]] = {"cpu": (torch.get_rng_state, torch.set_rng_state)}
    if device.type == "cuda":
        found["cuda"] = (
            lambda: torch.cuda.get_rng_state(device),
            lambda value: torch.cuda.set_rng_state(value, device),
        )
    elif device.type == "mps":
        found["mps"] = (torch.mps.get_rng_state, torch.mps.set_rng_state)
    return found


def is_local(place: str) -> bool:
    """Whether a place is a path in the local file system."""
    return "://" not in place or place.startswith("file://")


def local_path(place: str) -> Path:
    """The path of a place that `is_local`."""
    return Path(place.removeprefix("file://"))


def remote(place: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise UserError(f"no checkpoint can be written to {place}: {error}") from error
    return files, str(path)


def _plain(name: str) -> str:
    """A name with the wildcards of globs escaped."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
