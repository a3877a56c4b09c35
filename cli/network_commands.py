"""``network``: make one, invite others, join one, and say who votes on its credits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from swarmd.cli import units
from swarmd.cli.output import console, emit, line, words
from swarmd.cli.session import session_of
from swarmd.protocols.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Force = Annotated[
    bool, typer.Option("--force", help="Leave the present network; its files are moved aside, none is deleted.")
]
CHANGE_SECONDS = 120.0
"""A change of the committee takes effect once a quorum of the old one has handed over."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})\s*([smhd])")
_MAX_WEIGHT = 1 << 40
_ROBUST = 4
"""Members from which on one may fail."""

network = typer.Typer(name="network", no_args_is_help=True, help="The network this node is on.")
committee = typer.Typer(name="committee", no_args_is_help=True, help="Who votes on the network's credits.")
network.add_typer(committee)


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.add_typer(network, rich_help_panel="The node")


@network.command()
def init(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it: a-z, 0-9 and '-'.")],
    supply: Annotated[
        str | None, typer.Option(metavar="CREDITS", help="All credits there will ever be; else 1,000,000.")
    ] = None,
    grant: Annotated[
        list[str] | None,
        typer.Option(metavar="PEER=CREDITS", help="Give these to a peer; this node holds the rest. Repeatable."),
    ] = None,
    member: Annotated[
        list[str] | None, typer.Option(metavar="PEER", help="Votes on credits beside this node. Repeatable.")
    ] = None,
    cooldown: Annotated[
        str | None, typer.Option(metavar="TIME", help="From unstaking to having it back, as 90s, 12h; else 14d.")
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="A provider's time to claim an expired lane; else 1d.")
    ] = None,
    anybody: Annotated[bool, typer.Option("--open", help="Anybody may connect: no pre-shared key.")] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Make a network of your own, with credits. This node is its operator."""
    from swarmd.cli.offline import ask_folder

    made = ask_folder(
        session_of(ctx).paths,
        "network_init",
        name=name,
        supply=supply,
        grants=grant or [],
        members=member or [],
        cooldown=_seconds("--cooldown", cooldown),
        grace=_seconds("--grace", grace),
        open=anybody,
        force=force,
        again=_again(
            "init",
            name,
            {
                "--supply": supply,
                "--grant": grant,
                "--member": member,
                "--cooldown": cooldown,
                "--grace": grace,
                "--open": anybody,
            },
        ),
    )
    if json:
        return emit(made)
    line(made["network"])
    words(f"the network {made['name']} is made" + _left(made))
    words("  next: swarmd up; then swarmd network invite prints what others join with")


@network.command()
def show(ctx: typer.Context, json: Json = False) -> None:
    """The network this node is on, as its genesis says."""
    from swarmd.cli.offline import ask_folder

    found = ask_folder(session_of(ctx).paths, "network_show")
    if json:
        return emit(found)
    from swarmd.cli import network_tables

    console().print(network_tables.network(found))


@network.command()
def invite(ctx: typer.Context, json: Json = False) -> None:
    """Print the line that others join with. On a private network it holds the key: send it as you would a password."""
    made = session_of(ctx).ask("invite")
    if json:
        return emit(made)
    line(str(made["invite"]))
    words("  next: on another machine: swarmd up --join INVITE")


@network.command()
def join(
    ctx: typer.Context,
    place: Annotated[str, typer.Argument(metavar="INVITE|FILE", help="An invite, or a file that holds one.")],
    force: Force = False,
    json: Json = False,
) -> None:
    """Put this node on another network."""
    from swarmd.cli.offline import ask_folder

    found = ask_folder(
        session_of(ctx).paths, "network_join", invite=place, force=force, again=_again("join", place, {})
    )
    if json:
        return emit(found)
    line(found["network"])
    words(f"this node is on the network {found['name']} now{_left(found)}")
    if found["contacts"]:
        return words("  next: swarmd up")
    words("  it carries no addresses; nodes that are not on the local network need one, or an invite that has some")
    words("  next: swarmd up --bootstrap ADDRESS")


@committee.command("show")
def show_committee(ctx: typer.Context, json: Json = False) -> None:
    """Who votes now."""
    found = session_of(ctx).ask("committee")
    if json:
        return emit(found)
    from swarmd.cli import network_tables

    console().print(network_tables.committee(found))


@committee.command("set")
def set_committee(
    ctx: typer.Context,
    members: Annotated[list[str], typer.Argument(metavar="PEER[=WEIGHT]...", help="Everybody who votes from now on.")],
    json: Json = False,
) -> None:
    """Change who votes; only the operator's node can."""
    found = session_of(ctx).ask("committee_set", wait=CHANGE_SECONDS, members=[_member(text) for text in members])
    if json:
        return emit(found)
    words(f"committee {found['number']} votes from now on: {units.counted(len(found['members']), 'member')}")
    if len(found["members"]) < _ROBUST:
        words("  " + _may_be_away(found))


def _again(command: str, what: str, options: Mapping[str, str | list[str] | bool | None] | None = None) -> str:
    """The same command with ``--force``."""
    from swarmd.cli.spawn import flags

    return shlex.join(["swarmd", "network", command, what, *flags({**(options or {}), "--force": True})])


def _may_be_away(found: dict[str, Any]) -> str:
    """Who of a small committee may be away while it certifies."""
    spare = found["weight"] - found["quorum"]
    if spare >= min(int(weight) for _, weight in found["members"]):
        return f"members of weight {spare} together may be away"
    return f"none of them may be away, or nothing is certified; of {_ROBUST} of equal weight, one may"


def _member(text: str) -> list[Any]:
    peer, found, weight = text.partition("=")
    if found and not (weight.isascii() and weight.isdecimal() and 1 <= int(weight[:20]) <= _MAX_WEIGHT):
        raise UsageError(
            f"{text[:80]!r} is not a member", hint="write PEER, or PEER=WEIGHT with a whole number, 1 or more"
        )
    return [peer, int(weight) if found else 1]


def _seconds(option: str, text: str | None) -> int | None:
    match = None if text is None else _DURATION.fullmatch(text.strip())
    if text is not None and match is None:
        raise UsageError(f"{option} {text[:80]!r} is not a time", hint="write it as 90s, 10m, 12h or 14d")
    return None if match is None else int(match[1]) * _UNITS[match[2]]


def _left(found: dict[str, Any]) -> str:
    return f"; what belongs to the one before is in {found['left']}" if found.get("left") else ""
