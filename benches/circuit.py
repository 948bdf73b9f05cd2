"""Composition of all pairs of heads and copying of all heads, beside torch, and TransformerLens where it is installed.

python benches/circuit.py                        # 12 × 12 heads, d_model 768: GPT-2 small
python benches/circuit.py --layers 4 --rounds 2
python benches/circuit.py --dense                # the circuits multiplied out as well, which takes minutes

TransformerLens needs half a gigabyte (`pip install 'phaseflow[peers]'`); without it the bench says so.
"""

import argparse
import importlib.util
import warnings

import numpy as np
import torch
from _timing import compare, interleave, write_record

import phaseflow as pf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--vocab", type=int, default=50_257)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dense", action="store_true", help="multiply the circuits out too")
    parser.add_argument("--record", default="circuit", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = random_weights(options)
    shape = f"{options.layers} × {options.heads} heads, d_model {options.d_model}"
    write_record(
        options.record,
        [
            composition(f"K-composition of all pairs, {shape}", weights, options),
            copying(f"OV copying statistic of all heads, {shape}, vocabulary {options.vocab}", weights, options),
        ],
    )


def random_weights(options):
    """float32, of the size that keeps products at 1."""
    torch.manual_seed(0)
    heads, d_model = (options.layers, options.heads), options.d_model
    d_head = d_model // options.heads
    weights = {name: torch.randn(*heads, d_model, d_head) / d_model**0.5 for name in ("W_Q", "W_K", "W_V")}
    weights["W_O"] = torch.randn(*heads, d_head, d_model) / d_head**0.5
    weights["W_E"] = torch.randn(options.vocab, d_model)
    weights["W_U"] = torch.randn(d_model, options.vocab) / d_model**0.5
    return weights


def composition(case, weights, options):
    """Every peer computes in float32; ours in float64."""
    W_Q, W_K, W_V, W_O = (weights[name] for name in ("W_Q", "W_K", "W_V", "W_O"))
    arrays = [tensor.numpy() for tensor in (W_Q, W_K, W_V, W_O)]
    earlier = np.arange(options.layers)[:, None, None, None] < np.arange(options.layers)[None, None, :, None]

    def torch_dense():
        """The circuits multiplied out, a later layer's at once."""
        writes, reads = W_V @ W_O, (W_Q @ W_K.mT).mT
        sizes = writes.norm(dim=(2, 3))[:, :, None, None] * reads.norm(dim=(2, 3))
        found = torch.zeros(sizes.shape)
        for layer in range(options.layers):
            for head in range(options.heads):
                for later in range(layer + 1, options.layers):
                    found[layer, head, later] = (writes[layer, head] @ reads[later]).norm(dim=(1, 2))
        return (found / sizes).numpy()

    def torch_factors():
        """Gram factors by hand: |A B| through the products of the narrow sides."""
        left = torch.linalg.qr(W_V, mode="r").R @ W_O  # (layer, head, d_head, d_model)
        right = W_K @ torch.linalg.qr(W_Q, mode="r").R.mT  # (layer, head, d_model, d_head)
        sizes = left.norm(dim=(2, 3))[:, :, None, None] * right.norm(dim=(2, 3))
        found = torch.zeros(sizes.shape)
        for layer in range(options.layers - 1):
            for head in range(options.heads):
                found[layer, head, layer + 1 :] = (left[layer, head] @ right[layer + 1 :]).norm(dim=(2, 3))
        return (found / sizes).numpy()

    contenders = {
        "phaseflow (float64)": lambda: pf.composition_scores(*arrays, kind="K", threads=options.threads),
        "torch, factors by hand (float32)": torch_factors,
    }
    if options.dense:
        contenders["torch, circuits multiplied out (float32)"] = torch_dense
    if importlib.util.find_spec("transformer_lens") is not None:
        contenders["TransformerLens all_composition_scores (float32)"] = lens_scores(W_Q, W_K, W_V, W_O)
    else:
        print("TransformerLens is not installed and left out: pip install 'phaseflow[peers]'")
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow (float64)"]()
    for name, contender in contenders.items():
        np.testing.assert_allclose(contender() * earlier, found, atol=1e-5, err_msg=name)
    return compare(case, seconds, "phaseflow (float64)")


def lens_scores(W_Q, W_K, W_V, W_O):
    """What ``all_composition_scores("K")`` does once a model's weights are stacked: the same call, the same mask."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens import FactoredMatrix
        from transformer_lens.utilities import composition_scores
    layer = torch.arange(len(W_Q))
    earlier = layer[:, None, None, None] < layer[None, None, :, None]

    def all_scores():
        scores = composition_scores(FactoredMatrix(W_V, W_O), FactoredMatrix(W_Q, W_K.mT).T, broadcast_dims=True)
        return torch.where(earlier, scores, torch.zeros_like(scores)).numpy()

    return all_scores


def copying(case, weights, options):
    """numpy and torch with the same trick: eigenvalues of the cycled factors."""
    names = ("W_E", "W_V", "W_O", "W_U")
    arrays = [weights[name].numpy() for name in names]

    def statistic(values):
        return values.sum(-1).real / abs(values).sum(-1)

    def torch_float64():
        W_E, W_V, W_O, W_U = (weights[name].double() for name in names)
        return statistic(torch.linalg.eigvals(W_O @ (W_U @ W_E) @ W_V)).numpy()

    def numpy_float64():
        W_E, W_V, W_O, W_U = (array.astype(float) for array in arrays)
        return statistic(np.linalg.eigvals(W_O @ (W_U @ W_E) @ W_V))

    contenders = {
        "phaseflow": lambda: pf.ov_copying_statistic(*arrays, threads=options.threads),
        "torch, cycled factors (float64)": torch_float64,
        "numpy, cycled factors (float64)": numpy_float64,
    }
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow"]()
    for name, contender in contenders.items():
        np.testing.assert_allclose(contender(), found, atol=1e-9, err_msg=name)
    return compare(case, seconds, "phaseflow")


if __name__ == "__main__":
    main()
