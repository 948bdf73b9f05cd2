"""Toy models from their definition, one number at a time."""


def losses(x, W, b, importance, *, W_out=None, hidden="linear", output="relu", task="identity"):
    """Mean over examples of the importance-weighted squared error, of one model."""
    W_out = W if W_out is None else W_out
    n_hidden, n_features = len(W), len(W[0])
    total = 0.0
    for example in x:
        h = [sum(W[k][i] * example[i] for i in range(n_features)) for k in range(n_hidden)]
        if hidden == "relu":
            h = [max(value, 0.0) for value in h]
        for i in range(n_features):
            answer = sum(W_out[k][i] * h[k] for k in range(n_hidden)) + b[i]
            if output == "relu":
                answer = max(answer, 0.0)
            wanted = abs(example[i]) if task == "absolute" else example[i]
            total += importance[i] * (wanted - answer) ** 2
    return total / len(x)
