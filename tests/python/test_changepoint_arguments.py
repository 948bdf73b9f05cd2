"""Arguments that are not what the detectors of changes expect: they work as meant, or are refused by name."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

import phaseflow as pf
from phaseflow.exceptions import DtypeError, NotFiniteError, ParameterError, ShapeError

SIGNAL = np.repeat([0.0, 5.0], 20) + np.random.default_rng(0).normal(0, 0.1, 40)

# name of the argument for the signal -> a call with a signal, an axis and options, whose table or result is comparable
CALLS = {
    "signal": lambda signal, **options: pf.detect(signal, **options).changepoints.tolist(),
    "signals": lambda signal, x=None, **options: pf.detect_many(_stacked(signal), x=x, **options).rows(),
    "signal of a path": lambda signal, **options: pf.detect_path(signal, **options).rows(),
    "signal of windows": lambda signal, **options: pf.detect_windows(signal, simulations=100, **options).rows(),
    "curve": lambda signal, **options: pf.non_convexity(signal, simulations=100, **options).rows(),
}


def _stacked(signal):
    """Two series of it."""
    return np.ma.stack([signal, signal]) if isinstance(signal, np.ma.MaskedArray) else [signal, signal]


def masked():
    return np.ma.masked_array(SIGNAL, mask=np.arange(40) % 13 == 5)


SAME = {
    "list": SIGNAL.tolist(),
    "tuple": tuple(SIGNAL),
    "polars": pl.Series(SIGNAL),
    "objects": SIGNAL.astype(object),
    "fractions": [Fraction(float(value)) for value in SIGNAL],
    "decimals": [Decimal(float(value)) for value in SIGNAL],
    "byte-swapped": SIGNAL.astype(">f8"),
    "strided": np.repeat(SIGNAL, 2)[::2],
    "read-only": np.frombuffer(SIGNAL.tobytes()),
    "no mask": np.ma.masked_array(SIGNAL),
}
WITH_GAPS = {
    "NaN": np.where(np.arange(40) % 13 == 5, np.nan, SIGNAL),
    "None": [None if index % 13 == 5 else value for index, value in enumerate(SIGNAL.tolist())],
    "masked": masked(),
    "nulls of polars": pl.Series([None if index % 13 == 5 else value for index, value in enumerate(SIGNAL.tolist())]),
}
ODD = {
    "text": (["1.0", "2.0"] * 20, DtypeError, "dtype=float"),
    "text among numbers": ([1.0, "a"] * 20, DtypeError, "real numbers"),
    "bytes": (np.array([b"1"] * 40), DtypeError, "dtype=float"),
    "complex": (SIGNAL + 1j, DtypeError, "real and imaginary part"),
    "complex objects": (np.array([1j] * 40, dtype=object), DtypeError, "1j, a complex"),
    "dates": (np.arange(40).astype("datetime64[s]"), DtypeError, "np.timedelta64"),
    "durations": (np.arange(40).astype("timedelta64[s]"), DtypeError, "np.timedelta64"),
    "dates of polars": (pl.Series([datetime.date(2024, 1, 1)] * 40), DtypeError, "datetime64"),
    "date objects": (np.array([datetime.date(2024, 1, 1)] * 40, dtype=object), DtypeError, "a date"),
    "durations among objects": (np.array([np.timedelta64(3, "s")] * 40, dtype=object), DtypeError, "timedelta64"),
    "strings of polars": (pl.Series(["a"] * 40), DtypeError, "dtype=float"),
    "lists of polars": (pl.Series([[1.0], [1.0, 2.0]]), ShapeError, "ragged"),
    "ragged": ([[1.0, 2.0], [1.0]], ShapeError, "ragged.* pad the short ones"),
    "ragged objects": (np.array([[1.0, 2.0], [1.0]], dtype=object), ShapeError, "ragged.* pad the short ones"),
    "dict": ({0: 1.0}, DtypeError, "dict"),
    "records": (np.zeros(40, dtype=[("loss", float)]), DtypeError, "one of its fields"),
    "too large": ([10**400, 1] * 20, DtypeError, "that a double can hold"),
    "nothing": (None, ShapeError, "0 axes|axes"),
    "0-d": (np.array(3.0), ShapeError, "0 axes"),
    "a number": (3.0, ShapeError, "0 axes"),
}


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("kind", list(SAME))
def test_numbers_in_any_container_are_the_same_numbers(call, kind):
    assert CALLS[call](SAME[kind]) == CALLS[call](SIGNAL)
    x = np.arange(1.0, 41.0)
    axis = (SAME[kind].__class__)(x) if isinstance(SAME[kind], list | tuple | pl.Series) else x.astype(object)
    assert CALLS[call](SIGNAL, x=axis) == CALLS[call](SIGNAL, x=x)


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("kind", list(WITH_GAPS))
def test_what_is_masked_or_null_is_missing(call, kind):
    expected = CALLS[call](WITH_GAPS["NaN"])
    assert CALLS[call](WITH_GAPS[kind]) == expected
    with pytest.raises((NotFiniteError, ParameterError), match="x"):
        CALLS[call](SIGNAL, x=WITH_GAPS[kind])


class NAType:
    """As pandas' null, which comes in arrays of objects: neither a number nor None."""

    def __float__(self):
        raise TypeError("float() argument must be a string or a real number, not 'NAType'")


def test_a_null_of_pandas_is_missing():
    values = [NAType() if index == 5 else value for index, value in enumerate(SIGNAL.tolist())]
    assert np.isnan(pf.detect(np.array(values, dtype=object)).signal[:, 0]).nonzero()[0].tolist() == [5]


@pytest.mark.parametrize("call", list(CALLS))
def test_false_and_true_are_0_and_1(call):
    bools = SIGNAL > 2
    assert CALLS[call](bools) == CALLS[call](bools.astype(float))
    assert CALLS[call](bools.tolist()) == CALLS[call](bools.astype(float))


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("kind", list(ODD))
def test_a_signal_or_axis_of_something_else_is_refused_by_name(call, kind):
    value, error, words = ODD[kind]
    if not (call == "signals" and error is ShapeError):
        with pytest.raises(error, match=f"{call.split()[0]} .*({words})|{call.split()[0]} .*ragged"):
            CALLS[call](value)
    if value is not None:
        error = (DtypeError, ShapeError)
        with pytest.raises(error, match=r"^x "):
            CALLS[call](SIGNAL, x=value)


@pytest.mark.parametrize("signals", [3.0, [3.0], [[1.0], [1.0, 2.0]], [[[1.0], [2.0]], [[1.0]]]])
def test_signals_of_other_axes_are_refused(signals):
    with pytest.raises(ShapeError, match=r"^signals .*(axes|ragged)"):
        pf.detect_many(signals)


def test_sparse_matrices_and_tensors_that_numpy_cannot_read_say_what_to_pass():
    sparse = pytest.importorskip("scipy.sparse")
    for call in CALLS:
        with pytest.raises(DtypeError, match=r"pass x\.toarray\(\)"):
            CALLS[call](SIGNAL, x=sparse.csr_array(SIGNAL[None]))
    with pytest.raises(DtypeError, match=r"pass signal\.toarray\(\)"):
        pf.detect(sparse.csr_matrix(SIGNAL))
    torch = pytest.importorskip("torch")
    assert pf.detect(torch.tensor(SIGNAL)).changepoints.tolist() == [20]
    with pytest.raises(DtypeError, match=r"signal is a Tensor .*detach"):
        pf.detect(torch.tensor(SIGNAL, requires_grad=True))


COUNTS = {
    "n_changepoints": ("signal", "signals"),
    "min_size": ("signal", "signals", "signal of a path"),
    "jump": ("signal", "signals", "signal of a path"),
    "order": ("signal", "signals"),
    "width": ("signal",),
    "threads": ("signal", "signals", "signal of windows", "curve"),
    "flank": ("signal of windows",),
    "max_windows": ("signal of windows",),
    "seed": ("signal of windows", "curve"),
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in COUNTS.items() for call in calls])
def test_a_count_is_an_integer_of_any_kind_and_nothing_else(name, call):
    for count in (np.int64(2), np.uint8(2)):
        assert CALLS[call](SIGNAL, **{name: count}) == CALLS[call](SIGNAL, **{name: 2})
    refused = [(1.5, "1.5, a float, expected an integer"), (2.0, "2.0, a float"), (True, "True, a bool"),
               (np.True_, "bool, expected an integer"), ("2", "'2', a str"), (-1, "-1, expected 0 or above"),
               (10**30, "expected at most"), (np.array([1, 2]), "a ndarray"), (np.nan, "nan, a float")]  # fmt: skip
    if name not in ("n_changepoints", "width", "threads"):
        refused.append((None, "None, a NoneType"))
    for count, words in refused:
        with pytest.raises(ParameterError, match=f"^{name} is .*{words}"):
            CALLS[call](SIGNAL, **{name: count})


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("level", ("signal", "signals", "signal of windows", "curve")),
        ("fdr", ("signals", "signal of windows", "curve")),
        ("penalty", ("signal", "signals")),
        ("max_width", ("signal of windows",)),
    ],
)
def test_a_number_is_no_bool_or_list(name, calls):
    for call in calls:
        CALLS[call](SIGNAL, **{name: np.float32(0.5)})
        for value in (True, [0.5], 1j, np.datetime64(3, "s"), np.timedelta64(3, "s")):
            with pytest.raises(ParameterError, match=f"^{name} is .*expected a number"):
                CALLS[call](SIGNAL, **{name: value})


@pytest.mark.parametrize(
    ("name", "calls"),
    [("cost", ("signal", "signals", "signal of a path")), ("search", ("signal", "signals", "signal of a path")),
     ("shape", ("signal", "signals")), ("direction", ("signals",)), ("fdr_method", ("signals",)), ("scale", ("signal of windows",)),
     ("base", ("signal of windows",))],
)  # fmt: skip
def test_a_name_is_a_string(name, calls):
    for call in calls:
        for value in (3, None, ["l2"]):
            with pytest.raises(ParameterError, match=f"^{name} is .*expected a name in quotes"):
                CALLS[call](SIGNAL, **{name: value})


@pytest.mark.parametrize("penalties", [np.array([1.0, 3.0]), pl.Series([1.0, 3.0]), [1, 3]])
def test_a_range_of_penalties_may_be_any_pair(penalties):
    assert pf.detect_path(SIGNAL, penalties=penalties).equals(pf.detect_path(SIGNAL, penalties=(1.0, 3.0)))


@pytest.mark.parametrize("penalties", [3.0, (1.0,), (1, 2, 3), "12", ("a", "b"), (True, 3.0), {1.0, 2.0}])
def test_a_range_of_penalties_is_two_numbers(penalties):
    with pytest.raises(ParameterError, match="penalties"):
        pf.detect_path(SIGNAL, penalties=penalties)


@pytest.mark.parametrize("cost", ["l2", "normal", "ar"])
def test_a_series_without_samples_is_named_where_changes_are_asked_of_it(cost):
    signals = np.stack([SIGNAL, np.full(40, np.nan), SIGNAL])
    assert set(pf.detect_many(signals, cost=cost)["series"]) <= {0, 2}
    with pytest.raises(ParameterError, match=r"n_changepoints is 1, expected 0 for series 1, which has a NaN at every"):
        pf.detect_many(signals, cost=cost, n_changepoints=1)


# Online


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"observation": 3}, "observation is 3"),
        ({"min_size": 2.5}, "min_size is 2.5, a float"),
        ({"min_size": True}, "min_size is True"),
        ({"most": 10**30}, "most is 1.*expected at most"),
        ({"warm_up": "20"}, "warm_up is '20'"),
        ({"expected_length": "a"}, "expected_length is 'a'"),
        ({"expected_length": 10**400}, "expected_length is beyond"),
        ({"level": None}, "level is None"),
        ({"certainty": True}, "certainty is True"),
        ({"least": [1]}, r"least is \[1\]"),
        ({"prior": {}}, "without mean"),
        ({"prior": 3}, "prior is 3, a int, expected a dict"),
        ({"prior": {"mean": "0", "kappa": 1, "alpha": 1, "beta": 1}}, r"prior\['mean'\] is '0'"),
    ],
)
def test_options_of_a_detector_are_refused_by_name(arguments, words):
    with pytest.raises(ParameterError, match=words):
        pf.OnlineDetector(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prior": {}}, "without mean"),
        ({"prior": [1]}, r"prior is \[1\], a list"),
        ({"shown": np.nan}, "shown is nan"),
        ({"shown": "1"}, "shown is '1'"),
        ({"most": 2.5}, "most is 2.5"),
    ],
)
def test_options_of_the_run_length_are_refused_by_name(arguments, words):
    with pytest.raises(ParameterError, match=words):
        pf.run_length_posterior(SIGNAL, **arguments)


def test_samples_of_any_number_are_the_same_and_others_are_refused():
    torch = pytest.importorskip("torch")
    plain, other = pf.OnlineDetector(min_size=np.int64(3)), pf.OnlineDetector(prior=None)
    kinds = (np.float32, int, Fraction, np.array, torch.tensor, Decimal, np.int64)
    for x in range(60):
        value = float(x % 7 + 10 * (x > 40))
        plain.update(x, value)
        other.update(kinds[x % 5](x), kinds[x % 7](value))
        for missing in (None, np.nan, np.ma.masked):
            assert other.update(x + 0.5, missing) is None
    assert plain.state() == other.state()
    assert len(plain.changes) == 1
    before = other.state()
    for wrong in ("3", b"3", 1j, [3.0], np.array([3.0]), np.datetime64(3, "s"), np.timedelta64(3, "s"), {}):
        with pytest.raises((DtypeError, ShapeError), match=r"^value "):
            other.update(70, wrong)
        with pytest.raises((DtypeError, ShapeError), match=r"^x "):
            other.update(wrong, 1.0)
    with pytest.raises(NotFiniteError, match=r"^x"):
        other.update(None, 1.0)
    assert other.state() == before


# Evaluation


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((5, [3], 10), "truth is a int, expected a list of sample indices"),
        (([3], 5, 10), "found is a int, expected a list"),
        (([3], None, 10), "found is a NoneType"),
        (([3], "3", 10), "found is a str"),
        (([3], np.array(3), 10), "found has no axis"),
        (([3], [3.0], 10), "found holds 3.0, a float"),
        (([3], ["3"], 10), "found holds '3', a str"),
        (([3], [True], 10), "found holds True, a bool"),
        (([3], np.arange(10) == 3, 10), "found holds .*bool"),
        (([3], np.ma.masked_all(3, int), 10), "found holds masked"),
        (([3], [10**30], 10), "found holds 1.*expected sample indices from 0 to 9"),
        (([3], [[1, 2], [3]], 10), r"found holds \[1, 2\], a list"),
        (([3], np.array([[1, 2]]), 10), r"found holds array\(\[1, 2\]\), a ndarray"),
        (([[1], 2], [3], 10), "truth mixes"),
        (([["a"]], [3], 10), "truth holds 'a'"),
        (([3], [3], 10.0), "n_samples is 10.0, a float"),
        (([3], [3], True), "n_samples is True"),
        (([3], [3], 10**30), "n_samples is 1.*expected at most"),
        (([3], [3], 0), "n_samples is 0"),
    ],
)
def test_places_that_are_none_are_refused_by_name(arguments, words):
    with pytest.raises(ParameterError, match=words):
        pf.evaluate_changepoints(*arguments)


def test_the_result_of_detect_is_no_list_of_places_but_says_where_they_are():
    found = pf.detect(SIGNAL)
    with pytest.raises(ParameterError, match=r"found is a Segmentation.*pass its changepoints"):
        pf.evaluate_changepoints([20], found, 40)
    assert pf.evaluate_changepoints([20], found.changepoints, 40).f1 == 1
    assert pf.evaluate_changepoints(np.array([20]), pl.Series([20]), np.int64(40)).covering == 1
    # Nothing as long as the signal is made for that.
    assert pf.evaluate_changepoints([20], [20], 10**15).covering == 1


def test_margin_and_axis_of_an_evaluation_are_numbers():
    for margin in ("5", True, None):
        with pytest.raises(ParameterError, match=r"^margin is .*expected a number"):
            pf.evaluate_changepoints([3], [3], 10, margin=margin)
    for x in (["a"] * 10, np.arange(10).astype("datetime64[s]"), np.arange(10) + 1j):
        with pytest.raises(DtypeError, match=r"^x has dtype"):
            pf.evaluate_changepoints([3], [3], 10, x=x)


@pytest.mark.parametrize("value", [np.complex64(3 + 4j), np.str_("3"), np.bytes_(b"3"), np.array("3"), 1j, "3"])
def test_a_sample_that_is_no_real_number_is_refused(value):
    with pytest.raises(DtypeError, match="expected real numbers"):
        pf.OnlineDetector().update(1.0, value)
    with pytest.raises(DtypeError, match="signal"):
        pf.detect(np.array([1.0, value, 2.0], dtype=object))


def test_masks_of_rows_in_a_list_are_kept():
    rows = np.random.default_rng(0).normal(0, 1, (2, 60))
    rows[:, 30] = 1e6
    masked = [np.ma.masked_greater(row, 1e5) for row in rows]
    assert pf.detect_many(rows).height > 0
    assert pf.detect_many(masked).height == 0
    assert pf.detect_many(masked).equals(pf.detect_many(np.ma.stack(masked)))
