"""Settings come from flags, environment, file and defaults, in that order, and every mistake is explained."""

from __future__ import annotations

import dataclasses
import re
import socket
from pathlib import Path

import pytest

from swarmd.__main__ import _FLAGS
from swarmd.config import DEFAULT, NAMES, Config, listen_addresses, load, shown, tensor_host
from swarmd.protocols.control import as_json
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import peer_id_of
from swarmd.settings import RULES

PEER = peer_id_of(bytes(32))
DOCUMENT = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
MEET = f"/ip4/192.0.2.7/tcp/4801/p2p/{PEER}"


def _file(tmp_path, text):
    (tmp_path / "config.toml").write_text(text)
    return tmp_path


def test_without_any_source_every_value_is_a_default(tmp_path):
    config, origins = load(tmp_path, {}, {})
    assert config == Config()
    assert set(origins.values()) == {DEFAULT}
    assert tuple(origins) == NAMES


def test_every_setting_has_a_rule_and_a_default_that_keeps_it():
    assert set(RULES) == set(NAMES)
    for name in NAMES:
        assert RULES[name](getattr(Config(), name)) == getattr(Config(), name)


def test_flags_win_over_environment_over_file_over_defaults(tmp_path):
    _file(tmp_path, "threads = 1\nprice = 1\nmax_stages = 1\n")
    config, origins = load(tmp_path, {"threads": 3}, {"SWARMD_THREADS": "2", "SWARMD_PRICE": "2"})
    assert (config.threads, config.price, config.max_stages) == (3, 2, 1)
    assert origins["threads"] == "--threads"
    assert origins["price"] == "SWARMD_PRICE"
    assert origins["max_stages"] == f"{tmp_path / 'config.toml'}, line 3"
    assert origins["device"] == DEFAULT


def test_a_flag_of_none_was_not_given(tmp_path):
    assert load(tmp_path, {"threads": None}, {"SWARMD_THREADS": "2"})[0].threads == 2


def test_every_kind_of_value_can_come_from_the_environment(tmp_path):
    env = {
        "SWARMD_MDNS": "off",
        "SWARMD_THREADS": "2",
        "SWARMD_UPLOAD_MBIT": "12.5",
        "SWARMD_BOOTSTRAP": f"{MEET}, {MEET}",
        "SWARMD_MEMORY_LIMIT": "8GiB",
        "SWARMD_NAME": "attic",
        "SWARMD_STATE_DIR": str(tmp_path),
        "HOME": "/",
    }
    config, _ = load(tmp_path, {}, env)
    assert (config.mdns, config.threads, config.upload_mbit) == (False, 2, 12.5)
    assert config.bootstrap == (MEET,)
    assert (config.memory_limit, config.name) == (8 * 1024**3, "attic")


def test_every_kind_of_value_can_come_from_the_file(tmp_path):
    text = f'mdns = false\nthreads = 2\nupload_mbit = 12\ndisk_quota = "5 GB"\nallow = ["{PEER}"]\n'
    text += f'bootstrap = ["{MEET}"]\n'
    config, _ = load(_file(tmp_path, text), {}, {})
    assert (config.mdns, config.threads, config.upload_mbit) == (False, 2, 12.0)
    assert (config.bootstrap, config.allow, config.disk_quota) == ((MEET,), (PEER,), 5 * 10**9)


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        (("/ip4/127.0.0.1/tcp/0",), "127.0.0.1"),
        (("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"), "127.0.0.1"),
        (("/ip6/::1/tcp/0",), "::1"),
        (("/ip4/127.0.0.1/tcp/0", "/ip4/192.0.2.7/tcp/1"), "0.0.0.0"),
        (("/ip4/0.0.0.0/tcp/4801",), "0.0.0.0"),
        ((), "0.0.0.0"),
    ],
)
def test_tensors_arrive_where_peers_do_unless_chosen(listen, host):
    assert tensor_host(Config(listen=listen)) == Config(listen=listen).tensor_host == host
    assert Config(listen=listen, tensor_host="192.0.2.9").tensor_host == "192.0.2.9"


def test_cuda_alone_is_the_first_one():
    assert Config(device="cuda").device == "cuda:0"
    assert Config(device="cuda:1").device == "cuda:1"


@pytest.mark.parametrize(
    ("flags", "said"), [({"memory_limit": "lots"}, "^--memory: "), ({"memory_limit": "8 gigs"}, "8GiB")]
)
def test_a_bad_flag_is_called_as_it_was_typed(tmp_path, flags, said):
    with pytest.raises(UsageError) as caught:
        load(tmp_path, flags, {})
    assert re.search(said, f"{caught.value.message} {caught.value.hint}")
    assert load(tmp_path, {"mdns": False}, {})[1]["mdns"] == "--no-mdns"


def documented():
    """The rows of docs/settings.md: setting to its flag, variable and default."""
    rows = re.findall(r"^\| `(\w+)` \| (\S*) ?\| (\S+) \| ([^|]+) \| [^|]+ \|$", DOCUMENT, re.MULTILINE)
    return {name: (flag.strip("`"), variable.strip("`"), default) for name, flag, variable, default in rows}


def test_the_document_names_every_setting_as_it_is(tmp_path):
    rows = documented()
    assert tuple(rows) == NAMES
    flags = {setting: flag for flag, setting, _ in _FLAGS}
    for name, (flag, variable, default) in rows.items():
        assert (flag, variable) == (flags.get(name, ""), f"SWARMD_{name.upper()}")
        if default.startswith("`"):
            _file(tmp_path, f"{name} = {default.strip('`')}\n")
            assert getattr(load(tmp_path, {}, {})[0], name) == getattr(Config(), name)


def test_the_documents_example_is_a_settings_file(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    config, origins = load(_file(tmp_path, example), {}, {})
    assert (config.device, config.disk_quota, config.upload_mbit) == ("cuda:0", 100 << 30, 40.0)
    assert sum(origin != DEFAULT for origin in origins.values()) == example.count(" = ")


def test_a_flag_may_be_typed_or_text(tmp_path):
    assert load(tmp_path, {"bootstrap": [MEET], "mdns": False}, {})[0].bootstrap == (MEET,)
    assert load(tmp_path, {"bootstrap": MEET, "mdns": "no"}, {})[0].mdns is False


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ('listen = "/ip4/0.0.0.0/tcp/1"', "a list"),
        ('listen = ["/ip4/0.0.0.0/udp/1"]', "/ip4/0.0.0.0/tcp/4801"),
        ('listen = ["/ip4/0.0.0.0/tcp/65536"]', "/ip4/0.0.0.0/tcp/4801"),
        ('listen = ["/ip6/0.0.0.0/tcp/1"]', "/ip4/0.0.0.0/tcp/4801"),
        ('tensor_host = "example.org"', "an IP address"),
        ("tensor_port = -1", "from 0 to 65535"),
        ('bootstrap = ["/ip4/192.0.2.7/tcp/1"]', "/p2p/"),
        ("bootstrap = [7]", "/p2p/"),
        ('mdns = "yes"', "true or false"),
        ("mdns = 1", "true or false"),
        ('name = ""', "printable"),
        ('name = "a\\u001b[2J"', "printable"),
        ('device = "gpu"', "cuda:0"),
        ('threads = "two"', "a whole number"),
        ("threads = true", "a whole number"),
        ("threads = 0", "from 1"),
        ("threads = 2.0", "a whole number"),
        ('memory_limit = "8 gigs"', "8GiB"),
        ("memory_limit = -1", "8GiB"),
        ("price = -1", "from 0"),
        ('accept = "friends"', "self, list, network"),
        ('allow = ["QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"]', "peer id"),
        ('metrics = "9090"', "127.0.0.1:4803"),
        ('metrics = "::1:9090"', "127.0.0.1:4803"),
        ('log_level = "loud"', "debug, info, warning, error"),
        ("upload_mbit = nan", "a number"),
        ("download_mbit = -0.5", "a number"),
    ],
)
def test_a_bad_value_is_explained_with_key_file_and_line(tmp_path, line, right):
    _file(tmp_path, f"# settings\n{line}\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path, {}, {})
    key = line.split()[0]
    assert caught.value.message.startswith(f"{tmp_path / 'config.toml'}, line 2: {key} = ")
    assert caught.value.hint.startswith(f"{key} must be ")
    assert right in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "env", "where"),
    [
        ({"threads": 0}, {}, "--threads"),
        ({"log_level": "x"}, {}, "--log-level"),
        ({}, {"SWARMD_MDNS": "maybe"}, "SWARMD_MDNS"),
    ],
)
def test_a_bad_value_names_the_flag_or_variable(tmp_path, flags, env, where):
    with pytest.raises(UsageError, match=f"^{where}: "):
        load(tmp_path, flags, env)


def test_an_unknown_key_gets_the_closest_one(tmp_path):
    _file(tmp_path, "\nbootsrap = []\n")
    with pytest.raises(UsageError, match=r"line 2: there is no setting 'bootsrap'") as caught:
        load(tmp_path, {}, {})
    assert caught.value.hint == "did you mean 'bootstrap'?"


def test_a_section_is_an_unknown_key(tmp_path):
    with pytest.raises(UsageError, match="line 3: there is no setting 'network'"):
        load(_file(tmp_path, "threads = 1\n\n[network]\nname = 'x'\n"), {}, {})


def test_an_unknown_flag_lists_what_there_is(tmp_path):
    with pytest.raises(UsageError, match="zzz") as caught:
        load(tmp_path, {"zzz": 1}, {})
    assert "bootstrap" in caught.value.hint


def test_a_misspelt_variable_is_refused_and_a_foreign_one_left_alone(tmp_path):
    with pytest.raises(UsageError, match="SWARMD_BOOTSRAP") as caught:
        load(tmp_path, {}, {"SWARMD_BOOTSRAP": MEET})
    assert "SWARMD_BOOTSTRAP" in caught.value.hint
    kubernetes = {
        "SWARMD_SERVICE_HOST": "10.0.0.1",
        "SWARMD_PORT": "tcp://10.0.0.1:4801",
        "SWARMD_PORT_4801_TCP": "x",
    }
    assert load(tmp_path, {}, kubernetes)[0] == Config()


@pytest.mark.parametrize("text", ["threads = \n", "threads = 1\nthreads = 2\n", "[" * 5000])
def test_a_file_that_is_not_toml_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match=r"config\.toml"):
        load(_file(tmp_path, text), {}, {})


def test_an_enormous_value_is_not_repeated_whole():
    with pytest.raises(UsageError) as caught:
        Config(name="x" * 10_000)
    assert len(caught.value.message) < 200


def test_metrics_stay_on_this_machine_unless_said_otherwise():
    assert Config(metrics="[::1]:9").metrics_endpoint == ("::1", 9)
    assert Config(metrics="0.0.0.0:9", metrics_public=True).metrics_endpoint == ("0.0.0.0", 9)
    assert Config().metrics_endpoint == ("127.0.0.1", 4803)
    assert Config(metrics="off").metrics_endpoint is None
    with pytest.raises(UsageError, match="other machines") as caught:
        Config(metrics="0.0.0.0:9")
    assert "metrics_public" in caught.value.hint


def test_a_config_built_in_code_is_checked_too():
    with pytest.raises(UsageError, match=r"^device = 'abacus'"):
        Config(device="abacus")


def test_a_config_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().threads = 2


def test_an_odd_host_name_still_makes_a_name(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "é" * 100)
    assert Config().name == "node"


def test_the_list_of_settings_tells_each_origin(tmp_path):
    rows = shown(*load(tmp_path, {"price": 5}, {}))
    assert {"name": "price", "value": 5, "origin": "--price"} in rows
    assert [row["name"] for row in rows] == list(NAMES)


def test_a_config_travels_as_json():
    assert as_json(Config())["threads"] >= 1


@pytest.mark.net
def test_the_default_port_gives_way_and_a_chosen_one_does_not(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("swarmd.config.DEFAULT_PORT", port)
        assert listen_addresses(*load(tmp_path, {}, {})) == ("/ip4/0.0.0.0/tcp/0",)
        chosen = load(tmp_path, {"listen": [f"/ip4/0.0.0.0/tcp/{port}"]}, {})
        assert listen_addresses(*chosen) == (f"/ip4/0.0.0.0/tcp/{port}",)
    assert listen_addresses(*load(tmp_path, {}, {})) == Config().listen
