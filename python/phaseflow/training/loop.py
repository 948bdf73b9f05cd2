"""Train one model and archive what it shows at its checkpoints.

    for each step: at a checkpoint, look at the probes, archive, keep the state; then one AdamW update on batch
    (seed, step)

Nothing of the run depends on the clock, on the checkpoints or on the process: a run that was killed goes on from its
last kept state to the same weights and the same archive, bit for bit on a CPU with the same number of threads.
"""

from contextlib import nullcontext
from os import PathLike
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from phaseflow.archive import Recorder
from phaseflow.exceptions import ParameterError
from phaseflow.training import probe, progress, resume
from phaseflow.training.batches import Batches
from phaseflow.training.config import TrainConfig
from phaseflow.training.data import TEXT, Data
from phaseflow.training.model import Transformer
from phaseflow.training.optimiser import adamw, follow_schedule
from phaseflow.training.progress import OnStep


def train(
    config: TrainConfig,
    run_dir: str | PathLike[str],
    *,
    corpus: Data | None = None,
    device: str | None = None,
    label: str = "training",
    on_step: OnStep | None = None,
) -> Transformer:
    """Train, or go on training, and return the model after `config.steps` updates.

    Parameters
    ----------
    config : TrainConfig
        What to train.
    run_dir : path
        The run's archive. A run that was stopped goes on where it was; a finished one is only loaded.
    corpus : Data, optional
        What `config.corpus.build()` returns, when several runs share it.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    label : str
        In front of the progress bar, which is silent where standard error is not a terminal.
    on_step : callable, optional
        Called, instead of the progress bar, with the work done (of `config.work(config.steps)`) and, at checkpoints,
        a note for people.

    Raises
    ------
    ParameterError
        `run_dir` holds a run with another configuration, or torch cannot use the device here.
    """
    device = usable_device(device)
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    corpus = corpus or config.corpus.build()
    record = config.as_record(corpus)

    with torch.random.fork_rng(devices=[]):  # the caller's random state is not ours to move
        torch.manual_seed(config.seed)
        model = Transformer(config.model)  # drawn on the CPU: the same weights on any device
    model.to(device)
    optimiser = adamw(model, config.optimiser)
    begin = resume.load(run_dir, model, optimiser, record)
    batches = Batches(corpus, config.batches, config.model.context, config.seed)
    probes = corpus.probes(config.probes, config.model.context)
    probe_tokens = {name: torch.tensor(each.tokens, device=device) for name, each in probes.items()}
    patterned = frozenset(probes) - {TEXT}
    checkpoints = {step: index for index, step in enumerate(config.checkpoints.steps(config.steps))}

    shown = nullcontext(on_step) if on_step is not None else progress.bar(label, config.work(config.steps))
    with Recorder(run_dir, config=record, probes=probes, packed=True) as recorder, shown as show:
        # A run killed between archiving a checkpoint and keeping its state archived more than it kept.
        archived = -1 if recorder.last_step is None else recorder.last_step
        running_loss: list[Tensor] = []  # of the updates since the last checkpoint
        for step in range(begin, config.steps + 1):
            rate = config.optimiser.learning_rate.at(step, config.steps)
            if step in checkpoints:
                if step > archived:
                    seen = probe.evaluate(model, probe_tokens, patterned)
                    scalars = {"learning_rate": rate, "text_loss": float(seen.per_token_loss[TEXT].mean())}
                    scalars |= corpus.measures(model, probe_tokens)
                    if running_loss:
                        scalars["train_loss"] = float(torch.stack(running_loss).mean())
                    recorder.log(
                        step,
                        tokens_seen=step * config.tokens_per_step,
                        scalars=scalars,
                        attention=seen.attention,
                        per_token_loss=seen.per_token_loss,
                        weights=model.weights() if checkpoints[step] % config.weights_every == 0 else None,
                    )
                    best = max(
                        probe.best_prefix_matching(seen.attention[name], probes[name].tokens, corpus.bos)
                        for name in patterned
                    )
                    show(config.work(step), f"loss {scalars['text_loss']:.2f}, prefix matching {best:.2f}")
                running_loss.clear()
                if step > begin:
                    resume.save(run_dir, step, model, optimiser, record)
            if step == config.steps:
                break
            tokens = batches[step].to(device)  # (batch, context + 1)
            follow_schedule(optimiser, config.optimiser, step, config.steps)
            logits = model(tokens[:, :-1])  # (batch, context, vocab)
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip_norm)
            optimiser.step()
            running_loss.append(loss.detach())
            show(config.work(step), None)
    return model


def usable_device(name: str | None) -> str:
    """The device of that name, or CUDA where there is one, else the CPU; one that is not there is refused by name."""
    found = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ParameterError(f"device is {found!r}, which torch cannot use here: {reason}; try 'cpu'") from error
    return found
