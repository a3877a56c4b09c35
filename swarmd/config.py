"""The daemon's settings: one frozen value, made once at the start.

Sources, the first that has the setting wins: flags, SWARMD_* environment variables, ``config.toml`` in the
state folder, defaults. The source of every value is kept, for ``swarmd config show --origin``.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from swarmd.paths import Paths
from swarmd.protocols.errors import UsageError
from swarmd.settings import MAX_NAME_BYTES, RULES, from_text, split_endpoint
from swarmd.tomlfile import nearest, read_toml

DEFAULT_PORT = 4801
DEFAULT_METRICS_PORT = 4803
ENV_PREFIX = "SWARMD_"
DEFAULT = "default"
"""The origin of a value nobody set."""
NOT_SETTINGS = ("SWARMD_STATE_DIR",)
_FLAGS = {"memory_limit": "--memory", "mdns": "--no-mdns"}
"""Flags that are not called as their setting is."""


def _host_name() -> str:
    printable = "".join(letter for letter in socket.gethostname() if letter.isascii() and letter.isprintable())
    return printable[:MAX_NAME_BYTES] or "node"


def _cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of a node. Raises UsageError for a value that cannot be."""

    listen: tuple[str, ...] = (f"/ip4/0.0.0.0/tcp/{DEFAULT_PORT}",)
    """Multiaddresses to accept connections on; port 0 is any free port. Unset: 4801 where free, else any."""
    tensor_host: str = ""
    """IP address that the tensor channel listens on; empty becomes 127.0.0.1 if ``listen`` is all loopback, else
    every interface's, 0.0.0.0."""
    tensor_port: int = 0
    """TCP port of the tensor channel; 0: any free one. Set it to forward it through a router."""
    bootstrap: tuple[str, ...] = ()
    """Nodes to meet first, as multiaddresses that end in /p2p/PEER."""
    mdns: bool = True
    """Find nodes on the local network, and be found there."""
    name: str = field(default_factory=_host_name)
    """What others see this machine called."""
    device: str = "auto"
    """``auto``, ``cpu``, ``mps``, ``cuda`` (the first one) or ``cuda:N``."""
    threads: int = field(default_factory=_cores)
    """CPU threads for computing."""
    memory_limit: int = 0
    """Bytes that stages here may take of the device's memory; 0: what the device has."""
    price: int = 0
    """Micro-credits per 10^12 operations."""
    accept: str = "list"
    """Whose jobs to take: ``self``, ``list`` (own ones and those of ``allow``) or ``network``."""
    allow: tuple[str, ...] = ()
    """Peer ids whose jobs ``list`` takes."""
    max_stages: int = 4
    """Stages held at once; 0: none."""
    max_stages_per_submitter: int = 2
    """Stages held at once for one submitter other than ourselves."""
    disk_quota: int = 20 * 1024**3
    """Bytes that blobs may take on disk."""
    metrics: str = f"127.0.0.1:{DEFAULT_METRICS_PORT}"
    """Where Prometheus reads metrics, as host:port; ``off``: nowhere. Unset: port 4803 where free, else any."""
    metrics_public: bool = False
    """Allow ``metrics`` on an address that other machines reach."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    upload_mbit: float = 0.0
    """Most to send on tensor links, in Mbit/s, which planning assumes too; 0: no cap."""
    download_mbit: float = 0.0
    """Most to receive on tensor links, in Mbit/s, which planning assumes too; 0: no cap."""
    kwh_price: float = 0.0
    """What a kilowatt-hour costs the owner, in ``currency``."""
    currency: str = "USD"
    """Three letters; of ``kwh_price`` and ``credit_value``."""
    power_watts: float = 0.0
    """What the machine draws more while it works, where the device does not tell; 0: not known."""
    credit_value: float = 0.0
    """What a credit is worth to the owner, in ``currency``; 0: nothing said."""
    target_stake: int = 0
    """Micro-credits: half of what lanes earn is staked until this much is bonded; 0: nothing is held back."""

    def __post_init__(self) -> None:
        for name in NAMES:
            object.__setattr__(self, name, _checked(name, getattr(self, name), ""))
        object.__setattr__(self, "tensor_host", tensor_host(self))
        where = split_endpoint(self.metrics)
        if where and not self.metrics_public and not ipaddress.ip_address(where[0]).is_loopback:
            raise UsageError(
                f"metrics = {self.metrics!r} can be reached by other machines",
                hint="use 127.0.0.1, or set metrics_public = true if that is meant",
            )

    @property
    def metrics_endpoint(self) -> tuple[str, int] | None:
        """Host and port of the metrics, or None when they are off."""
        return split_endpoint(self.metrics)


NAMES = tuple(setting.name for setting in fields(Config))

Origins = Mapping[str, str]
"""Where each setting's value came from: ``default``, a flag, a variable, or a file and line."""


def load(state_dir: Path, flags: Mapping[str, object], env: Mapping[str, str]) -> tuple[Config, Origins]:
    """The settings of a node, each with its origin. A flag of None was not given.

    Raises:
        UsageError: an unknown setting or an impossible value; says where it stands and what would be right.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(NAMES, DEFAULT)
    for source in (_from_file(state_dir), _from_env(env), _from_flags(flags)):
        for name, value, origin in source:
            values[name], origins[name] = _checked(name, value, f"{origin}: "), origin
    return Config(**values), origins


def shown(config: Config, origins: Origins) -> list[dict[str, Any]]:
    """What the control method ``config`` lists: name, value and origin of every setting."""
    return [{"name": name, "value": getattr(config, name), "origin": origins[name]} for name in NAMES]


def listen_addresses(config: Config, origins: Origins) -> tuple[str, ...]:
    """Where to listen now: the default port gives way to any free one if taken; a chosen one never does."""
    if origins.get("listen") != DEFAULT or _is_free(DEFAULT_PORT):
        return config.listen
    return ("/ip4/0.0.0.0/tcp/0",)


def tensor_host(config: Config) -> str:
    """The IP address that the tensor channel listens on: as chosen, else as far open as ``listen`` is."""
    if config.tensor_host:
        return config.tensor_host
    hosts = [ipaddress.ip_address(address.split("/")[2]) for address in config.listen]
    if not hosts or not all(host.is_loopback for host in hosts):
        return "0.0.0.0"
    return "127.0.0.1" if any(host.version == 4 for host in hosts) else "::1"


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _checked(name: str, value: object, where: str) -> object:
    try:
        return RULES[name](value)
    except ValueError as error:
        raise UsageError(f"{where}{name} = {_brief(value)} will not do", hint=f"{name} must be {error}") from error


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _from_file(state_dir: Path) -> Iterator[tuple[str, object, str]]:
    file = read_toml(Paths(state_dir).config)
    if file is not None:
        file.only(NAMES)
        yield from ((name, value, file.where(name)) for name, value in file.values.items())


def _from_env(env: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    known = {ENV_PREFIX + name.upper(): name for name in NAMES}
    defaults = Config()
    for variable, text in env.items():
        if variable in known:
            yield known[variable], from_text(getattr(defaults, known[variable]), text), variable
        elif variable.startswith(ENV_PREFIX) and variable not in NOT_SETTINGS:
            _refuse_misspelt(variable, tuple(known))


def _refuse_misspelt(variable: str, known: tuple[str, ...]) -> None:
    # Only near misses: Kubernetes sets SWARMD_SERVICE_HOST and the like for a service of that name.
    if difflib.get_close_matches(variable, known, n=1, cutoff=0.86):
        raise UsageError(f"there is no setting {variable}", hint=nearest(variable, known))


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    defaults = Config()
    for name, value in flags.items():
        if name not in NAMES:
            raise UsageError(f"there is no setting {name!r}", hint=nearest(name, NAMES))
        if value is not None:
            typed = from_text(getattr(defaults, name), value) if isinstance(value, str) else value
            yield name, typed, _FLAGS.get(name, "--" + name.replace("_", "-"))
