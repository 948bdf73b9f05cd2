"""Pattern scores straight from their definitions: loops over examples, queries and keys in float64, nothing shared."""

import math

import numpy as np

OFFSETS = {"prefix_matching_score": 1, "duplicate_token_score": 0, "literal_prefix_matching_score": -1}
METRICS = [
    *(name + suffix for name in OFFSETS for suffix in ("", "_mean", "_nearest")),
    "previous_token_score",
    "first_token_score",
    "attention_entropy",
]


def targets(tokens, query, offset, bos):
    """Keys an induction head should look at from ``query``, latest last."""
    if tokens[query] == bos:
        return []
    keys = [p + offset for p in range(query) if tokens[p] == tokens[query]]
    return [key for key in keys if 0 <= key <= query and tokens[key] != bos]


def prefix_matching_score(pattern, tokens, offset=1, reduce="sum", bos=None):
    pattern, tokens = np.asarray(pattern).astype(float), np.asarray(tokens).tolist()
    scores = []
    for head in range(pattern.shape[1]):
        values = []
        for example, row_tokens in enumerate(tokens):
            for query in range(len(row_tokens)):
                attention = [pattern[example, head, query, key] for key in targets(row_tokens, query, offset, bos)]
                if attention and reduce == "sum":
                    values.append(math.fsum(attention))
                elif attention and reduce == "nearest":
                    values.append(attention[-1])
                elif reduce == "mean":
                    values.extend(attention)
        scores.append(math.fsum(values) / len(values) if values else math.nan)
    return np.array(scores)


def query_values(pattern, tokens, bos):
    """What every score averages, for one head of one example: a list for each metric, one number a query."""
    context = len(tokens)
    found = {metric: [] for metric in METRICS}
    for query in range(context):
        row = pattern[query].tolist()
        for metric, offset in OFFSETS.items():
            if keys := targets(tokens, query, offset, bos):
                found[metric].append(math.fsum(row[key] for key in keys))
                found[f"{metric}_mean"].extend(row[key] for key in keys)
                found[f"{metric}_nearest"].append(row[keys[-1]])
        if query > 0:
            found["previous_token_score"].append(row[query - 1])
            found["first_token_score"].append(row[0])
        found["attention_entropy"].append(-math.fsum(p * math.log(p) for p in row[: query + 1] if p != 0.0))
    return found


def head_scores(pattern, tokens, bos=None):
    """Rows (head, metric, value, standard_error, chance, n_queries)."""
    pattern, tokens = np.asarray(pattern).astype(float), np.asarray(tokens).tolist()
    context = pattern.shape[-1]
    uniform = np.tril(np.ones((context, context))) / np.arange(1, context + 1)[:, None]
    rows = []
    for head in range(pattern.shape[1]):
        of_examples = [query_values(pattern[e, head], tokens[e], bos) for e in range(len(tokens))]
        of_uniform = [query_values(uniform, tokens[e], bos) for e in range(len(tokens))]
        for metric in METRICS:
            groups = [example[metric] for example in of_examples if example[metric]]
            n = sum(map(len, groups))
            value = math.fsum(x for group in groups for x in group) / n if n else math.nan
            squares = math.fsum((math.fsum(group) - value * len(group)) ** 2 for group in groups)
            m = len(groups)
            error = math.sqrt(m / (m - 1) * squares) / n if m > 1 else math.nan
            chance = math.fsum(x for example in of_uniform for x in example[metric]) / n if n else math.nan
            rows.append((head, metric, value, error, chance, n))
    return rows
