"""Which runs of a sweep fit into some minutes on the device that is there.

Updates of every variant are timed first, as many at once as runs will train at once, since neighbours slow each other
down. Runs are then laid out in their order on the processes, each on the one that is free first; one that would not be
done in time is left out, and a shorter one after it may still fit.
"""

import heapq
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from phaseflow.labs.induction.sweep import Job
from phaseflow.training import TrainConfig, Transformer
from phaseflow.training.optimiser import adamw

WARM, TIMED = 2, 5  # updates


def workers() -> int:
    """Runs that train at once: one a core."""
    return os.cpu_count() or 1


def seconds_per_update(configs: Mapping[str, TrainConfig], device: str) -> dict[str, float]:
    """Seconds of an update of every configuration while all processes are busy with one."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers(), len(configs)), torch.set_num_threads, (1,)) as pool:
        timed = pool.starmap(_time, [(config, device) for config in configs.values()], chunksize=1)
    return dict(zip(configs, timed, strict=True))


def _time(config: TrainConfig, device: str) -> float:
    model = Transformer(config.model).to(device)
    optimiser = adamw(model, config.optimiser)
    tokens = torch.randint(config.model.n_vocab, (config.batches.batch_size, config.model.context + 1), device=device)
    seconds = []
    for number in range(WARM + TIMED):
        began = time.perf_counter()
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip_norm)
        optimiser.step()
        loss.item()  # a GPU has done what it was asked
        if number >= WARM:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def that_fit(order: Sequence[Job], seconds: Mapping[Job, float], *, processes: int, available: float) -> list[Job]:
    """The runs that are done within `available` seconds, in their order; `seconds` is what each takes."""
    free_at = [0.0] * processes
    chosen = []
    for job in order:
        if free_at[0] + seconds[job] <= available:
            heapq.heapreplace(free_at, free_at[0] + seconds[job])
            chosen.append(job)
    return chosen
