"""Work that is shared out to one core each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from genrecore.training import hardware


@pytest.fixture(params=[1, 2, 5])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 97])
def test_parts_of_a_batch_cover_it_in_order_and_are_of_one_size(n: int, n_threads: int) -> None:
    parts = hardware.split_batch(n, 4)
    assert [k for part in parts for k in part] == list(range(n))
    lengths = [len(part) for part in parts]
    assert all(1 <= length <= 4 for length in lengths)
    assert max(lengths, default=1) - min(lengths, default=1) <= 1
    assert len(parts) >= min(n, n_threads)


def test_results_come_in_order_and_threads_are_shared_out(n_threads: int) -> None:
    for n in (1, 2, 7):
        results = hardware.map_on_cores(lambda k: (k, torch.get_num_threads()), list(range(n)))
        assert results == [(k, max(1, n_threads // n)) for k in range(n)]
        assert (torch.get_num_threads(), of_a_new_thread()) == (n_threads, n_threads)


def test_what_the_work_raises_is_raised_and_threads_are_as_before(n_threads: int) -> None:
    def work(k: int) -> int:
        return 1 // (k - 1)

    with pytest.raises(ZeroDivisionError):
        hardware.map_on_cores(work, [0, 1, 2])
    with pytest.raises(ZeroDivisionError), hardware.torch_threads(1):
        work(1)
    assert (torch.get_num_threads(), of_a_new_thread()) == (n_threads, n_threads)
