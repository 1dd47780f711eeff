"""Log lines that could become a flood are bounded, and those left out are counted."""

from __future__ import annotations

from receiver.log_limit import LogLimit


def test_lines_beyond_the_bound_of_a_second_are_left_out():
    limit = LogLimit(2)

    assert [limit.admit(7) for _ in range(5)] == [0, 0, None, None, None]


def test_the_next_line_says_how_many_were_left_out():
    limit = LogLimit(1)
    for _ in range(4):
        limit.admit(7)

    assert [limit.admit(8), limit.admit(9)] == [3, 0]
