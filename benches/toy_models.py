"""Toy models trained as one stack, beside one by one; few examples of many features kept sparse, beside dense.

python benches/toy_models.py                     # also confirms what the superposition lab finds: minutes
python benches/toy_models.py --models 20 --rounds 2 --quick
"""

import argparse
import tempfile
from pathlib import Path

import torch
from _timing import compare, interleave, write_record

from phaseflow.labs.superposition import correlated, diagram, jumps, pentagon
from phaseflow.training.schedule import Checkpoints
from phaseflow.training.toy import (
    FiniteConfig,
    Instance,
    SparseFeatures,
    ToyConfig,
    ToyWeights,
    initial_weights,
    toy_losses,
    train_toy,
)
from phaseflow.training.toy.finite import loss_and_gradient, sparse_examples

CPU = torch.device("cpu")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="do not confirm what the lab finds")
    parser.add_argument("--record", default="toy_models", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = [stack(n, m, options) for n, m in ((5, 2), (40, 10))]
    cases += [finite(examples, options) for examples in (300, 3000)]
    if not options.quick:
        cases += confirmations()
    write_record(options.record, cases)


def stack(n_features, n_hidden, options):
    """Updates of many models on the same batches."""
    config = ToyConfig(
        n_features, n_hidden, tuple(Instance(0.1, restart=i) for i in range(options.models)), options.updates,
        batch_size=512, eval_size=16, checkpoints=Checkpoints(n_log=1),
    )  # fmt: skip
    contenders = {
        "one stack": lambda: train_toy(config, device="cpu", on_step=lambda step, note: None)[0].W,
        "torch, model by model": lambda: one_by_one(config),
    }
    seconds = interleave(contenders, options.rounds)
    torch.testing.assert_close(contenders["one stack"](), one_by_one(config), rtol=1e-3, atol=1e-4)
    case = f"{options.updates} updates of {options.models} models, {n_features} features in {n_hidden}, batch 512"
    return compare(case, seconds, "one stack")


def one_by_one(config):
    """The obvious way: every model its own parameters, batches and optimiser."""
    start, importance = initial_weights(config, CPU), torch.ones(1, config.n_features)
    found = []
    for i, instance in enumerate(config.instances):
        alone = ToyConfig(config.n_features, config.n_hidden, (instance,), config.steps, batch_size=config.batch_size)
        features = SparseFeatures(alone, CPU, stream=0)
        weights = ToyWeights(start.W[i : i + 1].clone().requires_grad_(), start.b[i : i + 1].clone().requires_grad_())
        adam = torch.optim.AdamW([weights.W, weights.b], weight_decay=0.0, fused=True)
        for step in range(config.steps):
            adam.param_groups[0]["lr"] = config.optimiser.learning_rate.at(step, config.steps)
            loss = toy_losses(features.batch(config.batch_size), weights, importance).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
        found.append(weights.W.detach())
    return torch.cat(found)


def finite(examples, options):
    """One gradient over all examples of a finite set."""
    config = FiniteConfig(examples)
    x = sparse_examples(examples, config, stream=0)
    dense, importance = x.dense().T[None].contiguous(), torch.ones(1, config.n_features)
    W, b = torch.randn((2, config.n_features)) * 0.05, torch.zeros(config.n_features)
    weights = ToyWeights(W[None].clone().requires_grad_(), b[None].clone().requires_grad_())

    def autograd():
        weights.W.grad = weights.b.grad = None
        toy_losses(dense, weights, importance).sum().backward()
        return weights.W.grad[0]

    contenders = {"sparse, in blocks": lambda: loss_and_gradient(x, W, b)[1], "torch, dense": autograd}
    seconds = interleave(contenders, options.rounds)
    torch.testing.assert_close(loss_and_gradient(x, W, b)[1], autograd(), rtol=1e-3, atol=1e-5)
    return compare(f"a gradient over {examples:,} examples of 1,000 features", seconds, "sparse, in blocks")


def confirmations():
    """What the lab finds at its default size, against the values it has to meet."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        cases = []
        for n_features in (2, 3):
            found = diagram.phase_diagram(n_features, out / f"diagram-{n_features}")
            agreement = {"away from boundaries": found.agreement(found.away), "all": found.agreement()}
            assert agreement["away from boundaries"] >= 0.95
            cases.append({"case": f"phase diagram, {n_features} features", "agreement": agreement})
        branches = pentagon.follow(out / "pentagon")
        ratio, error, loss = branches.crossing
        assert abs(ratio - 0.265) < 0.003
        assert abs(loss - 0.00607) < 1e-5
        assert branches.last_pentagon() == (0.14, 0.12)
        cases.append({"case": "pentagon to digons", "ratio": ratio, "error": error, "loss": loss})
        outcomes = correlated.demonstrations(out / "pairs")
        assert all(each.verdict == each.case.expected for each in outcomes)
        cases.append({"case": "pairs", "verdicts": [each.verdict for each in outcomes]})
        levels = jumps.energy_levels(out / "levels")
        assert levels.p_value < 0.01
        coincide = int(levels.jumps["coincides"].sum())
        cases.append({"case": "energy levels", "jumps": levels.jumps.height, "coincide": coincide, "p": levels.p_value})
    for case in cases:
        print("\n" + ", ".join(f"{name}: {value}" for name, value in case.items()))
    return cases


if __name__ == "__main__":
    main()
