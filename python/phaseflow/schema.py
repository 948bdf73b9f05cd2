"""Column names of every table phaseflow returns: written once, here, and nowhere else."""

# Where a row belongs.
RUN = "run"
STEP = "step"
TOKENS_SEEN = "tokens_seen"
WALL_TIME = "wall_time"
PROBE = "probe"
LAYER = "layer"
HEAD = "head"
METRIC = "metric"
TOKEN_INDEX = "token_index"  # 1-based, as in the papers: the 500th token is 500

# What was measured.
NAME = "name"
VALUE = "value"
STANDARD_ERROR = "standard_error"
LOWER = "lower"
UPPER = "upper"
CHANCE = "chance"  # the score of a uniform causal pattern on the same tokens
N_QUERIES = "n_queries"  # queries that count for a score; a score over none is NaN

# A window or a changepoint.
SERIES = "series"
START = "start"
END = "end"
SIZE = "size"
P_VALUE = "p_value"
SHARE = "share"  # part of the measure's total change that falls inside the window
CHANGEPOINT = "changepoint"

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
