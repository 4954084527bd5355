import pytest

from benchmarks import measure, scaling


def test_the_ring_by_hand():
    # 4 devices, 1 GB, 8 Gbit/s = 1 GB/s: every device sends 2 * 3/4 GB; one message of 6 steps of 100 us.
    assert scaling.ring_seconds(4, 1e9, 8, 100, messages=1) == pytest.approx(1.5 + 6e-4)
    assert scaling.ring_seconds(1, 1e9, 8, 100) == 0
    assert scaling.efficiency(4, 1.5, 1e9, 8, 0) == pytest.approx(0.5)


def test_where_communication_takes_over():
    # Bytes alone: 2 GB at 1 GB/s come to 2 s; from 4 devices on more than 1.4 s, and never more than 2.
    assert scaling.taken_over(1.4, 1e9, 8, 0) == 4
    assert scaling.taken_over(2.0, 1e9, 8, 0) is None
    # Latency alone: 3 messages of 2 (n - 1) steps of 1 ms, more than 0.1 s from n = 17.7 on.
    assert scaling.taken_over(0.1, 0, 8, 1000) == 32


@pytest.mark.slow
def test_two_processes_are_measured():
    cores = measure.cores()
    result = scaling.together(2, resolution=8, batch=8, cores=[cores[:1], cores[-1:]], seconds=0.1)
    assert result["images_per_second"] > 0 and result["reduce_ms"] > 0
