"""A detector that is pickled or copied mid-stream: the same answers from then on, or an error that says what is wrong."""

import copy
import json
import pickle

import numpy as np
import pytest

import phaseflow as pf
import phaseflow.exceptions

MODELS = ("normal", "student", "level", "linear", "autoregressive", "poisson", "bernoulli")
WAYS = {
    "pickle": lambda detector: pickle.loads(pickle.dumps(detector)),
    "oldest pickle": lambda detector: pickle.loads(pickle.dumps(detector, protocol=0)),
    "deep copy": copy.deepcopy,
    "copy": copy.copy,
    "json": lambda detector: pf.OnlineDetector.from_state(json.loads(json.dumps(detector.state()))),
}


def samples(model, n_samples=90):
    random = np.random.default_rng(1)
    y = random.normal(0, 1, n_samples) + 6.0 * (np.arange(n_samples) >= 50)
    y[[3, 30]] = np.nan
    if model == "poisson":
        y = np.where(np.isnan(y), y, random.poisson(np.where(np.arange(n_samples) < 50, 2.0, 11.0)))
    if model == "bernoulli":
        y = np.where(np.isnan(y), y, y > 3)
    return list(zip(np.cumsum(random.uniform(0.5, 2, n_samples)).tolist(), y.tolist(), strict=True))


def answer(detector, sample):
    change = detector.update(*sample)
    starts, probabilities = detector._runs.posterior()
    return change, detector.probability, detector._runs.log_evidence, starts.tolist(), probabilities.tolist()


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("model", MODELS)
def test_a_copy_gives_the_same_answers_sample_by_sample(model, way):
    stream = samples(model)
    for stop in (
        0,
        7,
        21,
        22,
        40,
        53,
        70,
    ):  # nothing yet, in the warm-up, its last sample, after, in the change, behind it
        whole = pf.OnlineDetector(model)
        for sample in stream[:stop]:
            whole.update(*sample)
        again = WAYS[way](whole)
        expected = [answer(whole, sample) for sample in stream[stop:]]
        assert [answer(again, sample) for sample in stream[stop:]] == expected
        assert again.changes == whole.changes
        assert len(whole.changes) >= 1


def test_a_copy_is_another_detector():
    first = pf.OnlineDetector()
    for sample in samples("normal")[:60]:
        first.update(*sample)
    before = first.state()
    second = copy.copy(first)
    for sample in samples("normal")[60:]:
        second.update(*sample)
    second.changes.clear()
    assert first.state() == before


def test_a_trainer_that_holds_one_is_saved_and_loaded_whole(tmp_path):
    torch = pytest.importorskip("torch")
    detector = Named("loss")
    for sample in samples("normal")[:60]:
        detector.update(*sample)
    torch.save({"step": 60, "detector": detector}, tmp_path / "trainer.pt")
    loaded = torch.load(tmp_path / "trainer.pt", weights_only=False)["detector"]
    assert (type(loaded), loaded.name, loaded.state()) == (Named, "loss", detector.state())
    torch.save({"step": 60, "detector": detector.state()}, tmp_path / "plain.pt")
    assert torch.load(tmp_path / "plain.pt", weights_only=True)["detector"] == detector.state()


class Named(pf.OnlineDetector):
    """With an attribute of its own, and a constructor of its own."""

    def __init__(self, name):
        super().__init__()
        self.name = name


# What is no state


def state(model="normal", stop=60):
    detector = pf.OnlineDetector(model)
    for sample in samples(model)[:stop]:
        detector.update(*sample)
    return detector.state()


def is_refused(broken, words):
    for read in (
        pf.OnlineDetector.from_state,
        lambda broken: pf.OnlineDetector().__setstate__({"state": broken, "attributes": {}}),
    ):
        with pytest.raises(pf.exceptions.ParameterError, match=words):
            read(broken)


@pytest.mark.parametrize("foreign", [None, 3, "state", [1, 2], {}, {"step": 3}, b"\x80"])
def test_something_else_is_no_state(foreign):
    is_refused(foreign, "without a version")


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_another_version_is_refused_by_its_number(version):
    is_refused(state() | {"version": version}, f"state has version {version!r}, expected 2")


@pytest.mark.parametrize("stop", [10, 60])
def test_a_state_without_one_of_its_entries_is_refused(stop):
    whole = state(stop=stop)
    for name in set(whole) - {"version"}:
        is_refused({other: whole[other] for other in whole if other != name}, f"{name}|checksum")


@pytest.mark.parametrize("model", MODELS)
def test_every_number_that_is_changed_is_noticed(model):
    whole = state(model)
    for index in range(0, len(whole["runs"]), 3):
        for other in (whole["runs"][index] + 1e-9 + 1e-9 * abs(whole["runs"][index]), -1.0, np.nan, "3", None):
            runs = [*whole["runs"][:index], other, *whole["runs"][index + 1 :]]
            is_refused(whole | {"runs": runs}, "state")
    for end in range(len(whole["runs"])):
        is_refused(whole | {"runs": whole["runs"][:end]}, "state")


def test_other_options_waiting_samples_and_changes_are_noticed():
    whole, waiting = state(), state(stop=10)
    for broken in (
        {"options": whole["options"] | {"expected_length": 100.0}},
        {"options": whole["options"] | {"min_size": 10**30}},
        {"options": whole["options"] | {"none such": 1}},
        {"options": 3},
        {"prior": whole["prior"] | {"beta": 2.0}},
        {"prior": None},
        {"prior": 3},
        {"since": 2},
        {"since": -1},
        {"since": 10**30},
        {"since": "2"},
        {"changes": []},
        {"changes": [{"began": 1.0}]},
        {"changes": 3},
        {"waiting": [[1.0, 2.0]]},
        {"runs": None},
    ):
        is_refused(whole | broken, "state")
    for broken in (waiting["waiting"][1:], [[1.0]], [["a", "b"]], 3):
        is_refused(waiting | {"waiting": broken}, "state")


def test_a_warm_up_that_cannot_be_taken_in_changes_nothing():
    detector = pf.OnlineDetector(warm_up=8)
    for x, value in enumerate([0.0, 1.0, 0.5, 1e200, 0.3, 0.2, 0.7]):
        detector.update(x, value)
    before = detector.state()
    with pytest.raises(pf.exceptions.ParameterError, match="value"):
        detector.update(7, 0.4)
    assert detector.state() == before
    assert detector.prior is None
