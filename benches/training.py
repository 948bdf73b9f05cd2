"""Tokens a second of `phaseflow.training.train` beside a plain loop of the same model, and what capture costs.

python benches/training.py                                  # 2 layers, d_model 128, context 256
python benches/training.py --d-model 1024 --layers 6 --batch 64 --context 1024 --vocab 16384 --mlp      # a GPU's size
python benches/training.py --updates 50 --rounds 2

Capture is one checkpoint each 50 updates. On CUDA everybody trains in bfloat16, compiled, and the share of the device's
peak that the model's arithmetic reaches (MFU) is reported; on a CPU in float32, uncompiled.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _timing import compare, write_record
from torch import nn

from phaseflow.training import (
    BatchConfig,
    Checkpoints,
    LearningRate,
    MarkovConfig,
    ModelConfig,
    OptimiserConfig,
    ProbeConfig,
    TokenFileConfig,
    TrainConfig,
    Transformer,
    train,
    train_stacked,
)

WARM = 20  # updates before the clock starts: compiling, first allocations
EVERY = 50  # updates between captures
PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # bfloat16, dense, operations a second


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--d-model", type=int, default=128)
    parser.add_argument("--mlp", action="store_true", help="with MLPs, four times as wide")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--updates", type=int, default=100, help="timed a round; rounded up to whole captures")
    parser.add_argument("--stack", type=int, default=8, help="runs of the stack")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--record", default="training", help="name of the file under benches/record")
    options = parser.parse_args()
    options.updates = -(-options.updates // EVERY) * EVERY
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        cases = [throughput(options, Path(folder)), stack(options, Path(folder))]
    write_record(options.record, cases)


def throughput(options, folder):
    np.random.default_rng(0).integers(1, options.vocab, 1 << 20).astype(np.uint16).tofile(folder / "tokens.bin")
    source = TokenFileConfig(str(folder / "tokens.bin"), options.vocab)
    data = source.build()
    config = TrainConfig(
        model=ModelConfig(
            n_vocab=options.vocab, context=options.context, n_layers=options.layers, n_heads=options.heads,
            d_model=options.d_model, d_mlp=4 * options.d_model if options.mlp else None, positions="learned",
        ),
        steps=WARM + options.updates + 1,
        corpus=source,
        batches=BatchConfig(batch_size=options.batch),
        optimiser=OptimiserConfig(learning_rate=LearningRate(peak=1e-3, warmup_steps=10)),
        checkpoints=Checkpoints(n_log=1),
        probes=ProbeConfig(n_text=64),
        weights_every=10**6,
    )  # fmt: skip
    captured = replace(config, checkpoints=Checkpoints(n_log=1, dense_every=EVERY))
    weighed = replace(captured, weights_every=1)
    contenders = {
        "a plain loop": lambda: plain_loop(config, folder / "tokens.bin", options),
        "phaseflow": lambda: ours(config, data, options),
        "phaseflow, capture each 50": lambda: ours(captured, data, options),
        "phaseflow, capture each 50, with weights": lambda: ours(weighed, data, options),
    }
    check_same_model(config)
    seconds = take_turns(contenders, options.rounds)
    tokens = options.updates * config.tokens_per_step
    kind = "MLPs" if options.mlp else "attention only"
    case = compare(
        f"{options.updates} updates of {options.batch} x {options.context} tokens: {options.layers} layers,"
        f" d_model {options.d_model}, {kind}, on {device_name()}",
        seconds,
        "phaseflow",
    )
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    case["device"] = device_name()
    case["tokens_per_second"] = {name: round(tokens / median) for name, median in medians.items()}
    # Of neighbours in a round: the machine's drift is in both.
    for name in list(contenders)[2:]:
        overhead = statistics.median(b / a - 1 for a, b in zip(seconds["phaseflow"], seconds[name], strict=True))
        case.setdefault("overhead", {})[name] = round(overhead, 4)
    for name, rate in case["tokens_per_second"].items():
        print(f"  {rate:12,} tokens/s  {name}" + mfu_text(config, rate))
    print("  overhead: " + ", ".join(f"{name} {share:.1%}" for name, share in case["overhead"].items()))
    if (peak := device_peak()) is not None:
        case["model_flop_utilisation"] = {
            name: round(rate * operations_a_token(config) / peak, 4) for name, rate in case["tokens_per_second"].items()
        }
    return case


def stack(options, folder):
    """Small runs stacked, beside the same runs one after the other."""
    chains = MarkovConfig(3)
    first = TrainConfig(
        model=ModelConfig(n_vocab=chains.n_vocab, context=64, n_layers=2, n_heads=1, d_model=16),
        steps=options.updates,
        corpus=chains,
        batches=BatchConfig(batch_size=16),
        optimiser=OptimiserConfig(learning_rate=LearningRate(peak=1e-3, warmup_steps=10)),
        checkpoints=Checkpoints(n_log=1),
        probes=ProbeConfig(n_repeated=2, n_text=8),
        weights_every=10**6,
        precision="float32",  # as a stack trains
        compile=False,
    )
    runs = [replace(first, seed=seed) for seed in range(options.stack)]

    def seconds_of(train_all):
        with tempfile.TemporaryDirectory(dir=folder) as out:
            began = time.perf_counter()
            train_all({Path(out) / str(config.seed): config for config in runs})
            return time.perf_counter() - began

    def one_by_one(configs):
        for path, config in configs.items():
            train(config, path)

    contenders = {"stacked": lambda: seconds_of(train_stacked), "one by one": lambda: seconds_of(one_by_one)}
    seconds = take_turns(contenders, options.rounds)
    case = f"{options.stack} runs of {options.updates} updates, d_model 16, archives included, on {device_name()}"
    return compare(case, seconds, "stacked")


def take_turns(contenders, rounds):
    """Seconds that each contender says it took, by round; a different one goes first each time."""
    seconds = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(contenders[name]())
    return seconds


def ours(config, data, options):
    """Seconds of the updates after the warm ones."""
    times, updates = {}, 0

    def clock(_, note):
        nonlocal updates
        updates += note is None
        if note is None and updates in (WARM, WARM + options.updates):
            synchronise()
            times[updates] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run", corpus=data, on_step=clock)
    return times[WARM + options.updates] - times[WARM]


def plain_loop(config, path, options):
    """What one writes who only wants to train: nanoGPT's loop, its data loading and its fused projections."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = GPT(config.model).to(device)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    optimiser = torch.optim.AdamW(decayed, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    forward = torch.compile(model) if device == "cuda" else model
    context, batch = config.model.context, config.batches.batch_size
    for update in range(WARM + options.updates):
        if update == WARM:
            synchronise()
            began = time.perf_counter()
        tokens = np.memmap(path, dtype=np.uint16, mode="r")
        starts = np.random.randint(len(tokens) - context - 1, size=batch)  # noqa: NPY002
        rows = torch.stack([torch.from_numpy(tokens[s : s + context + 1].astype(np.int64)) for s in starts]).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = forward(rows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    synchronise()
    return time.perf_counter() - began


class GPT(nn.Module):
    """The same model as plain modules: one projection for queries, keys and values of all heads."""

    def __init__(self, config):
        super().__init__()
        d, self.heads = config.d_model, config.n_heads
        self.tokens, self.positions = nn.Embedding(config.n_vocab, d), nn.Embedding(config.context + 1, d)
        self.attention = nn.ModuleList(
            nn.ModuleList([nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)])
            for _ in range(config.n_layers)
        )
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(d, config.d_mlp), nn.ReLU(), nn.Linear(config.d_mlp, d))
            for _ in range(config.n_layers if config.d_mlp else 0)
        )
        self.head = nn.Linear(d, config.n_vocab, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer, (joint, out) in enumerate(self.attention):
            q, k, v = joint(F.layer_norm(x, x.shape[-1:])).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + out(z.transpose(1, 2).flatten(2))
            if self.mlp:
                x = x + self.mlp[layer](F.layer_norm(x, x.shape[-1:]))
        return self.head(F.layer_norm(x, x.shape[-1:]))


def check_same_model(config):
    """The plain model with our weights gives our logits."""
    model, plain = Transformer(config.model), GPT(config.model)
    with torch.no_grad():
        plain.tokens.weight.copy_(model.W_E)
        plain.positions.weight.copy_(model.W_pos)
        plain.head.weight.copy_(model.W_U.T)
        for attention, (joint, out) in zip(model.attention, plain.attention, strict=True):
            of_heads = [getattr(attention, name) for name in ("W_Q", "W_K", "W_V")]  # (head, d_model, d_head)
            joint.weight.copy_(torch.cat([w.transpose(1, 2).flatten(0, 1) for w in of_heads]))
            out.weight.copy_(attention.W_O.flatten(0, 1).T)
        for ours_, theirs in zip(model.mlp, plain.mlp, strict=True):
            theirs[0].weight.copy_(ours_.W_in.T)
            theirs[0].bias.copy_(ours_.b_in)
            theirs[2].weight.copy_(ours_.W_out.T)
            theirs[2].bias.copy_(ours_.b_out)
        tokens = torch.randint(config.model.n_vocab, (2, config.model.context))
        torch.testing.assert_close(plain(tokens), model(tokens), rtol=1e-4, atol=1e-4)


def operations_a_token(config):
    """Forward and backward: 6 for every weight but those looked up, 12 for every pair of positions and dimension."""
    model = config.model
    of_layer = 4 * model.d_model**2 + (2 * model.d_model * model.d_mlp if model.d_mlp else 0)
    weights = model.n_layers * of_layer + model.d_model * model.n_vocab
    return 6 * weights + 12 * model.n_layers * model.d_model * model.context


def device_name():
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


def device_peak():
    return next((peak for name, peak in PEAK.items() if torch.cuda.is_available() and name in device_name()), None)


def mfu_text(config, rate):
    peak = device_peak()
    return "" if peak is None else f"  ({rate * operations_a_token(config) / peak:.1%} of peak)"


def synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
