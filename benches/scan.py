"""From an archive's files to its table of scores, whole, packed and compact, beside torch over the same files.

python benches/scan.py                               # 6 steps, 4 layers, 8 × 12 × 512 × 512 float16: 1.2 GB
python benches/scan.py --steps 2 --context 128 --rounds 3
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch
from _timing import compare, interleave, write_record
from attention import entries, flat, random_tokens
from safetensors.torch import safe_open

import phaseflow as pf

PROBE = "repeated"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--d-head", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured")
    parser.add_argument("--record", default="scan", help="name of the file under benches/record")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="bench-scan-"))
    try:
        write_record(options.record, [scan(folder, options)])
    finally:
        shutil.rmtree(folder)


def scan(folder, options):
    """All scores of all heads, every file opened anew, from the system's cache."""
    tokens = random_tokens("repeated", options)
    record(folder, tokens, options)

    def phaseflow(name):
        shutil.rmtree(folder / name / "derived", ignore_errors=True)
        return pf.open(folder / name).head_scores()

    def torch_composite():
        rows = []
        for file in sorted((folder / "whole/tensors").glob("*.safetensors")):
            with safe_open(file, "pt") as shard:
                rows += [torch_scores(shard.get_tensor(name), tokens) for name in sorted(shard.keys())]
        return torch.stack(rows)

    def limit():
        return sum(int(np.fromfile(file, np.uint64).sum()) for file in (folder / "whole/tensors").glob("*.safetensors"))

    contenders = {f"phaseflow, {name}": lambda name=name: phaseflow(name) for name in ("whole", "packed", "compact")}
    contenders |= {"torch composite, whole": torch_composite, "limit: read and sum all bytes, whole": limit}
    seconds = interleave(contenders, options.rounds)
    order = ["step", "layer", "head"]
    tables = {name: contenders[f"phaseflow, {name}"]().sort(order) for name in ("whole", "packed", "compact")}
    for name, tolerance in (("packed", 1e-12), ("compact", 2e-2)):
        np.testing.assert_allclose(tables[name]["value"], tables["whole"]["value"], rtol=tolerance, err_msg=name)
    prefix = tables["whole"].filter(pl.col("metric") == "prefix_matching_score")["value"].to_numpy()
    np.testing.assert_allclose(torch_composite()[..., 0].numpy().ravel(), prefix, rtol=1e-4)
    size = f"{options.batch} × {options.heads} × {options.context}² float16"
    return compare(f"{options.steps} steps of {options.layers} layers, {size}", seconds, "phaseflow, whole")


def torch_scores(pattern, tokens):
    """Five scores of every head, (head, score), without the errors and the chance levels."""
    heads = pattern.shape[1]
    columns = []
    for offset in (1, 0):
        example, query, key, n_queries = entries(tokens, offset)
        index = torch.from_numpy(flat(pattern, example, query, key)).reshape(-1)
        columns.append(pattern.reshape(-1).index_select(0, index).reshape(-1, heads).double().sum(0) / n_queries)
    columns.append(pattern.diagonal(-1, 2, 3).double().mean((0, 2)))
    columns.append(pattern[:, :, 1:, 0].double().mean((0, 2)))
    entropy = [torch.special.entr(pattern[:, head].float()).sum(-1).mean().double() for head in range(heads)]
    return torch.stack([*columns, torch.stack(entropy)], dim=1)


def record(folder, tokens, options):
    """The same attention in three archives."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, options.batch, options.heads, options.context, options.d_head)
    future = torch.ones(options.context, options.context, dtype=torch.bool).triu(1)
    probes = {PROBE: pf.Probe(tokens)}
    recorders = {
        name: pf.Recorder(folder / name, probes=probes, packed=name == "packed")
        for name in ("whole", "packed", "compact")
    }
    for step in range(1, options.steps + 1):
        layers = [torch.randn(shape, generator=generator) for _ in range(options.layers)]
        patterns, compacts = [], []
        for queries, keys in layers:
            products = (queries @ keys.transpose(-1, -2) / options.d_head**0.5).masked_fill(future, -torch.inf)
            patterns.append(products.softmax(-1).half())
            compacts.append(pf.CompactPattern(queries.half(), keys.half(), products.logsumexp(-1)))
        for name, recorder in recorders.items():
            recorder.log(step, attention={PROBE: compacts if name == "compact" else patterns})
    for recorder in recorders.values():
        recorder.close()


if __name__ == "__main__":
    main()
