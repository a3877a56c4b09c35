"""``up``, ``down``, ``status``, ``id``, ``peers``, ``gpus``: the node and who it knows."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from swarmd.cli.output import console, emit, line, words
from swarmd.cli.session import session_of

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_NODE = "The node"


class Accept(StrEnum):
    """Whose jobs a node takes."""

    self = "self"
    list = "list"
    network = "network"


class Level(StrEnum):
    """How much the daemon logs."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    for name, command in (
        ("up", up),
        ("down", down),
        ("status", status),
        ("id", identify),
        ("peers", peers),
        ("gpus", gpus),
    ):
        app.command(name, rich_help_panel=_NODE)(command)


def up(
    ctx: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave the daemon running behind.")] = False,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Where to accept peers, as /ip4/0.0.0.0/tcp/4801."),
    ] = None,
    tensor_host: Annotated[
        str | None, typer.Option(metavar="IP", help="Where tensors arrive; else as far open as --listen.")
    ] = None,
    tensor_port: Annotated[int | None, typer.Option(metavar="PORT", help="The port for tensors.")] = None,
    bootstrap: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="A node to join. Repeatable.")] = None,
    join: Annotated[
        str | None, typer.Option(metavar="INVITE|FILE", help="Put this node on the network of an invite first.")
    ] = None,
    no_mdns: Annotated[bool, typer.Option("--no-mdns", help="Do not look for peers on this local network.")] = False,
    name: Annotated[str | None, typer.Option(help="What people call this node.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, mps, cuda (the first) or cuda:N.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one stage.")] = None,
    price: Annotated[int | None, typer.Option(min=0, help="Micro-credits per 10^12 operations.")] = None,
    accept: Annotated[Accept | None, typer.Option(help="Whose jobs to take.")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="PEER", help="Take this peer's jobs. Repeatable.")] = None,
    max_stages: Annotated[int | None, typer.Option(min=0, help="Stages to hold at once.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory to offer, as 8GiB.")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="HOST:PORT|off", help="Prometheus metrics.")] = None,
    log_level: Annotated[Level | None, typer.Option(help="How much to log.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Say the addresses as one JSON line.")] = False,
) -> None:
    """Start this node: join the swarm, offer the device."""
    from swarmd.cli import spawn

    arguments = spawn.flags(
        {
            "--state-dir": session_of(ctx).state_dir,
            "--listen": listen,
            "--tensor-host": tensor_host,
            "--tensor-port": tensor_port,
            "--bootstrap": bootstrap,
            "--no-mdns": no_mdns,
            "--name": name,
            "--device": device,
            "--threads": threads,
            "--price": price,
            "--accept": accept and accept.value,
            "--allow": allow,
            "--max-stages": max_stages,
            "--memory": memory,
            "--metrics": metrics,
            "--log-level": log_level and log_level.value,
            "--json": json,
        }
    )
    if join is not None:
        from swarmd.cli.offline import ask_folder

        again = shlex.join(["swarmd", "network", "join", join, "--force"])
        joined = ask_folder(session_of(ctx).paths, "network_join", invite=join, again=again)
        words(f"this node is on the network {joined['name']}")
    if detach:
        from swarmd.cli.detach import start_behind

        node = start_behind(session_of(ctx).paths, arguments)
        words(f"swarmd is up: process {node.pid}, log {session_of(ctx).paths.log}\n  next: swarmd status")
        return line(node.peer)
    spawn.become("swarmd", arguments)


def down(
    ctx: typer.Context,
    json: Json = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for it.")] = 60.0,
) -> None:
    """Stop this node: ends what runs here in order, and waits until the process is gone."""
    from swarmd.cli.detach import stop

    dropped = stop(session_of(ctx).paths, timeout)
    if json:
        return emit({"stopped": True, "dropped": dropped})
    words("the daemon has stopped")
    if dropped:
        from swarmd.cli import units

        count = units.counted(len(dropped), "write")
        words(f"{count} had not been signed yet, and will not be; ask again for what you still want:")
    for each in dropped:
        words(f"  {each}")


def status(ctx: typer.Context, json: Json = False) -> None:
    """This node: its addresses, device, work, and why it is idle."""
    session = session_of(ctx)
    result = session.ask("status")
    if json:
        return emit(result)
    from swarmd.cli import answers, tables

    node = answers.node(result)
    console().print(tables.node(node))
    answers.warn_of_skew(node)
    for hint in answers.next_commands(node):
        words(hint)


def identify(
    ctx: typer.Context,
    json: Json = False,
    addresses: Annotated[bool, typer.Option("--addresses", "-a", help="What others' --bootstrap takes.")] = False,
) -> None:
    """This node's peer id, for another node's --allow."""
    from swarmd.cli import answers

    node = answers.node(session_of(ctx).ask("status"))
    if json:
        return emit({"peer": node.peer, "network": node.network, "addresses": list(node.addresses)})
    for text in node.addresses if addresses else (node.peer,):
        line(text)


def peers(ctx: typer.Context, json: Json = False) -> None:
    """The nodes this one knows, by their adverts."""
    session = session_of(ctx)
    result = session.ask("peers")
    if json:
        return emit(result)
    from swarmd.cli import answers, tables

    found = answers.peers(result)
    if found:
        return console().print(tables.peers(found))
    of_one_s_own = answers.node(session.ask("status")).network != answers.MAIN
    here, there = ("network invite", "--join INVITE") if of_one_s_own else ("id --addresses", "--bootstrap ADDRESS")
    words(f"no peers yet\n  next: swarmd {here}; then on another machine, with what it prints: swarmd up {there}")


def gpus(
    ctx: typer.Context,
    json: Json = False,
    probe: Annotated[bool, typer.Option("--probe", help="Measure this machine now, without a daemon.")] = False,
) -> None:
    """The devices of this node and its peers, fastest first."""
    from swarmd.cli import spawn

    if probe:
        spawn.become("swarmd.gpu.probe", spawn.flags({"--words": not json}))
    from swarmd.cli import answers

    session = session_of(ctx)
    rows = answers.device_rows(session.ask("status"), session.ask("peers"))
    if json:
        return emit({"devices": [answers.device_object(*row) for row in rows]})
    from swarmd.cli import tables

    console().print(tables.devices(rows))
    words(answers.device_total(rows))
