"""Pattern scores in memory, from tokens to numbers, beside numpy, torch, numba and the time of touching the memory.

python benches/attention.py                      # 144 heads, 8 × 512 × 512: 1.2 GB
python benches/attention.py --heads 12 --rounds 3
"""

import argparse
import importlib.util

import numpy as np
import torch
from _timing import compare, interleave, read_limit, write_record

import phaseflow as pf

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=144)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--record", default="attention", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = []
    for dtype in options.dtypes:
        tensor = random_pattern(options).to(DTYPES[dtype])
        for kind in ("repeated", "natural"):
            tokens = random_tokens(kind, options)
            shape = f"{options.heads} heads, {options.batch} × {options.context}², {dtype}, {kind} tokens"
            cases.append(one_score(f"one score, {shape}", tensor, tokens, options))
            cases.append(all_scores(f"all scores, {shape}", tensor, tokens, options))
    write_record(options.record, cases)


def random_pattern(options):
    """Causal rows that sum to 1, unlike each other; drawn head by head, as the whole would not fit twice."""
    torch.manual_seed(0)
    pattern = torch.empty(options.batch, options.heads, options.context, options.context)
    future = torch.ones(options.context, options.context, dtype=torch.bool).triu(1)
    for head in range(options.heads):
        scores = 2 * torch.randn(options.batch, options.context, options.context)
        pattern[:, head] = scores.masked_fill(future, -torch.inf).softmax(-1)
    return pattern


def random_tokens(kind, options):
    """Random tokens twice, as a probe has them, or a Zipf law, as text has them."""
    rng = np.random.default_rng(0)
    shape = (options.batch, options.context)
    if kind == "repeated":
        half = rng.integers(0, 50_000, (options.batch, -(-options.context // 2)))
        return np.concatenate([half, half], axis=1)[:, : options.context]
    weight = 1 / np.arange(3, 50_003)
    return rng.choice(50_000, shape, p=weight / weight.sum())


def entries(tokens, offset=1):
    """(example, query, key) of every target, in order, and the number of queries that have one."""
    earlier = np.tril(tokens[:, :, None] == tokens[:, None, :], -1)
    example, query, key = np.nonzero(earlier)
    inside = key + offset >= 0
    example, query, key = example[inside], query[inside], key[inside] + offset
    return example, query, key, len(np.unique(example * tokens.shape[1] + query))


def flat(tensor, example, query, key):
    """Entries as indices into the pattern of one head of one example, and into all of it."""
    _, heads, context, _ = tensor.shape
    within = query * context + key
    start = (example[:, None] * heads + np.arange(heads)) * context * context
    return start + within[:, None]


def one_score(case, tensor, tokens, options):
    """The prefix matching score of every head."""
    array = viewable(tensor)
    heads, context = options.heads, options.context

    def torch_mask():
        example, query, key, n_queries = entries(tokens)
        mask = torch.zeros(options.batch, 1, context, context, dtype=tensor.dtype)
        mask[example, 0, query, key] = 1
        return (tensor * mask).float().sum((0, 2, 3)) / n_queries

    def numpy_take():
        example, query, key, n_queries = entries(tokens)
        return as_numpy(array.reshape(-1).take(flat(tensor, example, query, key))).sum(0, dtype=float) / n_queries

    def torch_take():
        example, query, key, n_queries = entries(tokens)
        index = torch.from_numpy(flat(tensor, example, query, key)).reshape(-1)
        return tensor.reshape(-1).index_select(0, index).reshape(-1, heads).double().sum(0) / n_queries

    contenders = {
        "phaseflow": lambda: pf.prefix_matching_score(array, tokens, threads=options.threads),
        "numpy take": numpy_take,
        "torch index_select": torch_take,
        "torch (A * mask).sum": torch_mask,
    }
    if peers := numba_peers():

        def numba():
            example, query, key, n_queries = entries(tokens)
            values = table(tensor.dtype)
            bits = array.view(np.uint16) if len(values) else array
            return peers.gather(len(values) > 0)(bits, example, query, key, values).sum(0) / n_queries

        contenders["numba gather"] = numba
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow"]()
    for name, contender in contenders.items():
        np.testing.assert_allclose(np.asarray(contender()), found, rtol=2e-2 if "mask" in name else 1e-5, err_msg=name)
    return compare(case, seconds, "phaseflow")


def all_scores(case, tensor, tokens, options):
    """All scores of every head with standard errors; peers leave out the errors and the chance levels."""
    array = viewable(tensor)
    contenders = {
        "phaseflow": lambda: pf.head_scores(array, tokens, threads=options.threads),
        "torch composite": lambda: torch_scores(tensor, tokens),
        "numpy composite": lambda: numpy_scores(array, tokens),
        "limit: read all bytes": read_limit(array, options.threads),
    }
    if peers := numba_peers():
        contenders["numba composite"] = lambda: numba_scores(peers, tensor, tokens)
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow"]()["value"].to_numpy().reshape(options.heads, -1)
    for name, contender in contenders.items():
        if "composite" in name:
            np.testing.assert_allclose(np.asarray(contender()), found, rtol=1e-4, err_msg=name)
    return compare(case, seconds, "phaseflow")


def torch_scores(pattern, tokens):
    """All scores of every head, (head, score), without the errors and the chance levels."""
    heads = pattern.shape[1]

    def take(index):
        taken = pattern.reshape(-1).index_select(0, torch.from_numpy(index).reshape(-1))
        return taken.reshape(-1, heads).double()

    columns = matching_scores(pattern, tokens, take)
    columns.append(pattern.diagonal(-1, 2, 3).double().mean((0, 2)))
    columns.append(pattern[:, :, 1:, 0].double().mean((0, 2)))
    # One head at a time: the whole logarithm would be as large as the pattern.
    entropy = [torch.special.entr(pattern[:, head].float()).sum(-1).mean().double() for head in range(heads)]
    return torch.stack([*columns, torch.stack(entropy)], dim=1)


def numpy_scores(pattern, tokens):
    """The same in numpy, the logarithm in single precision."""
    heads = pattern.shape[1]
    columns = matching_scores(pattern, tokens, lambda index: pattern.reshape(-1).take(index).astype(float))
    columns.append(np.diagonal(pattern, -1, 2, 3).astype(float).mean((0, 2)))
    columns.append(pattern[:, :, 1:, 0].astype(float).mean((0, 2)))
    entropy = np.empty(heads)
    for head in range(heads):
        wide = pattern[:, head].astype(np.float32)
        logs = np.log(wide, out=np.zeros_like(wide), where=wide > 0)
        entropy[head] = -np.einsum("bqk,bqk->", wide, logs, dtype=float) / (wide.shape[0] * wide.shape[1])
    return np.stack([*columns, entropy], axis=1)


def numba_scores(peers, pattern, tokens):
    """The same in numba, all in one pass."""
    batch, _, context, _ = pattern.shape
    found = [entries(tokens, offset) for offset in (1, 0, -1)]
    keys = np.zeros((3, max(len(key) for *_, key, _ in found)), np.int64)
    starts = np.empty((3, batch * context + 1), np.int64)
    for offset, (example, query, key, _) in enumerate(found):
        keys[offset, : len(key)] = key
        starts[offset] = np.searchsorted(example * context + query, np.arange(batch * context + 1))
    values = table(pattern.dtype)
    half = len(values) > 0
    with np.errstate(over="ignore", invalid="ignore"):  # the table holds infinity and NaN too
        terms = values * np.log2(values, where=values > 0, out=np.zeros_like(values))
    array = pattern.view(torch.uint16).numpy() if half else pattern.numpy()
    sums = peers.scan(half)(array, array if half else array.view(np.int32), starts, keys, values, terms)
    columns = []
    for total, nearest, (*_, key, n_queries) in zip(sums.T[:6:2], sums.T[1:6:2], found, strict=True):
        columns += [total / n_queries, total / len(key), nearest / n_queries]
    columns += [*sums.T[6:8] / (batch * (context - 1)), sums.T[8] * np.log(2) / (batch * context)]
    return np.stack(columns, axis=1)


def matching_scores(pattern, tokens, take):
    """Sum, mean and nearest of the three offsets; `take` gives the entries at flat places, (entry, head)."""
    columns = []
    for offset in (1, 0, -1):
        example, query, key, n_queries = entries(tokens, offset)
        taken = take(flat(pattern, example, query, key))
        latest = np.flatnonzero(np.append(np.diff(example * tokens.shape[1] + query) != 0, True))
        total = taken.sum(0)
        columns += [total / n_queries, total / len(key), taken[latest].sum(0) / n_queries]
    return columns


def viewable(tensor):
    """The tensor as numpy sees it; bfloat16 by way of its bits."""
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def as_numpy(array):
    """Something numpy computes with at full speed."""
    return array if array.dtype == np.float32 else array.astype(np.float32)


def table(dtype):
    """Every 16-bit pattern's value, for loops that cannot convert; empty for float32."""
    if dtype == torch.float32:
        return np.empty(0, np.float32)
    return torch.arange(65_536, dtype=torch.int32).to(torch.int16).view(dtype).float().numpy()


def numba_peers():
    """The loops in numba, or None where it is not installed."""
    if importlib.util.find_spec("numba") is None:
        return None
    import _attention_numba

    return _attention_numba


if __name__ == "__main__":
    main()
