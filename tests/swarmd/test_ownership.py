"""Files of different nodes or networks do not start together, and what the errors advise is what helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from swarmd.__main__ import main
from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of, load_or_create_identity
from swarmd.invite import invite_of, parse_invite
from swarmd.joining import enter_network
from swarmd.key_backup import back_up, restore
from swarmd.ledger.files import open_ledger_files
from swarmd.ledger.ownership import Owner, owner_of
from swarmd.network import MAIN, load_network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, SwarmdError, UsageError

WORDS = "correct horse battery staple"
CHEAP = 1 << 12
OTHER = identity_of(bytes([7]) * 32)


async def opened(paths: Paths, owner: Owner, *, mark: bool = True) -> None:
    """As a start does."""
    try:
        async with trio.open_nursery() as nursery:
            await open_ledger_files(paths, nursery, owner, mark=mark)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


@pytest.fixture
async def node(tmp_path: Path) -> tuple[Paths, Owner]:
    """A folder on a network of its own that was started once."""
    paths = Paths(tmp_path / "node")
    paths.state_dir.mkdir(mode=0o700)
    me = load_or_create_identity(paths).peer
    save_network(paths, found_network(me, Plan(name="home")))
    owner = Owner(me, load_network(paths).id)
    await opened(paths, owner)
    return paths, owner


async def test_the_files_say_whose_they_are_from_their_first_start(node) -> None:
    paths, owner = node
    assert {owner_of(place) for place in (paths.self_db, paths.ledger_db, paths.jobs_db)} == {owner}
    await opened(paths, owner)


async def test_the_files_of_another_key_are_refused_with_what_to_put_back(node) -> None:
    paths, owner = node
    with pytest.raises(StateError, match=f"is of the account {owner.account}, and .*key.pem is the key of") as caught:
        await opened(paths, Owner(OTHER.peer, owner.network))
    assert f"put back the key.pem of {owner.account}" in caught.value.hint


async def test_the_files_of_another_network_are_refused_also_on_the_main_one(node) -> None:
    paths, owner = node
    with pytest.raises(StateError, match=f"is of the network {owner.network}, and .*network.toml names {MAIN.id}"):
        await opened(paths, Owner(owner.account, MAIN.id), mark=False)


async def test_where_there_are_no_credits_the_files_stay_nobodys(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    await opened(paths, Owner(OTHER.peer, MAIN.id), mark=False)
    assert owner_of(paths.self_db) is None
    assert owner_of(tmp_path / "none.db") is None


async def test_joining_its_network_again_mends_a_lost_or_wrong_network_file(node) -> None:
    paths, owner = node
    network = load_network(paths)
    save_network(paths, MAIN)
    assert enter_network(paths, owner.account, parse_invite(invite_of(network))).left is None
    assert load_network(paths).id == network.id
    await opened(paths, owner)


async def test_a_damaged_network_file_says_how_to_join_and_joining_mends_it(node) -> None:
    paths, owner = node
    network = load_network(paths)
    for damaged in (paths.network.read_text()[:60], 'name = "home"\n', "not toml ["):
        paths.network.write_text(damaged)
        with pytest.raises(UsageError) as caught:
            load_network(paths)
        assert "swarmd network join INVITE" in caught.value.hint
        assert "delete" not in caught.value.hint
        enter_network(paths, owner.account, network)
        assert load_network(paths).id == network.id
        assert paths.network.with_name("network.toml.damaged").read_text() == damaged


async def test_a_damaged_network_file_is_not_mended_with_another_network(node) -> None:
    paths, owner = node
    paths.network.write_text("name =")
    with pytest.raises(UsageError, match="this is no invite to its network"):
        enter_network(paths, owner.account, found_network(owner.account, Plan(name="other")))


async def test_a_backup_takes_the_place_of_damaged_files_which_are_kept(node, tmp_path: Path) -> None:
    paths, owner = node
    file = tmp_path / "backup"
    back_up(paths, file, WORDS, 7, cost=CHEAP)
    paths.self_db.write_bytes(b"damaged" * 1000)
    with pytest.raises(StateError, match="is damaged") as caught:
        await opened(paths, owner)
    assert "swarmd key restore FILE --force" in caught.value.hint
    with pytest.raises(SwarmdError, match="holds a node's files already"):
        restore(paths, file, WORDS)
    done = restore(paths, file, WORDS, force=True)
    assert (done.left / "self.db").read_bytes() == b"damaged" * 1000
    assert (done.left / "key.pem").exists()
    await opened(paths, owner)


def checks(paths: Paths, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str] | None]:
    assert main(["--check", f"--state-dir={paths.state_dir}"]) == 0
    return json.loads(capsys.readouterr().out)


async def test_the_doctor_sees_a_damaged_account_and_one_that_does_not_fit(node, capsys) -> None:
    paths, _ = node
    assert checks(paths, capsys)["account"] is None
    save_network(paths, MAIN)
    assert "is of the network" in checks(paths, capsys)["account"]["message"]
    raw = bytearray(paths.self_db.read_bytes())
    raw[4096:8192] = b"\xff" * 4096
    paths.self_db.write_bytes(bytes(raw))
    found = checks(paths, capsys)["account"]
    assert "is damaged" in found["message"]
    assert "swarmd key restore FILE --force" in found["hint"]
