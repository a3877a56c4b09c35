"""A node's key is made once, readable by its owner only, and used by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from swarmd.identity import create_key_file, identity_of, load_identity, load_or_create_identity
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import public_key_of
from swarmd.state_lock import lock_state


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "state")


def test_the_first_start_makes_a_key_and_later_ones_find_it(paths):
    first = load_or_create_identity(paths)
    for later in (load_or_create_identity(paths), load_identity(paths)):
        assert (later.peer, later.seed) == (first.peer, first.seed)


def test_the_peer_id_contains_the_public_key_that_checks_its_signatures(paths):
    node = load_or_create_identity(paths)
    public = Ed25519PublicKey.from_public_bytes(public_key_of(node.peer))
    public.verify(node.sign(b"words"), b"words")


def test_a_seed_decides_the_identity():
    assert identity_of(bytes(32)).peer == identity_of(bytes(32)).peer
    assert identity_of(bytes(32)).peer != identity_of(b"\1" * 32).peer


def test_the_seed_is_never_shown():
    assert "seed" not in repr(identity_of(bytes(32)))


def test_key_and_folder_are_ours_alone_whatever_the_umask(paths):
    before = os.umask(0)
    try:
        load_or_create_identity(paths)
    finally:
        os.umask(before)
    assert paths.key.stat().st_mode & 0o777 == 0o600
    assert paths.state_dir.stat().st_mode & 0o777 == 0o700


def test_making_a_key_leaves_nothing_else_behind(paths):
    load_or_create_identity(paths)
    assert [file.name for file in paths.state_dir.iterdir()] == ["key.pem"]


def test_an_existing_key_is_never_replaced(paths):
    first = load_or_create_identity(paths)
    create_key_file(paths.key)
    assert load_identity(paths).peer == first.peer


def test_processes_that_race_end_up_with_one_key(paths):
    barrier, peers = threading.Barrier(8), []

    def start():
        barrier.wait()
        peers.append(load_or_create_identity(paths).peer)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(peers) == 8
    assert len(set(peers)) == 1


def test_a_missing_key_says_how_to_get_one(paths):
    with pytest.raises(StateError, match="there is no key") as caught:
        load_identity(paths)
    assert "swarmd up" in caught.value.hint


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_open_to_others_is_refused_with_the_cure(paths, mode):
    load_or_create_identity(paths)
    paths.key.chmod(mode)
    with pytest.raises(StateError, match=f"mode {mode:o}") as caught:
        load_identity(paths)
    assert caught.value.hint == f"chmod 600 {paths.key}"


def test_a_key_of_another_user_is_refused(paths, monkeypatch):
    load_or_create_identity(paths)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StateError, match="belongs to user"):
        load_identity(paths)


def test_a_link_in_place_of_the_key_is_refused(paths, tmp_path):
    load_or_create_identity(paths)
    paths.key.rename(tmp_path / "elsewhere")
    paths.key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        load_or_create_identity(paths)


def test_a_dangling_link_is_refused_and_makes_no_key_where_it_points(paths, tmp_path):
    paths.state_dir.mkdir(mode=0o700)
    paths.key.symlink_to(tmp_path / "target")
    with pytest.raises(StateError, match="symbolic link"):
        load_or_create_identity(paths)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_refused_at_once(paths, make):
    paths.state_dir.mkdir(mode=0o700)
    make(paths.key)
    with pytest.raises(StateError, match="not a plain file"):
        load_identity(paths)


def _pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


_GOOD = _pem(Ed25519PrivateKey.from_private_bytes(bytes(32)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        _GOOD[:60],
        _GOOD.replace(b"A", b"B"),
        b"\xff" * 100,
        _GOOD + b"x" * 5000,
        _pem(generate_private_key(SECP256R1())),
        _pem(Ed25519PrivateKey.from_private_bytes(bytes(32)), BestAvailableEncryption(b"secret")),
    ],
    ids=["empty", "truncated", "altered", "noise", "huge", "another-kind", "encrypted"],
)
def test_a_damaged_key_is_refused_and_left_as_it_is(paths, content):
    paths.state_dir.mkdir(mode=0o700)
    paths.key.touch(mode=0o600)
    paths.key.write_bytes(content)
    with pytest.raises(StateError, match="does not hold an Ed25519 private key") as caught:
        load_or_create_identity(paths)
    assert "backup" in caught.value.hint
    assert paths.key.read_bytes() == content


def test_a_state_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot make the folder"):
        load_or_create_identity(Paths(tmp_path / "file" / "state"))


def test_a_full_disk_is_said_and_leaves_no_part_of_a_key(paths, monkeypatch):
    paths.state_dir.mkdir(mode=0o700)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left"):
        load_or_create_identity(paths)
    assert list(paths.state_dir.iterdir()) == []


def test_the_lock_prepares_folder_and_key(paths):
    with lock_state(paths):
        assert load_identity(paths).peer
        assert int(paths.lock.read_text()) == os.getpid()


def test_a_second_daemon_on_the_folder_is_refused_and_told_who_holds_it(paths):
    with (
        lock_state(paths),
        pytest.raises(StateError, match=f"process {os.getpid()}") as caught,
        lock_state(paths),
    ):
        pass
    assert "swarmd down" in caught.value.hint
    assert "--state-dir" in caught.value.hint


def test_the_lock_ends_with_its_context(paths):
    for _ in range(2):
        with lock_state(paths):
            pass


def test_a_key_that_two_folders_share_serves_one_daemon(paths, tmp_path):
    load_or_create_identity(paths)
    other = Paths(tmp_path / "other")
    other.state_dir.mkdir(mode=0o700)
    os.link(paths.key, other.key)
    with lock_state(paths), pytest.raises(StateError, match="already uses the key"), lock_state(other):
        pass
    with lock_state(other):
        pass


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="needs Linux's table of locks")
def test_the_holder_of_a_shared_key_is_named(paths, tmp_path):
    load_or_create_identity(paths)
    other = Paths(tmp_path / "other")
    other.state_dir.mkdir(mode=0o700)
    os.link(paths.key, other.key)
    with paths.key.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StateError, match=r"process \d+"), lock_state(other):
            pass


def test_a_link_in_place_of_the_lock_is_refused(paths, tmp_path):
    paths.state_dir.mkdir(mode=0o700)
    paths.lock.symlink_to(tmp_path / "victim")
    with pytest.raises(StateError, match="cannot open the lock"), lock_state(paths):
        pass
    assert not (tmp_path / "victim").exists()


def test_a_killed_daemon_leaves_no_lock_even_if_a_child_of_it_lives_on(paths):
    code = (
        "import subprocess, sys, pathlib\n"
        "from swarmd.paths import Paths; from swarmd.state_lock import lock_state\n"
        "with lock_state(Paths(pathlib.Path(sys.argv[1]))):\n"
        "    child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(paths.state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(StateError, match=f"process {holder.pid}"), lock_state(paths):
                pass
            holder.kill()
            holder.wait()
            with lock_state(paths):
                pass
        finally:
            os.kill(child, 9)
