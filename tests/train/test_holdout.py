"""The held-out split: every 16th block, cut between characters, nothing lost or shared."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.train.holdout import BLOCK_BYTES, bytes_needed, held_out_runs, training_runs

PERIOD = 16 * BLOCK_BYTES


def test_the_last_of_every_sixteen_blocks_is_held_out() -> None:
    text = b"".join(bytes([65 + n % 16]) * BLOCK_BYTES for n in range(40))
    assert b"".join(held_out_runs(text)) == b"P" * 2 * BLOCK_BYTES
    assert b"".join(training_runs(text)) == text.replace(b"P", b"")


def test_cuts_move_to_the_end_of_a_character() -> None:
    text = ("a" + "€" * 60_000).encode()
    runs = [*training_runs(text), *held_out_runs(text)]
    assert sum(map(len, runs)) == len(text)
    assert all(run.decode().strip("€") in ("", "a") for run in runs)


@given(st.text(alphabet="aé€🙂", min_size=0, max_size=60), st.integers(1, 4000))
@settings(max_examples=25, deadline=None)
def test_the_two_parts_make_the_whole(piece: str, repeats: int) -> None:
    text = (piece * repeats).encode()
    train, held_out = list(training_runs(text)), list(held_out_runs(text))
    rebuilt = b"".join(
        part
        for pair in zip(train, [*held_out, b""] if len(train) > len(held_out) else held_out, strict=True)
        for part in pair
    )
    assert rebuilt == text


@given(st.integers(1, 5 * PERIOD), st.integers(1, 2 * PERIOD // 16))
@settings(max_examples=50, deadline=None)
def test_the_shortest_text_is_the_shortest(train: int, held_out: int) -> None:
    needed = bytes_needed(train, held_out)

    def enough(length: int) -> bool:
        text = b"x" * length
        parts = (sum(map(len, training_runs(text))), sum(map(len, held_out_runs(text))))
        return parts[0] >= train and parts[1] >= held_out

    assert enough(needed)
    assert not enough(needed - 1)
