"""A node's network comes from one small file that holds its genesis, checked field by field."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of
from swarmd.network import MAIN, Network, load_network, load_or_create_network, save_network
from swarmd.paths import Paths
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import StateError, UsageError
from swarmd.protocols.ledger.amounts import MICRO

HASH = "ab" * 32
ME = identity_of(bytes(32)).peer
GENESIS = base64.b64encode(MAIN.genesis.to_bytes()).decode()
CONTACT = f"/ip4/192.0.2.7/tcp/4801/p2p/{ME}"


def home() -> Network:
    return found_network(ME, Plan(name="home", supply=1000 * MICRO))


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path)


def _write(paths, text, mode=0o600):
    paths.network.touch(mode=mode)
    paths.network.write_text(text)
    return paths


def test_the_main_network_is_the_same_everywhere_and_for_ever():
    assert MAIN.name == "main"
    assert MAIN.id == "b969e250b4cbd9ff4387988fb762c675cb662a6b52bfd9c2183b386007dee60b"


def test_work_on_the_main_network_is_free():
    assert (MAIN.genesis.committee, MAIN.genesis.grants, MAIN.psk) == ((), (), None)


def test_a_folder_without_a_file_has_not_chosen(paths):
    assert load_network(paths) is None


def test_the_first_start_joins_main_and_writes_it_down(paths):
    assert load_or_create_network(paths) == MAIN
    assert MAIN.id in paths.network.read_text()
    assert load_or_create_network(paths) == MAIN


def test_a_private_network_is_carried_by_its_file(paths):
    network = replace(home(), contacts=(CONTACT,))
    save_network(paths, network)
    found = load_or_create_network(paths)
    assert (found, found.genesis, found.contacts) == (network, network.genesis, (CONTACT,))
    assert paths.network.stat().st_mode & 0o777 == 0o600


def test_the_file_says_to_a_person_what_the_genesis_holds(paths):
    save_network(paths, home())
    comments = [line for line in paths.network.read_text().splitlines() if line.startswith("#")]
    assert "# supply: 1,000 credits" in comments
    assert f"#   1,000 to {ME}" in comments
    assert f"#   {ME}, weight 1" in comments


def test_the_shared_key_is_never_shown():
    network = home()
    assert network.psk.hex() not in repr(network)
    assert repr(network.psk) not in repr(network)


def test_a_shared_key_that_others_can_read_is_refused(paths):
    save_network(paths, home())
    paths.network.chmod(0o644)
    with pytest.raises(StateError, match="mode 644") as caught:
        load_or_create_network(paths)
    assert caught.value.hint.startswith("chmod 600")


def test_a_network_without_a_shared_key_may_be_readable(paths):
    _write(paths, f'name = "main"\ngenesis = "{GENESIS}"\n', mode=0o644)
    assert load_or_create_network(paths) == MAIN


def test_the_file_of_an_earlier_version_is_refused_with_what_to_do(paths):
    _write(paths, f'name = "main"\ngenesis = "{HASH}"\n')
    with pytest.raises(UsageError, match=r"network\.toml, line 2: genesis is the id of a network,") as caught:
        load_or_create_network(paths)
    assert "move" in caught.value.hint
    assert "swarmd network join INVITE" in caught.value.hint


LONG = base64.b64encode(MAIN.genesis.to_bytes() + b"\0").decode()
OTHER_SCHEMA = base64.b64encode(encode((2, "main", b""))).decode()
NO_FIELDS = base64.b64encode(encode((1, "main", b""))).decode()
BIG_NAME = base64.b64encode(MAIN.genesis.to_bytes().replace(b"\xa4main", b"\xa4Main")).decode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'genesis = "{GENESIS}"\n', "has no 'name'"),
        ('name = "main"\n', "has no 'genesis'"),
        (f'name = "main"\ngenesis = "{GENESIS[:-1]}"\n', "line 2: genesis is not a network's"),
        (f'name = "main"\ngenesis = "{GENESIS}"\n'.replace("w", "*"), "line 2: genesis is not a network's"),
        (f'name = "main"\ngenesis = "{LONG}"\n', "line 2: genesis is not a network's"),
        (f'name = "main"\ngenesis = "{OTHER_SCHEMA}"\n', "a genesis of another schema"),
        (f'name = "main"\ngenesis = "{NO_FIELDS}"\n', "Genesis has 7 fields"),
        (f'name = "main"\ngenesis = "{BIG_NAME}"\n', "a network's name is 1 to 32"),
        (f'name = "home"\ngenesis = "{GENESIS}"\n', "line 1: name = 'home', and the genesis is that of 'main'"),
        (f'name = 7\ngenesis = "{GENESIS}"\n', "line 1: name = '7' is not a text"),
        (f'name = "main"\ngenesis = "{GENESIS}"\npsk = "short"\n', "line 3: psk is not"),
        (f'name = "main"\ngenesis = "{GENESIS}"\npsk = 7\n', "line 3: psk is not"),
        (f'name = "main"\ngenesis = "{GENESIS}"\ncontacts = "x"\n', "line 3: contacts is not a list"),
        (f'name = "main"\ngenesis = "{GENESIS}"\ncontacts = ["x"]\n', "line 3: not the address of a node"),
        (f'name = "main"\ngenesis = "{GENESIS}"\n\n[extra]\na = 1\n', "line 4: there is no setting 'extra'"),
        ('name = "main\n', "at line 1"),
    ],
)
def test_a_mistake_is_named_with_its_line(paths, text, says):
    _write(paths, text)
    with pytest.raises(UsageError, match=r"network\.toml") as caught:
        load_or_create_network(paths)
    assert says in caught.value.message
    assert caught.value.hint


def test_a_misspelt_field_gets_a_suggestion(paths):
    _write(paths, f'name = "main"\ngenesys = "{GENESIS}"\n')
    with pytest.raises(UsageError, match="genesys") as caught:
        load_or_create_network(paths)
    assert caught.value.hint == "did you mean 'genesis'?"


def test_a_wrong_shared_key_is_not_repeated_in_the_error(paths):
    _write(paths, f'name = "main"\ngenesis = "{GENESIS}"\npsk = "hunter2"\n')
    with pytest.raises(UsageError) as caught:
        load_or_create_network(paths)
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(("psk", "contacts"), [(b"short", ()), (None, (CONTACT,) * 17)])
def test_a_network_value_checks_itself(psk, contacts):
    with pytest.raises(ValueError, match=r"."):
        Network(MAIN.genesis, psk, contacts)


def test_a_file_that_is_no_text_is_refused(paths):
    paths.network.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_or_create_network(paths)


def test_a_huge_or_unreadable_file_is_refused(paths):
    paths.network.write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(UsageError, match="is over"):
        load_or_create_network(paths)
    paths.network.unlink()
    paths.network.mkdir()
    with pytest.raises(UsageError, match="cannot read"):
        load_or_create_network(paths)


def test_a_full_disk_is_said_and_the_old_file_stays(paths, monkeypatch):
    save_network(paths, MAIN)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateError, match="No space left"):
        save_network(paths, home())
    assert load_or_create_network(paths) == MAIN
    assert [file.name for file in paths.state_dir.iterdir()] == ["network.toml"]
