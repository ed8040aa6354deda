"""The processes of a training: one alone, or several that `torchrun` or `accelerate launch` started, on one machine or many.

Each takes its part of every batch. What they exchange goes through torch.distributed, which accelerate sets up; alone, there is
nothing to exchange, and every function here does nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor

from profiling.errors import ProcessError, SpnasError, TrainingError

T = TypeVar("T")

# A process that is gone is noticed at once, as its connections close; this is for one that hangs, or whose machine is unplugged.
PATIENCE = timedelta(minutes=10)


@cache
def state() -> PartialState:
    """This process's index and the number of processes; sets up communication the first time."""
    # Without a GPU accelerate would leave processes that torchrun started unconnected, unless it has to use the CPU.
    made = PartialState(cpu="LOCAL_RANK" in os.environ and not torch.cuda.is_available(), timeout=PATIENCE)
    # Threads of the exchange that still run when the interpreter ends can abort the process after all its work is done.
    atexit.register(made.destroy_process_group)
    return made


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """The index of this process, from 0; process 0 is the main one, which writes files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replaces each tensor by its sum over all processes, bit for bit the same in each of them, in one exchange."""
    if count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    _exchange(lambda: dist.all_reduce(flat))
    for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view(tensor.shape))


def any_of(flag: bool) -> bool:
    """Whether it is so in any process."""
    flags = torch.tensor([float(flag)], device=state().device)
    add_up([flags])
    return bool(flags.item())


def from_main(make: Callable[[], T]) -> T:
    """The main process's result, in every process; if it raises one of our errors, every process raises it."""
    if state().num_processes == 1:
        return make()
    made: list[Any] = [_made_or_raised(make) if index() == 0 else None]
    _exchange(lambda: dist.broadcast_object_list(made, src=0))
    value: T = _value(made[0])
    return value


@contextmanager
def on_main(context: AbstractContextManager[None]) -> Iterator[None]:
    """Enters a context in the main process alone; if it raises one of our errors there, every process raises it."""
    with ExitStack() as stack:
        from_main(lambda: stack.enter_context(context))
        yield


def one_first(make: Callable[[], T]) -> T:
    """Each process's own result; one process per machine goes first, and leaves files that the others find."""
    if state().num_processes == 1:
        return make()
    first = _made_or_raised(make) if state().is_local_main_process else None
    any_of(False)  # waits
    return make() if first is None else _value(first)


def _made_or_raised(make: Callable[[], T]) -> tuple[T | None, SpnasError | None]:
    try:
        return make(), None
    except SpnasError as error:
        return None, error


def _value(made_or_raised: tuple[T | None, SpnasError | None]) -> T:
    made, error = made_or_raised
    if error is not None:
        raise error
    return cast(T, made)


def own_error(problem: str, where: str | None, hint: str | None) -> TrainingError:
    """The error of a single process; if there are several, it says which one."""
    if count() == 1:
        return TrainingError(problem, where=where, hint=hint)
    return ProcessError(f"{problem} (process {index()} of {count()})", where=where, hint=hint)


def _exchange(collective: Callable[[], object]) -> None:
    try:
        collective()
    except RuntimeError as error:
        # The first remaining process reports it; process 0 may be the one that is gone.
        kind = ProcessError if index() < 2 else TrainingError
        raise kind(
            f"process {index()} of {count()} cannot continue, as another one has ended or does not answer",
            hint="run the same command with --resume to continue from the last checkpoint",
        ) from error
