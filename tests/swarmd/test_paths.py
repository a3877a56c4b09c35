"""Every file of a node has one place, and the control socket's path always fits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from swarmd.paths import (
    SOCKET_PATH_BYTES,
    Paths,
    check_private_folder,
    find_paths,
    private_folder,
    runtime_folder,
)
from swarmd.protocols.errors import StateError


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_platform(tmp_path):
    env = {"SWARMD_STATE_DIR": str(tmp_path / "env")}
    assert find_paths(tmp_path / "flag", env).state_dir == tmp_path / "flag"
    assert find_paths(None, env).state_dir == tmp_path / "env"
    assert find_paths(None, {}).state_dir.name == "swarmd"


def test_two_spellings_of_a_folder_are_one_node(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert Paths(tmp_path / "link") == Paths(tmp_path / "real" / ".." / "real")


def test_everything_lies_in_the_state_folder(tmp_path):
    paths = Paths(tmp_path)
    places = (paths.key, paths.lock, paths.network, paths.config, paths.database, paths.blobs)
    places += (paths.runs, paths.probe, paths.log, paths.control)
    assert {place.parent for place in places} == {tmp_path}
    assert len(set(places)) == len(places)
    assert paths.run("abc") == tmp_path / "runs" / "abc"


def test_building_paths_touches_no_file(tmp_path):
    find_paths(tmp_path / "new", {})
    assert not (tmp_path / "new").exists()


def test_a_long_state_folder_gets_a_short_stable_socket_elsewhere(tmp_path):
    runtime = tmp_path / "run"
    deep, other = (Paths(tmp_path / (letter * 120), runtime) for letter in "ab")
    assert deep.control.parent == runtime
    assert deep.control == Paths(deep.state_dir, runtime).control
    assert deep.control != other.control


@pytest.mark.parametrize("session", ["", "relative", "/" + "x" * 90])
def test_an_unfit_session_folder_gives_way_to_the_temporary_one(session):
    folder = runtime_folder({"XDG_RUNTIME_DIR": session})
    assert folder.name == f"swarmd-{os.geteuid()}"


@pytest.mark.net
def test_a_socket_of_the_longest_allowed_path_binds(tmp_path):
    room = SOCKET_PATH_BYTES - len(os.fsencode(tmp_path)) - len("//control.sock")
    folder = Paths(tmp_path / ("x" * room))
    assert len(os.fsencode(folder.control)) == SOCKET_PATH_BYTES
    folder.state_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder.control))


def test_a_new_private_folder_is_ours_alone(tmp_path):
    private_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_open_to_others_is_refused_with_the_cure(tmp_path):
    tmp_path.chmod(0o750)
    with pytest.raises(StateError, match="mode 750") as caught:
        private_folder(tmp_path)
    assert caught.value.hint == f"chmod 700 {tmp_path}"


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StateError, match="belongs to user") as caught:
        private_folder(tmp_path)
    assert "chown 12345" in caught.value.hint


def test_a_link_is_not_a_private_folder(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StateError, match="not a folder"):
        private_folder(tmp_path / "link")


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="not a folder"):
        private_folder(tmp_path / "file")
    with pytest.raises(StateError, match="cannot make the folder"):
        private_folder(tmp_path / "file" / "below")


def test_checking_makes_nothing(tmp_path):
    with pytest.raises(StateError, match="cannot read"):
        check_private_folder(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_light():
    heavy = "torch", "libp2p", "trio", "numpy", "cryptography"
    code = f"import sys, swarmd.paths; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_home_sign_is_understood():
    assert Paths(Path("~/x")).state_dir == Path.home().resolve() / "x"
