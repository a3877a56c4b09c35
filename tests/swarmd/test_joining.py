"""A folder goes onto another network; what that leaves behind is said first, and kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of
from swarmd.invite import invite_of
from swarmd.joining import enter_network, read_invite
from swarmd.network import MAIN, MAX_CONTACTS, load_network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, UsageError

ME, OTHER = (identity_of(bytes([n]) * 32).peer for n in (1, 2))
CONTACTS = tuple(f"/ip4/192.0.2.{n}/tcp/4801/p2p/{OTHER}" for n in range(1, MAX_CONTACTS + 1))
HOME = replace(found_network(OTHER, Plan(name="home")), contacts=CONTACTS[:1])
MINE = found_network(ME, Plan(name="mine"))


@pytest.fixture
def paths(tmp_path):
    found = Paths(tmp_path / "state")
    found.state_dir.mkdir(mode=0o700)
    return found


def database(place, *, rows: int) -> None:
    with closing(sqlite3.connect(place)) as base:
        base.execute("CREATE TABLE entries (id)")
        base.executemany("INSERT INTO entries VALUES (?)", [(n,) for n in range(rows)])
        base.commit()


def test_from_no_network_to_any(paths):
    assert enter_network(paths, ME, HOME).left is None
    assert load_network(paths) == HOME


@pytest.mark.parametrize("rows", [None, 0])
def test_from_main_where_nothing_was_signed(paths, rows):
    save_network(paths, MAIN)
    if rows is not None:
        database(paths.self_db, rows=rows)
    assert enter_network(paths, ME, HOME).left is None
    assert load_network(paths) == HOME


@pytest.mark.parametrize("name", ["self_db", "jobs_db"])
def test_from_main_with_history_only_by_force(paths, name):
    save_network(paths, MAIN)
    database(getattr(paths, name), rows=1)
    with pytest.raises(UsageError, match="leaves behind"):
        enter_network(paths, ME, HOME)
    assert enter_network(paths, ME, HOME, force=True).left == paths.state_dir / f"left-main-{MAIN.id[:8]}"


def test_a_founder_is_told_all_that_it_would_leave(paths):
    save_network(paths, MINE)
    database(paths.self_db, rows=1)
    database(paths.jobs_db, rows=1)
    with pytest.raises(UsageError) as caught:
        enter_network(paths, ME, HOME)
    for words in (
        "the network 'mine'",
        "1,000,000 credits",
        "operator's right",
        "vote in the committee",
        "self.db",
        "jobs.db",
    ):
        assert words in caught.value.message
    assert "--force" in caught.value.hint
    assert load_network(paths) == MINE


def test_by_force_the_old_files_are_moved_and_none_is_lost(paths):
    save_network(paths, MINE)
    for place in (paths.self_db, paths.ledger_db, paths.jobs_db):
        database(place, rows=3)
        place.with_name(f"{place.name}-wal").write_bytes(b"log")
    before = {file.name: file.read_bytes() for file in paths.state_dir.iterdir()}
    left = enter_network(paths, ME, HOME, force=True).left
    after = {file.name: file.read_bytes() for file in left.iterdir() if not file.name.endswith("-shm")}
    assert after == before
    assert left.stat().st_mode & 0o777 == 0o700
    assert (left / "network.toml").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in paths.state_dir.iterdir()} == {"network.toml", left.name}


def test_leaving_twice_keeps_both(paths):
    folders = []
    for network in (MINE, HOME, MINE, HOME):
        folders.append(enter_network(paths, ME, network, force=True).left)
    assert [folder and folder.name for folder in folders] == [
        None,
        f"left-mine-{MINE.id[:8]}",
        f"left-home-{HOME.id[:8]}",
        f"left-mine-{MINE.id[:8]}-2",
    ]


def test_a_database_that_cannot_be_read_counts_as_history(paths):
    save_network(paths, MAIN)
    paths.self_db.write_bytes(b"damaged" * 1000)
    with pytest.raises(UsageError, match=r"self\.db"):
        enter_network(paths, ME, HOME)


def test_the_present_network_again_adds_its_contacts(paths):
    database(paths.self_db, rows=1)
    save_network(paths, HOME)
    again = replace(HOME, contacts=CONTACTS[1:3])
    assert enter_network(paths, ME, again).left is None
    assert load_network(paths).contacts == (*CONTACTS[1:3], CONTACTS[0])


def test_contacts_never_grow_without_end(paths):
    save_network(paths, HOME)
    enter_network(paths, ME, replace(HOME, contacts=CONTACTS))
    enter_network(paths, ME, replace(HOME, contacts=(CONTACTS[0].replace("4801", "4802"),)))
    assert len(load_network(paths).contacts) == MAX_CONTACTS


def test_the_present_network_with_another_key_is_refused(paths):
    save_network(paths, HOME)
    with pytest.raises(UsageError, match="another pre-shared key"):
        enter_network(paths, ME, replace(HOME, psk=bytes(32)))


def test_files_that_cannot_be_moved_are_named_and_the_network_stays(paths, monkeypatch):
    save_network(paths, MINE)
    database(paths.self_db, rows=1)

    def refuse(source, _target):
        raise OSError(28, "No space left on device", str(source))

    monkeypatch.setattr("swarmd.joining.os.replace", refuse)
    with pytest.raises(StateError, match=r"self\.db: No space left"):
        enter_network(paths, ME, HOME, force=True)
    assert load_network(paths) == MINE


def test_an_invite_is_read_from_text_and_from_a_file(tmp_path):
    place = tmp_path / "invite.txt"
    place.write_text(f"\n{invite_of(HOME)}\n")
    assert read_invite(invite_of(HOME)) == read_invite(str(place)) == HOME


def test_a_copy_of_another_nodes_file_is_an_invite_too(tmp_path):
    save_network(Paths(tmp_path), HOME)
    found = read_invite(str(tmp_path / "network.toml"))
    assert (found, found.contacts) == (HOME, HOME.contacts)


@pytest.mark.parametrize("text", ["", "nothing", "/nowhere/at/all", "a\0b", "x" * 5000, "swarmd2-AAAA", "swarmd1-AAAA"])
def test_what_is_no_invite_is_refused_in_one_message(text):
    with pytest.raises(UsageError) as caught:
        read_invite(text)
    assert caught.value.hint
    assert len(caught.value.message) < 300


def test_a_file_without_an_invite_is_refused(tmp_path):
    place = tmp_path / "network.toml"
    place.write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match=r"network\.toml"):
        read_invite(str(place))
