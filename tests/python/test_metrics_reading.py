"""Stored tensors read in order: what comes, in which order, how far ahead, and that giving back loses nothing."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from cold import evict, needs_fadvise
from phaseflow._core import StoredTensor, may_stay_cached
from phaseflow.exceptions import CorruptArchiveError
from phaseflow.metrics import _reading
from phaseflow.metrics._reading import in_turn, ranges


def stored(folder: Path, n: int, shape: tuple[int, ...] = (3, 5)) -> list[StoredTensor]:
    tensors = []
    for index in range(n):
        path = folder / f"{index}.bin"
        path.write_bytes((np.arange(np.prod(shape), dtype=np.float32) + 100 * index).tobytes())
        tensors.append(StoredTensor.in_file(path, "losses", "float32", shape, 0))
    return tensors


def test_every_place_comes_once_in_order_with_its_tensor_or_its_error(tmp_path: Path) -> None:
    tensors = stored(tmp_path, 40)

    def open_one(place: int) -> object:
        if place == 7:
            raise CorruptArchiveError("a shorter file")
        return np.ones(2) if place == 8 else tensors[place]

    found = list(in_turn(range(40), open_one))
    assert [place for place, _ in found] == list(range(40))
    assert isinstance(found[7][1], CorruptArchiveError)
    np.testing.assert_array_equal(found[8][1], [1, 1])
    assert np.asarray(found[39][1])[2, 4] == 3914


def test_an_error_of_another_kind_is_no_result() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_turn([0], lambda place: 1 // place))


@pytest.mark.parametrize(("ahead", "most"), [(1 << 30, _reading.OPEN_AHEAD), (3 * 60, 3)])
def test_files_are_opened_a_few_ahead_and_no_more(
    ahead: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reading, "AHEAD", ahead)
    tensors, opened = stored(tmp_path, 50), []

    def open_one(place: int) -> StoredTensor:
        opened.append(place)
        return tensors[place]

    beyond = [len(opened) - place - 1 for place, _ in in_turn(range(50), open_one)]
    assert max(beyond) == most
    assert beyond[-1] == 0


@pytest.mark.parametrize("size", [1, 4, 15, 16, 100])
def test_ranges_cover_every_element_once(size: int, tmp_path: Path) -> None:
    tensors = stored(tmp_path, 3)
    seen = np.zeros(15, int)
    for start, stop in ranges(tensors, size):
        assert 0 < stop - start <= size
        seen[start:stop] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("stays_cached", [True, False])
def test_what_was_given_back_reads_the_same_again(stays_cached: bool, tmp_path: Path) -> None:
    # Three pages and a bit, from an odd page to an odd page.
    [tensor] = stored(tmp_path, 1, (3500,))
    before = np.asarray(tensor).copy()
    for start, stop in ((0, 3500), (1000, 1001), (3499, 99_999), (5, 2), (10**18, 10**19 // 5)):
        tensor.prefetch(start, stop)
        tensor.release(start, stop, stays_cached)
        np.testing.assert_array_equal(np.asarray(tensor), before)


@needs_fadvise
def test_a_cold_tensor_is_read_into_memory_of_its_own_and_keeps_no_file_open(tmp_path: Path) -> None:
    tensors = stored(tmp_path, 30, (3500,))
    before, open_files = [np.asarray(tensor).copy() for tensor in tensors], len(os.listdir("/proc/self/fd"))
    for tensor in tensors:
        tensor.release(0, 3500, False)
        evict(tmp_path / f"{tensors.index(tensor)}.bin")
        tensor.load()
        os.truncate(tmp_path / f"{tensors.index(tensor)}.bin", 0)  # through the map this would end the process
    for tensor, expected in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(np.asarray(tensor), expected)
    assert len(os.listdir("/proc/self/fd")) < open_files + 10


@pytest.mark.parametrize("shape", [(3, 5), (0, 4)])
def test_a_tensor_loaded_twice_or_when_empty_is_the_same(shape: tuple[int, int], tmp_path: Path) -> None:
    [tensor] = stored(tmp_path, 1, shape)
    before = np.asarray(tensor).copy()
    tensor.load()
    tensor.load()
    np.testing.assert_array_equal(np.asarray(tensor), before)


@needs_fadvise
def test_a_file_that_was_cut_since_it_was_opened_is_an_error_of_its_place(tmp_path: Path) -> None:
    tensors = stored(tmp_path, 5, (3500,))
    tensors[2].release(0, 3500, False)
    os.truncate(tmp_path / "2.bin", 4096)
    found = [tensor for _, tensor in in_turn(range(5), lambda place: tensors[place])]
    assert isinstance(found[2], CorruptArchiveError)
    assert "2.bin" in str(found[2])
    np.testing.assert_array_equal(np.asarray(found[3]), np.arange(3500) + 300)


def test_who_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    tensors = stored(tmp_path, 40)
    running = threading.active_count()
    coming = in_turn(range(40), lambda place: tensors[place])
    next(coming)
    coming.close()
    assert threading.active_count() == running


def test_an_empty_tensor_has_nothing_to_give_back(tmp_path: Path) -> None:
    [tensor] = stored(tmp_path, 1, (0, 4))
    tensor.prefetch(0, 0)
    tensor.release(0, 0, False)
    assert list(ranges([tensor], 10)) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
def test_a_mapped_tensor_keeps_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tensors = stored(tmp_path, 60)
    for tensor in tensors:
        tensor.prefetch(0, 15)
        tensor.release(0, 15, False)
    assert len(os.listdir("/proc/self/fd")) < before + 10
    assert np.asarray(tensors[59])[0, 0] == 5900


def test_little_may_stay_cached_and_more_than_memory_may_not() -> None:
    assert may_stay_cached(1 << 20)
    if Path("/proc/meminfo").exists():
        assert not may_stay_cached(1 << 60)
