"""Column names of every table phaseflow returns: written once, here, and nowhere else."""

# Where a row belongs.
RUN = "run"
STEP = "step"
TOKENS_SEEN = "tokens_seen"
WALL_TIME = "wall_time"
PROBE = "probe"
LAYER = "layer"
HEAD = "head"
EARLIER_LAYER = "earlier_layer"  # of a pair of heads, the one that writes; layer and head are the one that reads
EARLIER_HEAD = "earlier_head"
METRIC = "metric"
ABLATION = "ablation"  # how a head was taken away: "full", or "pattern_preserving"
TOKEN_INDEX = "token_index"  # 1-based, as in the papers: the 500th token is 500

EXAMPLE = "example"  # row of the probe, 0-based
TOKEN = "token"  # id of the token whose loss it is
REPEAT_LENGTH = (
    "repeat_length"  # tokens, this one included, of the longest passage ending here that stood earlier in the example
)
CONTEXT = "context"  # text in front of a token
TEXT = "text"  # the token's own
FOLLOWING = "following"  # text behind it

# What was measured.
NAME = "name"
VALUE = "value"
STANDARD_ERROR = "standard_error"
LOWER = "lower"
UPPER = "upper"
CHANCE = "chance"  # the score of a uniform causal pattern on the same tokens
N_QUERIES = "n_queries"  # queries that count for a score; a score over none is NaN
UNNORMALISED_ROWS = "unnormalised_rows"  # of a head's patterns, whose entries do not sum to 1 within 0.01
NONFINITE_ENTRIES = "nonfinite_entries"  # of a head's patterns, NaN or infinite

# A feature of a toy model.
INSTANCE = "instance"  # which model of a stack that was trained as one
MATRIX = "matrix"  # which one of a stack, counted along its leading axes
FEATURE = "feature"
NORM = "norm"
DIMENSIONALITY = "dimensionality"
INTERFERENCE = "interference"
LEVERAGE = "leverage"
COMPONENT = "component"  # features whose directions are not orthogonal belong together
CORNERS = "corners"  # how many features a component has
GEOMETRY = "geometry"
CERTAINTY = "certainty"

# A window or a changepoint.
SERIES = "series"
START = "start"
END = "end"
SIZE = "size"
P_VALUE = "p_value"
SHARE = "share"  # part of the measure's total change that falls inside the window
Q_VALUE = "q_value"  # smallest false-discovery rate at which a row of its set is kept
HEIGHT = "height"  # of a break, in standard errors; negative for a drop
CHANGEPOINT = "changepoint"
CHANGEPOINTS = "changepoints"
N_CHANGEPOINTS = "n_changepoints"
PENALTY = "penalty"
EFFECT = "effect"  # what of a segment changed: mean, slope, log_scale, ...
SEGMENT = "segment"
SAMPLE = "sample"
RUN_LENGTH = "run_length"  # samples of the current segment so far, the last one included
PROBABILITY = "probability"
X = "x"
FEATURE = "feature"
X_FIRST = "x_first"
X_LAST = "x_last"
MEAN = "mean"
COST = "cost"

# Files of an archive.
RANK = "rank"
FILE = "file"
OFFSET = "offset"
DTYPE = "dtype"
SHAPE = "shape"
CHECKSUM = "checksum"
OBJECT = "object"
EXPECTED = "expected"
FOUND = "found"


def lower(column: str) -> str:
    """Name of the lower end of ``column``'s confidence interval."""
    return f"{column}_lower"


def upper(column: str) -> str:
    """Name of the upper end of ``column``'s confidence interval."""
    return f"{column}_upper"


# The verdict on a run: one row, from its phase changes.
PHASE_CHANGE = "phase_change"  # true where the in-context learning score breaks while heads form
HEADS = "heads"  # the induction heads, as "L1H2", strongest first
BEST_HEAD = "best_head"  # the head with the highest prefix matching score at the last checkpoint
BEST_SCORE = "best_score"  # and that score
FINAL_SCORE = "final_score"  # in-context learning score at the last checkpoint, nats
OVERLAP = "overlap"  # share of the joint span, in log step, that two intervals have in common
OVERLAP_CHANCE = "overlap_chance"  # how often intervals of these widths would meet by chance
BEFORE = "before"  # value of the measure at the window's start
AFTER = "after"  # value at its end
EVENTS = "events"  # scheduled events of the run inside the window
EARLY = "early"
LATE = "late"
REASON = "reason"

# A span of steps, and how many tokens break in it.
FALLS = "falls"
RISES = "rises"
EXPECTED_FALLS = "expected_falls"  # if as many breaks fell where chance puts false ones
REPEATED_SHARE = "repeated_share"  # of the falling tokens, those that end a passage repeated in the example
REPEATED_SHARE_OF_ALL = "repeated_share_of_all"  # the same of all tokens of the probe
BURST = "burst"  # number of the burst, null outside of one
