"""Loss measures in memory beside numpy, torch, BLAS and the time of reading the bytes.

python benches/loss.py                                # 200 checkpoints, 2048 examples, 1024 positions: 1.7 GB
python benches/loss.py --checkpoints 10 --rounds 3
"""

import argparse

import numpy as np
import torch
from _timing import compare, interleave, read_limit, write_record

import phaseflow as pf

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=200)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--record", default="loss", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = []
    for dtype in options.dtypes:
        tensor = random_losses(options).to(DTYPES[dtype])
        cases.append(positions(f"mean and standard error, {shape_of(tensor)}", tensor, options))
        cases.append(
            summary(f"mean, variance, undefined, late minus early in one pass, {shape_of(tensor)}", tensor, options)
        )
        cases.append(derivative(f"derivative over the log index, {shape_of(tensor)}", tensor, options))
    cases.append(interval("in-context interval", random_losses(options), options))
    write_record(options.record, cases)


def shape_of(tensor):
    return f"{' × '.join(map(str, tensor.shape))} {str(tensor.dtype).removeprefix('torch.')}"


def random_losses(options):
    torch.manual_seed(0)
    losses = torch.empty(options.checkpoints, options.batch, options.context)
    for checkpoint in losses:
        checkpoint.exponential_(1 / 3)
    return losses


def positions(case, tensor, options):
    array = viewable(tensor)
    ones = torch.full((1, options.batch), 1 / options.batch)
    contenders = {
        "phaseflow": lambda: pf.position_losses(array, threads=options.threads),
        "numpy mean alone": lambda: array.mean(1),
        "torch mean alone": lambda: tensor.mean(1),
        "limit: read all bytes": read_limit(array, options.threads),
    }
    if tensor.dtype == torch.float32:
        contenders |= {
            "numpy mean and var": lambda: (array.mean(1), array.var(1, ddof=1)),
            "numpy mean in float64 alone": lambda: array.mean(1, dtype=float),
            "torch var_mean": lambda: torch.var_mean(tensor, 1),
            "BLAS ones @ L, mean alone": lambda: ones @ tensor,
        }
    seconds = interleave(contenders, options.rounds)
    mean, error = contenders["phaseflow"]()
    rtol = tolerance(tensor)
    for checkpoint in (0, options.checkpoints - 1):
        exact = tensor[checkpoint].double().numpy()
        np.testing.assert_allclose(mean[checkpoint], exact.mean(0), rtol=rtol)
        np.testing.assert_allclose(error[checkpoint], exact.std(0, ddof=1) / options.batch**0.5, rtol=100 * rtol)
    return compare(case, seconds, "phaseflow")


def tolerance(tensor):
    """Sixteen losses of sixteen bits are summed in single precision, all others in double."""
    return 1e-8 if tensor.element_size() == 2 else 1e-13


def summary(case, tensor, options):
    array = viewable(tensor)
    early, late = 50, min(500, options.context)
    contenders = {
        "phaseflow": lambda: pf.loss_summary(array, early=early, late=late, threads=options.threads),
        "limit: read all bytes": read_limit(array, options.threads),
    }
    if tensor.dtype == torch.float32:
        contenders |= {
            "numpy": lambda: (
                array.mean(1),
                array.var(1, ddof=1),
                np.isnan(array).sum(1),
                array[:, :, late - 1] - array[:, :, early - 1],
            ),
            "torch": lambda: (
                torch.var_mean(tensor, 1),
                tensor.isnan().sum(1),
                tensor[:, :, late - 1] - tensor[:, :, early - 1],
            ),
        }
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow"]()
    exact = tensor[0].double().numpy()
    np.testing.assert_allclose(found.mean[0], exact.mean(0), rtol=tolerance(tensor))
    np.testing.assert_allclose(found.variance[0], exact.var(0, ddof=1), rtol=100 * tolerance(tensor))
    np.testing.assert_array_equal(found.late_minus_early[0], exact[:, late - 1] - exact[:, early - 1])
    assert not found.undefined.any()
    return compare(case, seconds, "phaseflow")


def derivative(case, tensor, options):
    array = viewable(tensor)
    contenders = {
        "phaseflow": lambda: pf.loss_log_derivative(array, threads=options.threads),
        "phaseflow, mean and error it starts from": lambda: pf.position_losses(array, threads=options.threads),
        "limit: read all bytes": read_limit(array, options.threads),
    }
    seconds = interleave(contenders, options.rounds)
    assert np.isfinite(contenders["phaseflow"]()).all()
    return compare(case, seconds, "phaseflow")


def interval(case, tensor, options):
    array = tensor.numpy()
    early, late = 50, min(500, options.context)
    rng = np.random.default_rng(0)
    quantiles = [0.025, 0.975]

    def counts_product():
        """Shared resamples as counts, times the differences, in float64."""
        difference = (array[:, :, late - 1] - array[:, :, early - 1]).astype(float)
        drawn = rng.integers(0, options.batch, (options.resamples, options.batch))
        counts = np.stack([np.bincount(one, minlength=options.batch) for one in drawn]).astype(float)
        return np.quantile(difference @ counts.T / options.batch, quantiles, axis=1).T

    def shared_indices():
        difference = (array[:, :, late - 1] - array[:, :, early - 1]).astype(float)
        drawn = rng.integers(0, options.batch, (options.resamples, options.batch))
        return np.quantile(np.stack([difference[:, one].mean(1) for one in drawn]), quantiles, axis=0).T

    def obvious():
        """Each checkpoint resampled on its own."""
        ends = []
        for losses in array:
            difference = (losses[:, late - 1] - losses[:, early - 1]).astype(float)
            drawn = rng.integers(0, options.batch, (options.resamples, options.batch))
            ends.append(np.quantile(difference[drawn].mean(1), quantiles))
        return np.array(ends)

    contenders = {
        "phaseflow": lambda: pf.in_context_learning_interval(
            array, early=early, late=late, resamples=options.resamples, method="percentile", threads=options.threads
        ),
        "phaseflow, studentized": lambda: pf.in_context_learning_interval(
            array, early=early, late=late, resamples=options.resamples, threads=options.threads
        ),
        "numpy, counts times differences": counts_product,
        "numpy, shared indices": shared_indices,
        "numpy, a resample for each checkpoint": obvious,
    }
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow"]()
    for contender in contenders.values():
        # Other resamples: the ends agree to a few standard deviations of a bootstrap quantile.
        width = np.diff(found).mean()
        np.testing.assert_allclose(contender(), found, rtol=0, atol=0.2 * width)
    shape = f"{options.checkpoints} checkpoints, {options.batch} examples, {options.resamples} resamples"
    return compare(f"{case}, {shape}", seconds, "phaseflow")


def viewable(tensor):
    """The tensor as numpy sees it; bfloat16 by way of its bits."""
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


if __name__ == "__main__":
    main()
