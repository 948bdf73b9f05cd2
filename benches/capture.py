"""What looking and recording cost a training loop: a two-layer model, looked at every 50 steps.

python benches/capture.py                     # the demo's model, batches of 2 x 512
python benches/capture.py --steps 50 --every 25 --rounds 1
python benches/capture.py --device cuda --d-model 512 --batch 64

Each round trains the same steps without looking, with looking alone, with a Recorder and with a BackgroundRecorder, as
`phaseflow.training` uses it; the archive is closed, so written to the last byte, before the clock stops. The state that
a run is resumed from is not capture and not written here. A share over training is the median of the rounds' own: a
round's contenders run side by side, and the machine's drift from round to round cancels.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _timing import compare, interleave, write_record

import phaseflow as pf
from phaseflow.training import ModelConfig, Transformer, evaluate

VOCABULARY = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--text", type=int, default=32, help="examples of the text probe")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="a step of a small model is too short to be shared")
    parser.add_argument("--record", default="capture", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    write_record(
        options.record,
        [
            case("patterns and losses of the repeated probe", options, text=0),
            case(f"and losses of {options.text} examples of text", options, text=options.text),
        ],
    )


def case(what, options, *, text):
    torch.manual_seed(0)
    model = Transformer(
        ModelConfig(
            n_vocab=VOCABULARY, context=options.context, n_layers=2, n_heads=options.heads, d_model=options.d_model
        )
    ).to(options.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    rng = np.random.default_rng(0)
    tokens = torch.tensor(rng.integers(1, VOCABULARY, (options.batch, options.context + 1)), device=options.device)
    once = rng.integers(1, VOCABULARY, (10, 25))
    probes = {"repeated": pf.Probe(np.concatenate([np.zeros((10, 1), int), np.tile(once, 4)], axis=1), bos=0)}
    if text:
        probes["text"] = pf.Probe(rng.integers(1, VOCABULARY, (text, options.context + 1)))
    shown = {name: torch.tensor(probe.tokens, device=options.device) for name, probe in probes.items()}

    def train(recorder=None, look=True):
        inside = 0.0
        for step in range(options.steps):
            if look and step % options.every == 0:
                seen = evaluate(model, shown, frozenset({"repeated"}))
                if recorder is not None:
                    began = time.perf_counter()
                    recorder.log(
                        step, attention=seen.attention, per_token_loss=seen.per_token_loss, weights=model.weights()
                    )
                    inside += time.perf_counter() - began
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        loss.item()  # a GPU has done what it was asked
        return inside

    in_log = {"Recorder": [], "BackgroundRecorder": []}

    def recorded(kind):
        with tempfile.TemporaryDirectory() as folder, getattr(pf, kind)(folder, probes=probes, packed=True) as recorder:
            in_log[kind].append(1e3 * train(recorder) / len(range(0, options.steps, options.every)))
            recorder.close()
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
            assert len(pf.open(folder).runs[0].steps) == len(range(0, options.steps, options.every))
        return size

    contenders = {
        "training alone": lambda: train(look=False),
        "looking, recording nothing": lambda: train(),
        "Recorder": lambda: recorded("Recorder"),
        "BackgroundRecorder": lambda: recorded("BackgroundRecorder"),
    }
    seconds = interleave(contenders, options.rounds)
    found = compare(
        f"{options.steps} steps of {options.batch} x {options.context} tokens on {options.device}, {what}, every"
        f" {options.every} steps",
        seconds,
        "training alone",
    )
    alone = seconds["training alone"]
    found["percent_over_training"] = {
        name: round(100 * (statistics.median(a / b for a, b in zip(each, alone, strict=True)) - 1), 2)
        for name, each in seconds.items()
        if name != "training alone"
    }
    found["milliseconds_in_log"] = {name: round(statistics.median(each), 3) for name, each in in_log.items()}
    print(f"  over training, %: {found['percent_over_training']}")
    print(f"  in each log, ms:  {found['milliseconds_in_log']}")
    return found


if __name__ == "__main__":
    main()
