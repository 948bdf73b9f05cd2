"""Commands that need torch, phaseflow's extra "train": ``demo``, ``train`` and ``ablate``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phaseflow.cli.options import Device, Json, Page, Runs, Seed, let_threads_sleep, this_command

if TYPE_CHECKING:
    from phaseflow.training import DataConfig


def demo(
    out: Runs = Path("runs/demo"),
    output: Page = Path("report.html"),
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Train a one-layer and a two-layer transformer on real code, find the phase change, write report.html.

    Minutes on two CPU cores. Needs phaseflow's extra "train".
    """
    let_threads_sleep()
    from phaseflow.labs import demo as lab

    lab.run(out, output, seed=seed, device=device, command=this_command())


def train(
    run: Annotated[
        Path, typer.Argument(help="The run's directory; a run that was stopped goes on.", show_default=False)
    ],
    source: Annotated[
        str,
        typer.Option(
            help="'stdlib' (Python's own source files), a folder or file of text, a .npy or .bin file of tokens, or "
            "'repeats' (random passages over and over)."
        ),
    ] = "stdlib",
    layers: Annotated[int, typer.Option(help="Number of layers.")] = 2,
    heads: Annotated[int, typer.Option(help="Heads of a layer.")] = 2,
    d_model: Annotated[int, typer.Option(help="Width of the residual stream.")] = 64,
    d_mlp: Annotated[int | None, typer.Option(help="Width of the MLP; attention only without it.")] = None,
    positions: Annotated[str, typer.Option(help="relative, rotary, press or learned.")] = "relative",
    smeared_keys: Annotated[
        bool, typer.Option("--smeared-keys", help="Mix each key with the one before it, by a trained number a head.")
    ] = False,
    context: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 512,
    vocabulary: Annotated[
        int, typer.Option(help="Size of the vocabulary: of the byte pairs to learn, or of the tokens in a file.")
    ] = 512,
    dtype: Annotated[
        str | None, typer.Option(help="Of the tokens in a .bin file; uint16 without it.", show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(help="Updates.")] = 8_000,
    batch_size: Annotated[int, typer.Option(help="Sequences of an update.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 4e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the peak is reached.")] = 100,
    decay: Annotated[str, typer.Option(help="Of the learning rate after warm-up: constant or cosine.")] = "constant",
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = 0.01,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, or auto: bfloat16 on CUDA.")] = "auto",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints, besides log-spaced ones.")] = 125,
    device: Device = None,
    shard: Annotated[
        bool, typer.Option("--shard", help="Under torchrun: each process holds a part of the model, not a copy (FSDP).")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Train one transformer and record its archive. Needs phaseflow's extra "train".

    On several devices: torchrun --nproc-per-node 4 -m phaseflow train ...; the batch is shared among them.
    """
    let_threads_sleep()
    from phaseflow import training

    config = training.TrainConfig(
        model=training.ModelConfig(
            n_vocab=vocabulary,
            context=context,
            n_layers=layers,
            n_heads=heads,
            d_model=d_model,
            d_mlp=d_mlp,
            positions=positions,  # type: ignore[arg-type]  # checked there, by name
            smeared_keys=smeared_keys,
        ),
        steps=steps,
        corpus=data_of(source, vocabulary, dtype),
        batches=training.BatchConfig(batch_size=batch_size),
        optimiser=training.OptimiserConfig(
            learning_rate=training.LearningRate(
                peak=learning_rate,
                warmup_steps=warmup_steps,
                decay=decay,  # type: ignore[arg-type]  # checked there, by name
            ),
            weight_decay=training.WeightDecay(weight_decay),
        ),
        checkpoints=training.Checkpoints(dense_every=checkpoint_every),
        precision=precision,  # type: ignore[arg-type]  # checked there, by name
        seed=seed,
    )
    training.train(config, run, device=device, shard=shard, label=f"training {run.name}")
    if os.environ.get("RANK", "0") == "0":  # the one process of torchrun's that records
        typer.echo(f"recorded {run}; next: phaseflow report {run}")


def data_of(source: str, vocabulary: int, dtype: str | None) -> "DataConfig":
    """The data that a source names."""
    from phaseflow import training

    if source == training.RepeatsConfig.kind:
        return training.RepeatsConfig(n_vocab=vocabulary)
    if source.endswith((".npy", ".bin")):
        return training.TokenFileConfig(source, n_vocab=vocabulary, dtype=dtype)
    return training.CorpusConfig(source=source, n_vocab=vocabulary)


def ablate(
    source: Annotated[Path, typer.Argument(help="A run that `train` recorded, or a directory of them.")],
    examples: Annotated[int, typer.Option(min=2, help="Examples of held-out text that are looked at.")] = 64,
    device: Device = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the whole table, as Parquet.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Take away every head in turn at every stored checkpoint; show what is lost at the last one.

    Needs phaseflow's extra "train".
    """
    let_threads_sleep()
    from phaseflow.labs.ablations import ablation_scores, at_the_end
    from phaseflow.reporting import terminal

    with terminal.progress_bars() as progress:
        scores = ablation_scores(source, examples=examples, device=device, progress=progress)
    if output is not None:
        scores.write_parquet(output)
    if json:
        terminal.print_json(scores)
    else:
        terminal.print_table(at_the_end(scores), empty="no run has a text probe")
