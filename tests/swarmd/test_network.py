"""A node's network comes from one small file, checked field by field."""

from __future__ import annotations

import pytest

from swarmd.network import MAIN, Network, load_or_create_network, new_private_network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, UsageError
from swarmd.protocols.ids import NetworkId

HASH = "ab" * 32


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path)


def _write(paths, text, mode=0o600):
    paths.network.touch(mode=mode)
    paths.network.write_text(text)
    return paths


def test_the_main_network_is_the_same_everywhere_and_for_ever():
    assert Network("main", NetworkId("f8da92f2081eee9535c9caf86f14c54f64c821ebc3408ca0b0b2fd5db2689a14")) == MAIN


def test_the_first_start_joins_main_and_writes_it_down(paths):
    assert load_or_create_network(paths) == MAIN
    assert MAIN.id in paths.network.read_text()
    assert load_or_create_network(paths) == MAIN


def test_a_private_network_is_carried_by_its_file(paths):
    home = new_private_network("home")
    save_network(paths, home)
    assert load_or_create_network(paths) == home
    assert paths.network.stat().st_mode & 0o777 == 0o600


def test_two_private_networks_of_one_name_have_nothing_in_common():
    one, two = new_private_network("home"), new_private_network("home")
    assert one.id != two.id
    assert one.psk != two.psk


def test_the_shared_key_is_never_shown():
    home = new_private_network("home")
    assert home.psk.hex() not in repr(home)
    assert repr(home.psk) not in repr(home)


def test_a_shared_key_that_others_can_read_is_refused(paths):
    save_network(paths, new_private_network("home"))
    paths.network.chmod(0o644)
    with pytest.raises(StateError, match="mode 644") as caught:
        load_or_create_network(paths)
    assert caught.value.hint.startswith("chmod 600")


def test_a_network_without_a_shared_key_may_be_readable(paths):
    _write(paths, f'name = "x"\ngenesis = "{HASH}"\n', mode=0o644)
    assert load_or_create_network(paths) == Network("x", NetworkId(HASH))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'genesis = "{HASH}"\n', "has no 'name'"),
        ('name = "x"\n', "has no 'genesis'"),
        (f'name = "x"\ngenesis = "{HASH[:-1]}"\n', "line 2: genesis = "),
        (f'name = "x"\ngenesis = "{HASH.upper()}"\n', "line 2: genesis = "),
        (f'name = "Big Name"\ngenesis = "{HASH}"\n', "line 1: name = "),
        (f'name = 7\ngenesis = "{HASH}"\n', "line 1: name = 7"),
        (f'name = "x"\ngenesis = "{HASH}"\npsk = "short"\n', "line 3: psk is not"),
        (f'name = "x"\ngenesis = "{HASH}"\n\n[extra]\na = 1\n', "line 4: there is no setting 'extra'"),
        ('name = "x\n', "at line 1"),
    ],
)
def test_a_mistake_is_named_with_its_line(paths, text, says):
    _write(paths, text)
    with pytest.raises(UsageError, match=r"network\.toml") as caught:
        load_or_create_network(paths)
    assert says in caught.value.message
    assert caught.value.hint


def test_a_misspelt_field_gets_a_suggestion(paths):
    _write(paths, f'name = "x"\ngenesys = "{HASH}"\n')
    with pytest.raises(UsageError, match="genesys") as caught:
        load_or_create_network(paths)
    assert caught.value.hint == "did you mean 'genesis'?"


def test_a_wrong_shared_key_is_not_repeated_in_the_error(paths):
    _write(paths, f'name = "x"\ngenesis = "{HASH}"\npsk = "hunter2"\n')
    with pytest.raises(UsageError) as caught:
        load_or_create_network(paths)
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("name", ["", "x" * 33, "with space", "É"])
def test_a_name_that_cannot_be_is_refused(name):
    with pytest.raises(UsageError, match="cannot name a network"):
        new_private_network(name)


@pytest.mark.parametrize(("name", "id_", "psk"), [("A", HASH, None), ("a", "x", None), ("a", HASH, b"short")])
def test_a_network_value_checks_itself(name, id_, psk):
    with pytest.raises(ValueError, match=r"."):
        Network(name, NetworkId(id_), psk)


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
        save_network(paths, new_private_network("home"))
    assert load_or_create_network(paths) == MAIN
    assert [file.name for file in paths.state_dir.iterdir()] == ["network.toml"]
