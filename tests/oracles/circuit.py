"""Circuits multiplied out: whole (d_model, d_model) and (vocab, vocab) matrices in float64, one pair at a time."""

import numpy as np


def composition_scores(W_Q, W_K, W_V, W_O, kind="K", subtract_baseline=False):
    W_Q, W_K, W_V, W_O = (np.asarray(weights).astype(float) for weights in (W_Q, W_K, W_V, W_O))
    layers, heads, d_model, _ = W_Q.shape
    scores = np.zeros((layers, heads, layers, heads))
    for earlier in np.ndindex(layers, heads):
        for later in np.ndindex(layers, heads):
            if earlier[0] < later[0]:
                writes = W_V[earlier] @ W_O[earlier]
                reads = W_V[later] @ W_O[later] if kind == "V" else W_Q[later] @ W_K[later].T
                together = writes @ (reads.T if kind == "K" else reads)
                size = np.linalg.norm(writes) * np.linalg.norm(reads)
                score = np.linalg.norm(together) / size if size > 0 else np.nan
                scores[earlier + later] = score - subtract_baseline / np.sqrt(d_model)
    return scores


def ov_eigenvalues(W_E, W_V, W_O, W_U):
    """All of them, (..., vocab): the vocabulary's, not the head's."""
    W_E, W_V, W_O, W_U = (np.asarray(weights).astype(float) for weights in (W_E, W_V, W_O, W_U))
    return np.linalg.eigvals(W_E @ W_V @ W_O @ W_U)


def ov_copying_statistic(W_E, W_V, W_O, W_U):
    values = ov_eigenvalues(W_E, W_V, W_O, W_U)
    return values.sum(-1).real / np.abs(values).sum(-1)


def qk_previous_token_term(W_E, W_Q, W_K, W_V, W_O, previous_token_scores):
    W_E, W_Q, W_K, W_V, W_O = (np.asarray(weights).astype(float) for weights in (W_E, W_Q, W_K, W_V, W_O))
    layers, heads = W_Q.shape[:2]
    terms = np.zeros((layers, heads))
    for layer, head in np.ndindex(layers, heads):
        for earlier in np.ndindex(layer, heads):
            for token in W_E:
                moved = token @ W_V[earlier] @ W_O[earlier]
                score = token @ W_Q[layer, head] @ W_K[layer, head].T @ moved
                terms[layer, head] += previous_token_scores[earlier] * score
    return terms


def copying_score(pattern, values, W_O, W_U, tokens):
    """Every logit vector of every (query, key), over the whole vocabulary."""
    pattern, values, W_O, W_U = (np.asarray(array).astype(float) for array in (pattern, values, W_O, W_U))
    batch, heads, context, _ = pattern.shape
    scores = []
    for head in range(heads):
        own = everything = 0.0
        for example in range(batch):
            for query in range(context):
                for key in range(query + 1):
                    logits = pattern[example, head, query, key] * values[example, head, key] @ W_O[head] @ W_U
                    raised = np.maximum(logits - logits.mean(), 0)
                    own += raised[tokens[example, key]]
                    everything += sum(raised[token] for token in set(tokens[example].tolist()))
        with np.errstate(invalid="ignore"):
            scores.append(4 * np.float64(own) / (own + everything) - 1)
    return np.array(scores)
