"""Changes noticed while a run is still going: Bayesian online detection, one checkpoint at a time."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from phaseflow import _core
from phaseflow.changepoint.arguments import check_counts, check_names, check_numbers, sample_number
from phaseflow.changepoint.online_state import opened, sealed
from phaseflow.changepoint.prior import check_prior, check_sample, default_prior, fixed_prior
from phaseflow.changepoint.student import student_quantile
from phaseflow.exceptions import ParameterError


@dataclass(frozen=True)
class OnlineChange:
    """A change that began, as it looked when it was noticed; x is the step, or whatever was given as such.

    Attributes
    ----------
    began
        x of the likeliest first sample of the new segment.
    lower, upper
        The last x that may still lie before the change and the first that lies after it at the latest, at ``level``.
    noticed
        x of the sample that made it sure enough.
    probability
        Posterior probability that there is a change.
    before, after
        Mean between the change before this one and this one, and from this one on.
    size, size_lower, size_upper
        ``after - before``, and Student's interval for it; NaN where there are too few samples.
    """

    began: float
    lower: float
    upper: float
    noticed: float
    probability: float
    before: float
    after: float
    size: float
    size_lower: float
    size_upper: float

    def __str__(self) -> str:
        return (
            f"a change began at {self.began:.6g} (between {self.lower:.6g} and {self.upper:.6g}), noticed at "
            f"{self.noticed:.6g} with probability {self.probability:.4g}: from {self.before:.4g} to {self.after:.4g}, "
            f"size {self.size:.4g} ({self.size_lower:.4g} to {self.size_upper:.4g})"
        )


# What a change is announced at: mixtures over rates and scales are surer of nothing than means are.
CERTAINTY = 0.95
CERTAINTIES = {"poisson": 0.98, "bernoulli": 0.99, "student": 0.995}


class OnlineDetector:
    """Says that a change began, while the samples come in.

    After every sample the posterior of where the current segment began is exact: every start so far is weighed by the
    probability of the samples since, and by the probability that nothing began in between (Adams and MacKay 2007). A
    change is announced once it is sure with ``certainty`` that a segment began since the last announcement.

    Parameters
    ----------
    observation
        What the samples of one segment look like: ``"normal"``, mean and variance unknown;
        ``"student"``, the same with the heavy tails of Student's t; ``"level"``, the mean unknown and the variance
        known; ``"linear"``, normal about a line in x; ``"autoregressive"``, normal about a
        mean and a part of how far the sample before lay from it; ``"poisson"``, counts; ``"bernoulli"``, 0 or 1.
    prior
        The parameters of the conjugate prior of a segment, by name. Without it the prior is made from the first
        ``warm_up`` samples, which then count as samples too.

        * ``"normal"``: ``mean``, ``kappa`` (how many samples the mean is worth), ``alpha``, ``beta``: the variance is
          inverse gamma, about ``beta / alpha``, worth ``2 alpha`` samples;
        * ``"student"``: the same for location and squared scale, and ``freedom``, the degrees of freedom of a sample's
          t, 4 by default;
        * ``"level"``: ``mean`` and ``variance`` of the levels, ``noise_variance``;
        * ``"linear"``: as ``"normal"``, the mean that at a segment's first x, and ``slope_kappa``: the slope is normal
          about 0 with the noise variance over ``slope_kappa``;
        * ``"autoregressive"``: the same, for the slope on the distance of the sample before from ``mean``;
        * ``"poisson"``: ``alpha`` and ``beta``: the rate is gamma, about ``alpha / beta``, worth ``beta`` samples;
        * ``"bernoulli"``: ``alpha`` ones and ``beta`` zeros.
    expected_length
        Samples of a segment on average: a segment begins at any sample with probability ``1 / expected_length``.
    certainty
        Posterior probability at which a change is announced. Without it what makes about 1 in 25 series of 1000 samples
        without a change have an announcement (Notes): 0.95; 0.98 for ``"poisson"``, 0.99 for ``"bernoulli"``, 0.995
        for ``"student"``.
    min_size
        Samples of a segment at least: a new one counts from then on, and one or two wild samples are no segment.
    level
        Probability of the intervals.
    warm_up
        Samples that the prior is made from, at least 4; not used with a prior, and for ``"bernoulli"``.
    least, most
        Starts whose posterior falls below ``least`` are dropped, and the unlikeliest beyond ``most``: a sample takes
        constant time and memory. ``least=0`` with ``most`` above the number of samples is exact.

    Attributes
    ----------
    changes
        All changes so far.

    Raises
    ------
    ParameterError
        A parameter out of its range, or a prior with other parameters.
    UnknownNameError
        An observation that does not exist.

    Notes
    -----
    It may be pickled and copied between any two samples, by itself or in a trainer's checkpoint: the copy goes on with
    the same answers, to the bit. :meth:`state` and :meth:`from_state` do the same without pickle. What was made by
    another version of phaseflow, cut short or changed is refused with a :class:`ParameterError`.

    The samples of a segment are taken to be independent: a smooth decay is no sequence of levels, and is announced as
    several changes. Use ``"linear"`` with the logs of step and loss, or a score that is flat until it jumps. Nor has
    normal noise wild samples: one at 6 standard deviations passes for a segment in a quarter of cases with
    ``min_size=3``, in few with 5. Where there are such samples use ``"student"``: a sample far out says little about
    level and spread. The ``size`` of a change is the difference of plain means for it, too.

    Of 400 series of 1000 samples as the model takes them, without a change, .035 have an announcement at the defaults
    for ``"normal"``, .023 for ``"autoregressive"`` and ``"linear"``, .033 for ``"poisson"`` (rate 5), .030 for
    ``"bernoulli"`` (.3) and .033 for ``"student"`` (normal noise; .023 and .04 with the tails of Student's t with 5
    and 3 degrees of freedom). At 0.95 it would be .10, .20 and .11 for the last three; their caution costs a step of 3
    standard deviations 0, 6 and 1 samples. ``"level"`` is for noise whose variance is known: with a prior made from
    the first 20 samples .27 have one, from 100 samples and ``certainty=0.995`` .03, with the true prior .017. With a
    correlation of 0.3 or 0.6 between samples 33 and 50 in 50 series have an announcement of ``"normal"``, 1 of
    ``"autoregressive"``; with the tails of Student's t with 5 degrees of freedom 38 of either. (The default
    ``expected_length`` looks for four changes in 1000 samples.) A step of 3 standard deviations after 100 samples is
    announced with its third sample, one of 1 after 20 (``benches/online_detection.py``).

    The log probabilities are those of the published closed forms (Murphy 2007), in f64; those of ``"student"``, which
    has none, are of a normal sample's with the weight that its distance gives it (West 1987), taken in one at a time.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> score = np.random.default_rng(0).normal(0, 0.02, 80) + np.repeat([0.05, 0.6], [50, 30])
    >>> detector = pf.OnlineDetector()
    >>> for step, value in enumerate(score):
    ...     change = detector.update(step, value)
    ...     if change:
    ...         print(change.began, change.noticed, round(change.size, 1))
    50.0 52.0 0.5
    """

    def __init__(
        self,
        observation: str = "normal",
        *,
        prior: Mapping[str, float] | None = None,
        expected_length: float = 250.0,
        certainty: float | None = None,
        min_size: int = 3,
        level: float = 0.95,
        warm_up: int = 20,
        least: float = 1e-12,
        most: int = 1000,
    ) -> None:
        check_names(observation=observation)
        check_counts(min_size=min_size, most=most, warm_up=warm_up)
        check_numbers("certainty", expected_length=expected_length, certainty=certainty, level=level, least=least)
        for name, count, fewest in (("min_size", min_size, 1), ("most", most, 2), ("warm_up", warm_up, 4)):
            if count < fewest:
                raise ParameterError(f"{name} is {count}, expected {fewest} or above")
        sure = CERTAINTIES.get(observation, CERTAINTY) if certainty is None else float(certainty)
        self.changes: list[OnlineChange] = []
        self._options: dict[str, Any] = {
            "observation": observation,
            "expected_length": float(expected_length),
            "certainty": sure,
            "min_size": int(min_size),
            "level": float(level),
            "warm_up": int(warm_up),
            "least": float(least),
            "most": int(most),
        }
        self._waiting: list[tuple[float, float]] = []
        self._prior = fixed_prior(observation) if prior is None else check_prior(prior)
        # A parameter that is wrong is refused now and not after the warm-up.
        example = default_prior(observation, np.arange(4.0), np.array([0.0, 1.0, 1.0, 0.0]))
        self._runs = self._started(example if self._prior is None else self._prior)

    def update(self, x: float, value: float) -> OnlineChange | None:
        """Takes in the next sample.

        Parameters
        ----------
        x
            Its step (or tokens, or their log): above the one before.
        value
            The measure there; NaN or None means that it is missing, and changes nothing.

        Returns
        -------
        OnlineChange or None
            The change that this sample makes sure. During the warm-up always ``None``.

        Raises
        ------
        DtypeError, ShapeError
            What is no real number, or more than one.
        NotFiniteError
            An infinity, or an x that is NaN.
        ParameterError
            An x that does not increase; a value that the observation cannot have; first
            samples that vary by so little or so much that double precision cannot square it. Nothing has changed then.
        """
        x, value = sample_number("x", x), sample_number("value", value)
        if math.isnan(value):
            return None
        if self._prior is not None:
            change = self._change(self._runs, x, value)
            self.changes += [change] if change else []
            return change
        check_sample(self._options["observation"], x, value, self._waiting[-1][0] if self._waiting else -math.inf)
        waiting = [*self._waiting, (x, value)]
        if len(waiting) < self._options["warm_up"]:
            self._waiting = waiting
            return None
        prior = default_prior(self._options["observation"], *np.array(waiting).T)
        runs = self._started(prior)
        found = [self._change(runs, *sample) for sample in waiting]
        self._prior, self._runs, self._waiting = prior, runs, []
        changes = [change for change in found if change]
        self.changes += changes
        return changes[-1] if changes else None

    @property
    def probability(self) -> float:
        """Posterior probability that a segment of ``min_size`` samples began since the last announcement."""
        return float(self._runs.probability)

    @property
    def prior(self) -> dict[str, float] | None:
        """The prior; ``None`` during the warm-up."""
        return None if self._prior is None else dict(self._prior)

    def state(self) -> dict[str, Any]:
        """All there is to know, as plain numbers, strings, lists and dicts that JSON keeps to the bit.

        For files that others read, and for checkpoints loaded with ``weights_only=True``. Where pickles are at home,
        pickle or copy the detector itself: that is the same.
        """
        since, numbers = self._runs.store()
        return sealed(
            {
                "options": dict(self._options),
                "prior": self.prior,
                "waiting": [list(sample) for sample in self._waiting],
                "changes": [asdict(change) for change in self.changes],
                "since": since,
                "runs": numbers if self._runs.count else None,
            }
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "OnlineDetector":
        """The detector that gave this :meth:`state`; the next sample finds it as it was, and so do all after it.

        Raises
        ------
        ParameterError
            A state of another version, of something else, cut short, or changed in any number.
        """

        def make(state: Mapping[str, Any]) -> "OnlineDetector":
            made = cls.__new__(cls)  # a class made from this one may be called otherwise
            OnlineDetector.__init__(made, **state["options"], prior=state["prior"])
            return made._going_on(state)

        return opened(state, make, OnlineDetector.state)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_options", "_prior", "_waiting", "_runs", "changes")
        return {"state": self.state(), "attributes": {name: of for name, of in vars(self).items() if name not in own}}

    def __setstate__(self, pickled: Any) -> None:
        def make(state: Mapping[str, Any]) -> "OnlineDetector":
            OnlineDetector.__init__(self, **state["options"], prior=state["prior"])
            return self._going_on(state)

        pickled = pickled if isinstance(pickled, Mapping) else {}
        opened(pickled.get("state"), make, OnlineDetector.state)
        vars(self).update(pickled.get("attributes", {}))

    def _going_on(self, state: Mapping[str, Any]) -> "OnlineDetector":
        """After what the state has seen, where nothing was seen yet."""
        self._waiting = [(float(x), float(value)) for x, value in state["waiting"]]
        self.changes = [OnlineChange(**{name: float(of) for name, of in change.items()}) for change in state["changes"]]
        since, runs = state["since"], state["runs"]
        if runs is not None:
            self._runs.restore(since, runs)
        return self

    def _started(self, prior: Mapping[str, float]) -> _core.OnlineRuns:
        names = ("expected_length", "least", "most", "certainty", "min_size", "level")
        options = {name: self._options[name] for name in names}
        return _core.OnlineRuns(self._options["observation"], list(prior.items()), **options)

    def _change(self, runs: _core.OnlineRuns, x: float, value: float) -> OnlineChange | None:
        found = runs.update(x, value)
        if found is None:
            return None
        _, began, lower, upper, probability, before, after = found
        size = after[1] - before[1]
        half = _half_width(before, after, self._options["level"])
        return OnlineChange(began, lower, upper, x, probability, before[1], after[1], size, size - half, size + half)


def _half_width(before: tuple[float, float, float], after: tuple[float, float, float], level: float) -> float:
    """Of Student's interval for the difference of two means, from count, mean and sum of squared deviations."""
    freedom = before[0] + after[0] - 2
    if freedom < 1:
        return math.nan
    variance = (before[2] + after[2]) / freedom
    return student_quantile(0.5 + level / 2, int(freedom)) * math.sqrt(variance * (1 / before[0] + 1 / after[0]))
