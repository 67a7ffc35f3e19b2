"""What several processes that train one network exchange: means of tensors and sums of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class ProcessGroup:
    """The processes that train one network: those of torch.distributed, or this process alone.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self) -> None:
        import torch.distributed as dist

        self._up = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if self._up else 0
        self.size = dist.get_world_size() if self._up else 1

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over all processes."""
        if self.size == 1 or not tensors:
            return
        import torch
        import torch.distributed as dist

        flat = torch.cat([each.reshape(-1) for each in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for each, part in zip(tensors, torch.split(flat, [each.numel() for each in tensors]), strict=True):
            each.copy_(part.view(each.shape))

    def total(self, number: float) -> float:
        """The sum over all processes."""
        if self.size == 1:
            return number
        import torch
        import torch.distributed as dist

        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        held = torch.tensor(number, dtype=torch.float64, device=device)
        dist.all_reduce(held)
        return float(held)
