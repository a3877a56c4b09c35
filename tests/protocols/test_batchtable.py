"""The sequences of a step, and every way to cut them into equal micro-batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.batchtable import MOST_COUNT, BatchTable, cut_faults, usual_windows
from swarmd.protocols.jobfile import parse_job
from tests.protocols.specs import SPEC

SHORTEST = "[data]\nembedded = true\n[batch]\n"


def cut(lines: str) -> tuple[int, int]:
    """Size and number of micro-batches of a job with these lines under [batch]; of an open one the smallest."""
    batch = parse_job(SHORTEST + lines, "job.toml").batch.cut()
    return batch.micro_batch_size, batch.micro_batches


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", (1, 4)),
        ("micro_batch_size = 3", (3, 4)),
        ("micro_batches = 6", (1, 6)),
        ("sequences = 12\nmicro_batch_size = 3", (3, 4)),
        ("sequences = 12\nmicro_batches = 6", (2, 6)),
        ("sequences = 12\nmicro_batch_size = 2\nmicro_batches = 6", (2, 6)),
        ("sequences = 12", (1, 12)),
        ("sequences = 8192", (2, 4096)),
    ],
)
def test_two_of_the_three_numbers_give_the_third(lines: str, expected: tuple[int, int]) -> None:
    assert cut(lines) == expected


def test_sequences_alone_leave_the_cut_open() -> None:
    table = parse_job(SHORTEST + "sequences = 12", "job.toml").batch
    assert table.open
    assert table.sizes() == (1, 2, 3, 4, 6, 12)
    assert not parse_job(SHORTEST + "sequences = 12\nmicro_batches = 3", "job.toml").batch.open
    assert not parse_job(SHORTEST, "job.toml").batch.open


def test_named_evaluation_windows_are_a_multiple_of_every_size_that_may_be_chosen() -> None:
    assert BatchTable(sequence_length=16, sequences=12, eval_windows=20).sizes() == (1, 2, 4)


def test_the_usual_windows_follow_the_size() -> None:
    assert [usual_windows(size) for size in (1, 4, 5, 64)] == [32, 32, 35, 64]
    spec = BatchTable(sequence_length=16, sequences=10).applied(SPEC, 5)
    assert (spec.batch.micro_batches, spec.schedule.eval_windows) == (2, 35)
    assert BatchTable(sequence_length=16, sequences=10, eval_windows=10).applied(SPEC, 5).schedule.eval_windows == 10


@given(
    st.integers(1, 1 << 17),
    st.integers(1, 4096 * 4096),
    st.none() | st.integers(1, 4096),
    st.none() | st.integers(1, 99),
)
def test_every_size_makes_exactly_the_sequences_or_a_fault_says_why(
    length: int, total: int, size: int | None, windows: int | None
) -> None:
    table = BatchTable(sequence_length=length, sequences=total, micro_batch_size=size, eval_windows=windows)
    for each in table.sizes():
        batch = table.cut(each)
        assert batch.micro_batch_size * batch.micro_batches == total
        assert batch.micro_batches <= MOST_COUNT
        if table.open:
            assert table.windows(each) % each == 0
            assert each * length <= 1 << 20
    assert bool(table.sizes()) != bool(list(cut_faults(table)))
