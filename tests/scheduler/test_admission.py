"""Who may use a node: every refusal says what would change it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.ids import PeerId
from swarmd.scheduler.admission import Accepts, Load, Policy, Request, admit

OWNER, FRIEND, STRANGER = PeerId("12D3owner"), PeerId("12D3friend"), PeerId("12D3stranger")
GIB = 1 << 30

POLICY = Policy(own=OWNER, allow=frozenset({FRIEND}), memory_bytes=8 * GIB, disk_bytes=20 * GIB)
REQUEST = Request(
    submitter=FRIEND, layers=12, sequence_length=1024, vocabulary=50_000, memory_bytes=GIB, disk_bytes=GIB
)
LOAD = Load(numerics="cpu-avx2")


@pytest.mark.parametrize(
    ("accepts", "taken"),
    [
        (Accepts.SELF, {OWNER}),
        (Accepts.LIST, {OWNER, FRIEND}),
        (Accepts.NETWORK, {OWNER, FRIEND, STRANGER}),
    ],
)
def test_whose_jobs_are_taken(accepts, taken):
    policy = replace(POLICY, accepts=accepts)
    asked = {who: admit(replace(REQUEST, submitter=who), policy, LOAD) for who in (OWNER, FRIEND, STRANGER)}
    assert {who for who, decision in asked.items() if decision.accepted} == taken


def test_the_default_is_the_owner_and_the_allow_list():
    assert POLICY.accepts is Accepts.LIST


def test_a_yes_says_whose_job_it_is():
    theirs = admit(REQUEST, POLICY, LOAD)
    assert theirs.reason == f"a job of {FRIEND[-8:]}, within every limit of this node"
    own = admit(replace(REQUEST, submitter=OWNER), POLICY, LOAD)
    assert own.reason == "our own job, within every limit of this node"


@pytest.mark.parametrize(
    ("request_", "policy", "load", "words"),
    [
        ({}, {"accepts": Accepts.SELF}, {}, "set accept to 'list' or 'network'"),
        ({"submitter": STRANGER}, {}, {}, f"its owner can add {STRANGER}"),
        (
            {"numerics": "cuda-h100"},
            {},
            {},
            "class cuda-h100 only, and this node is cpu-avx2",
        ),
        ({}, {}, {"stages": {OWNER: 3, STRANGER: 1}}, "holds 4 stages, all it takes; wait for one to end"),
        ({}, {"max_stages": 0}, {}, "holds no stages, for anybody; its owner can raise max_stages"),
        ({}, {}, {"stages": {FRIEND: 2}}, "raise max_stages_per_submitter"),
        ({"layers": 513}, {}, {}, "513 layers; this node takes up to 512"),
        ({"sequence_length": 1 << 18}, {}, {}, "262144 tokens in a sequence"),
        ({"vocabulary": 1 << 21}, {}, {}, "2097152 tokens in the vocabulary"),
        ({"memory_bytes": 9 * GIB}, {}, {}, "9,216 MiB of memory, and 8,192 MiB of the 8,192 MiB"),
        ({}, {}, {"memory_bytes": 9 * GIB}, "0 bytes of the 8,192 MiB this node lends are free"),
        ({"disk_bytes": 2 * GIB}, {}, {"disk_bytes": 19 * GIB}, "raise the quota or delete old runs"),
    ],
)
def test_each_refusal_says_what_would_change_it(request_, policy, load, words):
    decision = admit(replace(REQUEST, **request_), replace(POLICY, **policy), replace(LOAD, **load))
    assert not decision.accepted
    assert words in decision.reason


def test_the_count_for_one_submitter_is_not_for_the_owner():
    load = replace(LOAD, stages={OWNER: 3})
    assert admit(replace(REQUEST, submitter=OWNER), POLICY, load).accepted


def test_a_run_that_names_this_nodes_class_is_taken():
    assert admit(replace(REQUEST, numerics="cpu-avx2"), POLICY, LOAD).accepted


def test_what_fits_to_the_byte_is_taken():
    load = replace(LOAD, memory_bytes=7 * GIB, disk_bytes=19 * GIB, stages={FRIEND: 1, OWNER: 2})
    assert admit(REQUEST, POLICY, load).accepted
