"""Several processes that train one model: each takes its part of an update's batches, gradients are averaged between them.

    launch(2, ["-m", "tasks.train", *options])          # starts this program twice; ends when both have, or one fails
    rank(), processes()                                 # (0, 2) in the first of them, (1, 2) in the second
    list(Share([[1, 2], [3], [4]], 2, rank=0, processes=2))   # [[1], [3]]: batches are cut until their number fits

`torchrun` and `accelerate launch` set the same variables, so `torchrun --nproc-per-node 2 -m tasks.train ...` does the same.
The first process alone writes: the model, reports, MLflow's run; it holds the lock. An update sees the batches that one process
with `processes` times the gradient accumulation would, so without dropout the loss curves are the same.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from torch.utils.data import Sampler

from doctune.errors import DoctuneError
from doctune.machine import cores

SHUTDOWN_SECONDS = 8  # for the others to end by themselves; flows stop a stage for good after 10
AGAIN_SECONDS = 0.05
WAIT = timedelta(
    hours=2
)  # of any process for the others: the first may tokenise for longer than the 10 minutes that GPUs get


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched() -> bool:
    """Whether this process is one of those that `launch` (or torchrun, or accelerate) started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def take_own_gpu() -> None:
    """In a launched process on a machine with GPUs: whatever is put on "the GPU" comes to be on the one of this process.

    bitsandbytes and memory queries go by the current device, which is the first GPU in every process.
    """
    import torch

    if launched() and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def check_processes(wanted: int, section: str = "train") -> None:
    """Their number decides the result, so params.yaml says it, whoever starts them."""
    if wanted != processes():
        raise DoctuneError(
            f"{section}.processes is {wanted}, but {processes()} were started; set it to {processes()}, or start {wanted}"
        )


def launch(count: int, command: list[str], section: str = "train") -> None:
    """Run Python with `command` as `count` processes of one training. One that fails ends all."""
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if torch.cuda.is_available() and torch.cuda.device_count() < count:
        raise DoctuneError(
            f"{section}.processes is {count}, one a GPU, but this machine has {torch.cuda.device_count()}; set it to that"
        )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the error below says it in a line
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        run_id="train",
        max_restarts=0,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException as stop:
        raise KeyboardInterrupt from stop
    except ChildFailedError as error:
        first, failure = error.get_first_failure()
        if failure.exitcode > 0:  # it has said why itself
            sys.exit(failure.exitcode)
        raise DoctuneError(
            f"process {first} of {count} was killed ({failure.signal_name()}; short of memory?), so all were ended; "
            "run again to go on from the last checkpoint"
        ) from None


def end_on_request() -> None:
    """In a launched process: a request to end works as an interrupt, so that `finally` blocks run.

    The first counts: a terminal's interrupt reaches every process, and the launcher then asks each to end as well. One that
    comes while a destructor or a callback of the garbage collector runs, whose errors Python drops, is made again after it.
    """
    usual = sys.unraisablehook

    def answer(handler: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handler)

    def interrupt(*_: Any) -> None:
        answer(signal.SIG_IGN)
        raise KeyboardInterrupt

    def dropped(error: Any) -> None:
        if not isinstance(error.exc_value, KeyboardInterrupt):
            usual(error)
        elif not sys.is_finalizing():
            answer(interrupt)
            again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, [threading.main_thread().ident, signal.SIGTERM])
            again.daemon = True
            again.start()

    sys.unraisablehook = dropped
    answer(interrupt)


def as_forward(model: Any, function: Callable[..., Any], *inputs: Any) -> Any:
    """`function(model, *inputs)`; a model of several processes takes it for its forward pass and averages the gradients."""
    from torch.nn.parallel import DistributedDataParallel

    if not isinstance(model, DistributedDataParallel):
        return function(model, *inputs)
    inner = model.module
    own = inner.__dict__.get("forward")  # accelerate puts one there

    def restore() -> None:
        if own is None:
            inner.__dict__.pop("forward", None)
        else:
            inner.forward = own

    def once(*inputs: Any) -> Any:
        restore()
        return function(inner, *inputs)

    inner.forward = once
    try:
        return model(*inputs)
    finally:
        restore()


class Share(Sampler[list[int]]):
    """One process's batches of a sampler of batches. Their number is made a multiple of what an update takes (`multiple`), by
    cutting the largest in two, so that no example is left out or seen twice and all processes take the same number of steps."""

    def __init__(self, batches: Any, multiple: int, rank: int, processes: int):
        self.batches, self.multiple, self.rank, self.processes = batches, multiple, rank, processes
        count = len(_even(list(batches), multiple))
        if count % processes:
            raise DoctuneError(
                f"processes is {processes}, but there are only {count} training rows; give it more data, or set it to 1"
            )
        self.count = count // processes

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        return iter(_even(list(self.batches), self.multiple)[self.rank :: self.processes])


def _even(batches: list[list[int]], multiple: int) -> list[list[int]]:
    while len(batches) % multiple:
        largest = max(range(len(batches)), key=lambda index: len(batches[index]))
        batch = batches[largest]
        if len(batch) < 2:
            break
        batches[largest : largest + 1] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return batches


def first_alone(do: Callable[[], Any]) -> Any:
    """The result of `do`, which the first process finishes before the others begin."""
    if processes() == 1:
        return do()
    from accelerate import PartialState

    with PartialState(timeout=WAIT).main_process_first():
        return do()


def leave() -> None:
    """Say goodbye to the other processes, or the last one to end would wait for them."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
