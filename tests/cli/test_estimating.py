"""``swarmd jobs estimate`` as text."""

from __future__ import annotations

from swarmd.cli.estimating import report

ANSWER = {
    "words": "0 to 1.25 credits",
    "max_credits": 2_000_000,
    "operations": 31_000_000_000_000,
    "tokens": 1_000_000,
    "seconds": 95,
    "fit": ["a", "b"],
    "may_refuse": ["peer-d: it holds as many stages now as it takes"],
    "left_out": ["peer-c asks 90 micro-credits per 10^12 operations; the job pays at most 50 ([budget] max_price)"],
}


def test_an_estimate_names_cost_budget_work_time_and_peers() -> None:
    assert report(ANSWER).plain.splitlines() == [
        "cost    0 to 1.25 credits",
        "budget  2 credits",
        "work    31.0 T operations, 1,000,000 tokens",
        "time    at least 1m35s",
        "peers   2 may take part",
        "        perhaps peer-d: it holds as many stages now as it takes",
        "        not peer-c asks 90 micro-credits per 10^12 operations; the job pays at most 50 ([budget] max_price)",
    ]


def test_without_a_budget_or_a_peer_it_says_so() -> None:
    lines = report(
        {**ANSWER, "max_credits": 0, "seconds": None, "fit": [], "may_refuse": [], "left_out": []}
    ).plain.splitlines()
    assert lines[1] == "budget  none: only peers that ask nothing take part"
    assert lines[3:] == ["time    \u2013", "peers   0 may take part"]
