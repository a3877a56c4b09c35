"""Namespaces and the TUN devices in them, for the length of a block."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.netlab.hosts import LabError
from benchmarks.netlab.packets import VIRTIO_BYTES

_TUN = "/dev/net/tun"
_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_LARGE_PACKETS = 0x01 | 0x02
"""Checksums left open, and TCP over IPv4 not yet cut into segments."""
_CLONE_NEWNET = 0x40000000


def check_rights() -> None:
    """Raises LabError where no lab can be made."""
    if sys.platform != "linux":
        raise LabError("a lab needs Linux: its hosts are network namespaces")
    if os.geteuid() != 0:
        raise LabError("a lab needs root, to make network namespaces: run it with sudo")
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise LabError(f"{_TUN} is not here: modprobe tun, or in a container --device {_TUN} --cap-add NET_ADMIN")


@contextmanager
def devices(count: int, mtu: int, *, large_packets: bool) -> Iterator[list[int]]:
    """A descriptor for each host's device. Raises LabError."""
    check_rights()
    with ExitStack() as made:
        yield [_host(made, number, mtu, large_packets) for number in range(count)]


def _host(made: ExitStack, number: int, mtu: int, large_packets: bool) -> int:
    name = f"lab{number}"
    _ip("netns", "add", name)
    made.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
    device = _open_tun(name, large_packets)
    made.callback(os.close, device)
    _ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "tun0")
    _ip("-n", name, "link", "set", "tun0", "mtu", str(mtu), "up")
    _ip("-n", name, "link", "set", "lo", "up")
    return device


def _ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LabError("the program `ip` is not here: install iproute2") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip()
        raise LabError(
            f"ip {' '.join(words)}: {reason}; another lab may be running, or have left a namespace"
        ) from error


def _open_tun(namespace: str, large_packets: bool) -> int:
    """A device made inside a namespace, in a thread that enters it; its descriptor works from anywhere."""
    made: list[int | OSError] = []

    def enter() -> None:
        try:
            _enter(namespace)
            made.append(_make_tun(large_packets))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise LabError(f"no TUN device in {namespace}: {result}") from result
    return result


def _enter(namespace: str) -> None:
    handle = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(handle)


def _make_tun(large_packets: bool) -> int:
    device = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR))
    fcntl.ioctl(device, _TUNSETVNETHDRSZ, struct.pack("i", VIRTIO_BYTES))
    fcntl.ioctl(device, _TUNSETOFFLOAD, _LARGE_PACKETS if large_packets else 0)
    return device
