"""Buckets: two replicas that hold the same heads have the same hashes, however they came by them."""

from __future__ import annotations

import random

from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.buckets import Buckets, bucket_of
from swarmd.protocols.ledger.messages import BUCKETS, HeadLine

ACCOUNTS = [PeerId(f"account-{number}") for number in range(600)]


def entry(number: int) -> EntryId:
    return EntryId(f"{number:064x}")


def filled(order: list[PeerId]) -> Buckets:
    buckets = Buckets()
    for account in order:
        buckets.set(account, 1, entry(ACCOUNTS.index(account)))
    return buckets


def test_the_order_of_coming_does_not_matter():
    shuffled = random.Random(1).sample(ACCOUNTS, len(ACCOUNTS))
    assert filled(ACCOUNTS).root() == filled(shuffled).root()
    assert len(filled(ACCOUNTS).hashes()) == BUCKETS * 32


def test_one_new_entry_changes_its_bucket_and_no_other():
    buckets, account = filled(ACCOUNTS), ACCOUNTS[7]
    before, root = buckets.hashes(), buckets.root()
    buckets.set(account, 2, entry(9999))
    after = buckets.hashes()
    assert [n for n in range(BUCKETS) if before[n * 32 : n * 32 + 32] != after[n * 32 : n * 32 + 32]] == [
        bucket_of(account)
    ]
    assert buckets.root() != root


def test_lines_are_listed_in_pages_by_account():
    buckets, bucket = filled(ACCOUNTS), bucket_of(ACCOUNTS[0])
    there = sorted(account for account in ACCOUNTS if bucket_of(account) == bucket)
    assert len(there) > 2
    first = buckets.lines(bucket, "", 2)
    assert first == tuple(HeadLine(each, 1, entry(ACCOUNTS.index(each))) for each in there[:2])
    rest = buckets.lines(bucket, first[-1].account, 1000)
    assert [line.account for line in rest] == there[2:]
    assert buckets.lines(bucket, there[-1], 1000) == ()


def test_an_empty_bucket_lists_nothing():
    assert Buckets().lines(0, "", 10) == ()
    assert Buckets().root() == Buckets().root() != filled(ACCOUNTS).root()
