"""A node in one encrypted file: what comes back is the node, marked; what is damaged or in the way is refused."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.backup_file import MAGIC, Backup, seal, unseal
from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of, load_identity, load_or_create_identity
from swarmd.key_backup import back_up, restore
from swarmd.ledger.schemas import SELF_SCHEMA
from swarmd.network import load_network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, UsageError
from swarmd.sqlitefile import open_database

WORDS = "correct horse battery staple"
CHEAP = 1 << 12
ME = identity_of(bytes(32))
SMALL = Backup(ME.peer, ME.seed, "", b"", 7)
SEALED = seal(SMALL, WORDS, cost=CHEAP)


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "old")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "node.backup"


@pytest.fixture
def other(tmp_path):
    found = Paths(tmp_path / "new")
    found.state_dir.mkdir(mode=0o700)
    return found


def saved(paths, file):
    return back_up(paths, file, WORDS, 7, cost=CHEAP)


def meta(place):
    with closing(sqlite3.connect(place)) as base:
        return dict(base.execute("SELECT name, value FROM meta"))


def test_what_is_sealed_is_unsealed():
    assert unseal(SEALED, WORDS) == SMALL


def test_key_network_and_account_come_back(paths, file, other):
    me = load_or_create_identity(paths)
    contact = f"/ip4/192.0.2.7/tcp/4801/p2p/{ME.peer}"
    network = replace(found_network(me.peer, Plan(name="home")), contacts=(contact,))
    save_network(paths, network)
    with closing(open_database(paths.self_db, SELF_SCHEMA)) as base:
        base.execute("INSERT INTO handovers VALUES (3, x'01', x'02')")
    assert saved(paths, file).account
    assert restore(other, file, WORDS).backup.peer == me.peer
    assert load_identity(other).seed == me.seed
    assert (load_network(other), load_network(other).contacts) == (network, (contact,))
    with closing(sqlite3.connect(other.self_db)) as base:
        assert base.execute("SELECT number FROM handovers").fetchall() == [(3,)]
    for place in (other.key, other.network, other.self_db):
        assert place.stat().st_mode & 0o777 == 0o600


def test_where_peers_are_now_comes_first(paths, file, other):
    me = load_or_create_identity(paths)
    known, now = (f"/ip4/192.0.2.{n}/tcp/4801/p2p/{ME.peer}" for n in (1, 2))
    save_network(paths, replace(found_network(me.peer, Plan(name="home")), contacts=(known,)))
    back_up(paths, file, WORDS, 7, contacts=(now,), cost=CHEAP)
    restore(other, file, WORDS)
    assert load_network(other).contacts == (now, known)


@pytest.mark.parametrize("account", [False, True])
def test_the_account_is_marked_even_if_it_was_empty(paths, file, other, account):
    load_or_create_identity(paths)
    if account:
        open_database(paths.self_db, SELF_SCHEMA).close()
    saved(paths, file)
    restore(other, file, WORDS)
    assert meta(other.self_db)["restored"]


def test_a_node_that_chose_no_network_comes_back_without_one(paths, file, other):
    load_or_create_identity(paths)
    saved(paths, file)
    restore(other, file, WORDS)
    assert load_network(other) is None


def test_the_file_is_its_owners_alone_and_shows_nothing(paths, file):
    before = os.umask(0)
    try:
        me = load_or_create_identity(paths)
        saved(paths, file)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert me.seed not in file.read_bytes()
    assert me.peer.encode() not in file.read_bytes()


def test_two_backups_of_one_node_share_nothing_but_their_first_line():
    assert seal(SMALL, WORDS, cost=CHEAP)[40:] != SEALED[40:]


def test_a_file_that_is_there_is_never_replaced(paths, file):
    load_or_create_identity(paths)
    file.write_text("precious")
    with pytest.raises(UsageError, match="is there already"):
        saved(paths, file)
    assert file.read_text() == "precious"


def test_without_a_key_there_is_nothing_to_back_up(paths, file):
    with pytest.raises(StateError, match="there is no key"):
        saved(paths, file)
    assert not file.exists()


def test_a_full_disk_leaves_no_half_backup(paths, file, monkeypatch):
    load_or_create_identity(paths)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swarmd.key_backup.os.fsync", full)
    with pytest.raises(StateError, match="No space left"):
        saved(paths, file)
    assert not file.exists()


@pytest.mark.parametrize("passphrase", ["", "short", "x" * 1025])
def test_a_passphrase_that_will_not_do_is_refused_on_both_ways(paths, file, passphrase):
    load_or_create_identity(paths)
    with pytest.raises(UsageError, match="a passphrase has 8 to 1024 bytes"):
        back_up(paths, file, passphrase, 7, cost=CHEAP)
    with pytest.raises(UsageError, match="a passphrase has 8 to 1024 bytes"):
        unseal(SEALED, passphrase)


@pytest.mark.parametrize("name", ["key", "network", "self_db", "ledger_db", "jobs_db"])
def test_nothing_that_is_there_is_overwritten(paths, file, other, name):
    load_or_create_identity(paths)
    saved(paths, file)
    place = getattr(other, name)
    place.write_text("precious")
    with pytest.raises(StateError, match=f"holds a node's files already: {place.name}"):
        restore(other, file, WORDS)
    assert place.read_text() == "precious"
    assert [each.name for each in other.state_dir.iterdir()] == [place.name]


def test_a_restore_that_fails_leaves_nothing_and_can_be_tried_again(paths, file, other, monkeypatch):
    load_or_create_identity(paths)
    saved(paths, file)

    def full(*_):
        raise StateError("cannot write the key")

    with monkeypatch.context() as patch:
        patch.setattr("swarmd.key_backup.restore_key_file", full)
        with pytest.raises(StateError, match="cannot write the key"):
            restore(other, file, WORDS)
    assert list(other.state_dir.iterdir()) == []
    restore(other, file, WORDS)


def test_a_wrong_passphrase_is_said():
    with pytest.raises(UsageError, match="the passphrase is wrong, or the backup is damaged"):
        unseal(SEALED, WORDS + "r")


def test_another_file_is_no_backup(other, file):
    file.write_bytes(b"-----BEGIN PRIVATE KEY-----")
    with pytest.raises(UsageError, match="not a swarmd backup"):
        restore(other, file, WORDS)
    with pytest.raises(UsageError, match="cannot read"):
        restore(other, file.with_name("missing"), WORDS)


def test_a_backup_whose_key_is_another_peers_is_refused(other, file):
    file.write_bytes(seal(replace(SMALL, seed=b"\1" * 32), WORDS, cost=CHEAP))
    with pytest.raises(UsageError, match="another node's key"):
        restore(other, file, WORDS)


@settings(max_examples=30)
@given(st.data())
def test_every_changed_byte_is_found(data):
    raw = bytearray(SEALED)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UsageError):
        unseal(bytes(raw), WORDS)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw):
    with pytest.raises(UsageError):
        unseal(MAGIC + raw, WORDS)


@settings(max_examples=30)
@given(st.integers(0, len(SEALED) - 1))
def test_a_cut_file_is_refused(length):
    with pytest.raises(UsageError):
        unseal(SEALED[:length], WORDS)
