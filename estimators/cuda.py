"""All that only a GPU can run: a step as a CUDA graph, a stream for each training, and how far the host runs ahead.

Nothing else in the package needs a GPU to be tested. Sources are PyTorch's documentation: "CUDA semantics", sections
"CUDA graphs" and "CUDA streams", and the reference of `torch.cuda.CUDAGraph`.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

AHEAD: Final = 16
"""Steps between two marks in a stream. The host enqueues no more than three times as many ahead of the device, so that
what it counts is what was done, and a training that reads its loss waits for few steps."""


class Graph:
    """A step as a CUDA graph; a `Recorder`. To be used on the stream of the training that it belongs to.

    Args:
        generator: the generator that the work draws from.
    """

    def __init__(self, generator: torch.Generator) -> None:
        import torch

        self._graph = torch.cuda.CUDAGraph()
        # Each replay then draws anew, from the generator's seed at that time (CUDAGraph.register_generator_state).
        # Newer versions of torch register a generator when it is first drawn from, and need no call.
        register = getattr(self._graph, "register_generator_state", None)
        if register is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                register(generator)

    def warm_up(self, work: Callable[[], object]) -> None:
        """Run the work on the stream on which it will be captured ("CUDA graphs": whole-network capture)."""
        with warnings.catch_warnings():  # Adam must be told that it will be captured, and warns where it is not
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            work()

    def record(self, work: Callable[[], object]) -> None:
        """Capture the work.

        `torch.cuda.graph` would do so too, but it synchronizes the device and collects garbage first, which stalls the
        other trainings of this process. `thread_local` lets other threads allocate meanwhile
        (cudaStreamCaptureMode in "CUDA graphs"). A capture has a pool of its own and cannot use what the caching
        allocator keeps, so where little else is free that is given back first.
        """
        import torch

        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        if torch.cuda.mem_get_info()[0] < kept:
            torch.cuda.empty_cache()
        with _no_collection():
            self._graph.capture_begin(capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                with contextlib.suppress(RuntimeError):  # the capture is broken, which is what `work` said
                    self._graph.capture_end()
                raise
            self._graph.capture_end()

    def replay(self) -> None:
        """Launch the graph on the current stream."""
        self._graph.replay()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No collection of garbage, which might free another CUDA graph; that breaks a capture (pytorch/pytorch#161037)."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


_IDLE: Final[list[torch.cuda.Stream]] = []
"""Streams of trainings that ended: the caching allocator keeps memory by stream, and the next training reuses it."""


def on_own_stream(advancing: Generator[int, None, T], device: torch.device) -> Generator[int, None, T]:
    """Advance something on a stream of its own, no further ahead of the device than `AHEAD` says.

    Yields:
        What the other one yields; 0 while the device has yet to catch up.
    """
    import torch

    stream = _IDLE.pop() if _IDLE else torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # on which the training was prepared
    marks: collections.deque[torch.cuda.Event] = collections.deque()
    steps = 0
    try:
        while True:
            with torch.cuda.stream(stream):  # "CUDA streams": current only while this one is advanced
                try:
                    images = next(advancing)
                except StopIteration as end:
                    result: T = end.value
                    return result
            yield images
            steps += 1
            if steps % AHEAD == 0:
                marks.append(stream.record_event())
            while len(marks) > 2 and not marks[0].query():
                yield 0
            if len(marks) > 2:
                marks.popleft()
    finally:
        advancing.close()
        stream.synchronize()
        _IDLE.append(stream)


def room_for_another(device: torch.device, under_way: int) -> bool:
    """Whether one more training fits, if it takes half as much again as those under way hold, on average.

    To be asked when all of those have done a step, in which they take what they need. What a CUDA graph needs is in a
    pool of its own, which counts as reserved and not as allocated and is no other's; what the caching allocator keeps
    besides is given back before the answer is no ("CUDA semantics", section "Memory management").
    """
    import torch

    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)  # the next one is that of those which are then under way

    def fits() -> bool:
        free, total = torch.cuda.mem_get_info(device)
        held = max(torch.cuda.memory_reserved(device), peak)
        return bool(free > max(1.5 * held / max(under_way, 1), total / 50))

    if not fits():
        torch.cuda.empty_cache()
    return fits()


def fatal_error() -> str | None:
    """CUDA's error after which this process can use its GPU no more, in one line; None while it can.

    An illegal memory access or a failed assertion of a kernel is such an error: whatever is asked of CUDA afterwards
    fails with it, until the process ends (`cudaErrorIllegalAddress` in "CUDA Runtime API"). Running out of memory is
    not, which is why nothing is allocated here. Torch is not imported where nothing else did.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None
