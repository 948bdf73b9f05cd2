"""From files to scores, warm and cold: the table of an archive, and one score of one file, beside what others do.

python benches/scan.py                      # 12 layers of 12 heads, 8 × 512², float16 and float32: 0.6 and 1.2 GB
python benches/scan.py --layers 2 --context 128 --rounds 3

The limit of warm files is reading all bytes from the system's cache; of cold ones, reading them past it, in order, in
blocks of 8 MB, and doing nothing with them.
"""

import argparse
import importlib.util
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch
from _timing import compare, evict, interleave, read_direct, read_through, write_record
from attention import entries, flat, numpy_scores, random_tokens, torch_scores
from safetensors.torch import safe_open, save_file

import phaseflow as pf
from phaseflow._core import Shard, StoredTensor

PROBE = "repeated"
FORMS = ("whole", "packed", "compact")
PARTS = ("queries", "keys", "log_sum_exp")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--d-head", type=int, default=64)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float16", "float32"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured")
    parser.add_argument("--record", default="scan", help="name of the file under benches/record")
    options = parser.parse_args()
    cases = []
    for dtype in options.dtypes:
        folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="bench-scan-"))
        try:
            for kind in ("repeated", "natural"):
                tokens = random_tokens(kind, options)
                if kind == "repeated":
                    record(folder, tokens, DTYPES[dtype], options)
                    cases += table(folder, tokens, dtype, options)
                    cases += decoded(folder, tokens, dtype, options)
                cases += one_score(folder, tokens, dtype, kind, options)
        finally:
            shutil.rmtree(folder)
    write_record(options.record, cases)


def table(folder, tokens, dtype, options):
    """All scores of all heads, every file opened anew."""
    files = {form: sorted((folder / form / "tensors").glob("*.safetensors")) for form in FORMS}

    def phaseflow(form):
        shutil.rmtree(folder / form / "derived", ignore_errors=True)
        return pf.open(folder / form).head_scores()

    def torch_composite():
        with safe_open(files["whole"][0], "pt") as shard:
            return torch.stack([torch_scores(shard.get_tensor(name), tokens) for name in sorted(shard.keys())])

    def numpy_composite():
        shard = Shard(files["whole"][0])
        return np.stack([numpy_scores(np.asarray(shard.tensor(name)), tokens) for name, *_ in shard.entries])

    contenders = {f"phaseflow, {form}": lambda form=form: phaseflow(form) for form in FORMS}
    contenders |= {"torch composite, whole": torch_composite, "numpy composite, whole": numpy_composite}
    warm = interleave(
        contenders | {"limit: one thread reads all bytes, whole": lambda: read_through(files["whole"])},
        options.rounds,
    )
    del contenders["numpy composite, whole"]
    cold = interleave(
        contenders
        | {f"limit: read {form} past the cache": lambda form=form: read_direct(files[form]) for form in FORMS},
        options.rounds,
        before=lambda: [evict(files[form]) for form in FORMS],
    )
    order = ["step", "layer", "head"]
    tables = {form: phaseflow(form).sort(order) for form in FORMS}
    for form, tolerance in (("packed", 1e-12), ("compact", 2e-2 if dtype == "float16" else 1e-4)):
        np.testing.assert_allclose(tables[form]["value"], tables["whole"]["value"], rtol=tolerance, err_msg=form)
    prefix = tables["whole"].filter(pl.col("metric") == "prefix_matching_score")["value"].to_numpy()
    np.testing.assert_allclose(torch_composite()[..., 0].numpy().ravel(), prefix, rtol=1e-4)
    np.testing.assert_allclose(numpy_composite()[..., 0].ravel(), prefix, rtol=1e-4)
    size = f"{options.layers} layers of {options.batch} × {options.heads} × {options.context}² {dtype}"
    return [
        compare(f"table of all scores, files in the cache, {size}", warm, "phaseflow, whole"),
        compare(f"table of all scores, cold files, {size}", cold, "phaseflow, whole"),
    ]


def decoded(folder, tokens, dtype, options):
    """The same table where a library has to decode: a Zarr array a layer, all heads of an example a chunk."""
    if importlib.util.find_spec("zarr") is None:
        return []
    import zarr

    shard = Shard(*(folder / "whole" / "tensors").glob("*.safetensors"))
    stores = [folder / f"zarr/step1-{layer}.zarr" for layer in range(options.layers)]
    for store, (name, *_) in zip(stores, sorted(shard.entries), strict=True):
        pattern = np.asarray(shard.tensor(name))
        chunks = (1, *pattern.shape[1:])
        zarr.create_array(str(store), shape=pattern.shape, chunks=chunks, dtype=pattern.dtype)[...] = pattern

    def phaseflow(memory=None):
        archive = pf.open(f"{folder}/zarr/step{{step}}-{{layer}}.zarr", tokens=tokens, **memory or {})
        return archive.head_scores()

    def composite(scores, of_array):
        return np.stack([np.asarray(scores(of_array(zarr.open(store)[...]), tokens)) for store in stores])

    contenders = {
        "phaseflow": phaseflow,
        "phaseflow, in 64 MB": lambda: phaseflow({"memory": 64 << 20}),
        "zarr + torch composite": lambda: composite(torch_scores, torch.from_numpy),
        "zarr + numpy composite": lambda: composite(numpy_scores, np.asarray),
        "limit: zarr decodes": lambda: [zarr.open(store)[...] for store in stores],
    }
    seconds = interleave(contenders, options.rounds)
    prefix = phaseflow().filter(pl.col("metric") == "prefix_matching_score").sort("layer", "head")["value"].to_numpy()
    for name in ("zarr + torch composite", "zarr + numpy composite"):
        np.testing.assert_allclose(contenders[name]()[..., 0].ravel(), prefix, rtol=1e-4, err_msg=name)
    shutil.rmtree(folder / "zarr")
    size = f"{options.layers} layers of {options.batch} × {options.heads} × {options.context}² {dtype}"
    return [compare(f"table of all scores, Zarr arrays (zstd) in the cache, {size}", seconds, "phaseflow")]


def one_score(folder, tokens, dtype, kind, options):
    """The prefix matching score of all heads in one tensor: its entries gathered, most of the file never touched."""
    path, raw, parts = folder / "one.safetensors", folder / "one.npy", folder / "parts.safetensors"
    heads = options.layers * options.heads
    if not path.exists():
        pattern, compact = attention(options, heads, DTYPES[dtype])
        save_file({"pattern": pattern}, path)
        save_file(dict(zip(PARTS, compact, strict=True)), parts)
        np.save(raw, np.asarray(Shard(path).tensor("pattern")))  # kept in a name, its map would keep the file cached
    kept = {"phaseflow": Shard(path).tensor("pattern"), "torch": safe_open(path, "pt").__enter__()}
    shape, numel = tuple(kept["phaseflow"].shape), int(np.prod(kept["phaseflow"].shape))
    header = raw.stat().st_size - kept["phaseflow"].nbytes

    def ours(tensor):
        return pf.prefix_matching_score(tensor, tokens)

    def torch_take(tensor):
        example, query, key, n_queries = entries(tokens)
        index = torch.from_numpy(flat(tensor, example, query, key)).reshape(-1)
        return tensor.reshape(-1).index_select(0, index).reshape(-1, heads).double().sum(0) / n_queries

    def numpy_take(array):
        example, query, key, n_queries = entries(tokens)
        return array.reshape(-1).take(flat(array, example, query, key)).astype(float).sum(0) / n_queries

    def torch_from_file():
        size = raw.stat().st_size // DTYPES[dtype].itemsize
        return torch_take(torch.from_file(str(raw), size=size, dtype=DTYPES[dtype])[-numel:].view(shape))

    def ours_of_parts():
        shard = Shard(parts)
        return ours(pf.CompactPattern(*(shard.tensor(name) for name in PARTS)))

    opened_anew = {
        "phaseflow, .safetensors": lambda: ours(Shard(path).tensor("pattern")),
        "phaseflow, .npy": lambda: ours(StoredTensor.in_file(raw, "one", dtype, shape, header)),
        "phaseflow, queries and keys": ours_of_parts,
        "np.load(mmap) + take": lambda: numpy_take(np.load(raw, mmap_mode="r")),
        "torch.from_file + index_select": torch_from_file,
        "safetensors.torch + index_select": lambda: torch_take(safe_open(path, "pt").__enter__().get_tensor("pattern")),
    }
    map_kept = {
        "phaseflow": lambda: ours(kept["phaseflow"]),
        "safetensors.torch + index_select": lambda: torch_take(kept["torch"].get_tensor("pattern")),
    }
    expected = np.asarray(map_kept["phaseflow"]())
    for name, contender in (opened_anew | map_kept).items():
        tolerance = 1e-6 if "keys" not in name else 1e-4 if dtype == "float32" else 2e-2
        np.testing.assert_allclose(np.asarray(contender()), expected, rtol=tolerance, err_msg=name)
    size = f"{heads} heads, {options.batch} × {options.context}², {dtype}, {kind} tokens"
    cases = [
        compare(f"one score, map kept, {size}", interleave(map_kept, options.rounds), "phaseflow"),
        compare(
            f"one score, cached file opened anew, {size}",
            interleave(opened_anew, options.rounds),
            "phaseflow, .safetensors",
        ),
    ]
    # What is mapped stays in the cache.
    kept.clear()
    opened_anew["limit: read past the cache"] = lambda: read_direct([path])
    cold = interleave(opened_anew, options.rounds, before=lambda: evict([path, raw, parts]))
    return [*cases, compare(f"one score, cold file, {size}", cold, "phaseflow, .safetensors")]


def attention(options, heads, dtype):
    """The same attention of random queries and keys as patterns (batch, head, query_pos, key_pos), and as its parts."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, options.batch, heads, options.context, options.d_head)
    queries, keys = torch.randn(shape, generator=generator)
    future = torch.ones(options.context, options.context, dtype=torch.bool).triu(1)
    patterns = torch.empty(*shape[1:4], options.context, dtype=dtype)
    log_sum_exp = torch.empty(shape[1:4])
    for head in range(heads):  # the products of all at once would take twice the memory
        products = queries[:, head] @ keys[:, head].transpose(-1, -2) / options.d_head**0.5
        products = products.masked_fill(future, -torch.inf)
        patterns[:, head] = products.softmax(-1).to(dtype)
        log_sum_exp[:, head] = products.logsumexp(-1)
    return patterns, (queries.to(dtype), keys.to(dtype), log_sum_exp)


def record(folder, tokens, dtype, options):
    """The same attention of one step in three archives."""
    patterns, compact = attention(options, options.layers * options.heads, dtype)
    of_layers = [slice(first, first + options.heads) for first in range(0, patterns.shape[1], options.heads)]
    layers = {
        "compact": [pf.CompactPattern(*(part[:, of] for part in compact)) for of in of_layers],
        "whole": [patterns[:, of] for of in of_layers],
    }
    for form in FORMS:
        with pf.Recorder(folder / form, probes={PROBE: pf.Probe(tokens)}, packed=form == "packed") as recorder:
            recorder.log(1, attention={PROBE: layers["compact" if form == "compact" else "whole"]})


if __name__ == "__main__":
    main()
