"""``wallet`` and ``ledger``: this node's account, and what everybody agrees on."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from swarmd.cli.output import console, emit, words
from swarmd.cli.session import session_of

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; amounts in micro-credits.")]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="Credits, as 12 or 0.25.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Leave once it is signed, or waits for its turn; it becomes final by itself.")
]

_OF_MEMBERS = ("enabled", "network", "committee", "quorum", "weight", "answering", "members")

wallet = typer.Typer(name="wallet", no_args_is_help=True, help="This node's credits.")
ledger = typer.Typer(name="ledger", no_args_is_help=True, help="What the network agrees on.")


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.add_typer(wallet, rich_help_panel="Credits")
    app.add_typer(ledger, rich_help_panel="Credits")


@wallet.command("balance")
def balance(ctx: typer.Context, json: Json = False) -> None:
    """What can be spent, what is set aside, staked, or on its way, and why."""
    result = session_of(ctx).ask("wallet")
    if json:
        return emit(result)
    from swarmd.cli import answers, wallet_report

    console().print(wallet_report.balance(answers.wallet(result)))


@wallet.command("history")
def history(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="Entries to show.")] = 20,
    before: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only entries below number N.")] = None,
    json: Json = False,
) -> None:
    """The entries of this node's account, newest first."""
    result = session_of(ctx).ask("history", limit=limit, before=before)
    if json:
        return emit(result)
    from swarmd.cli import answers, wallet_report

    lines = answers.history(result)
    if not lines:
        return words("no entries yet\n  next: swarmd wallet balance")
    console().print(wallet_report.history(lines))
    words(f"\n  swarmd wallet explain {lines[0].seq}     what an entry rests on")
    if lines[-1].seq > 1:
        words(f"  swarmd wallet history --before {lines[-1].seq}     what was before")


@wallet.command("explain")
def explain(
    ctx: typer.Context,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Its number, or the beginning of its id.")],
    json: Json = False,
) -> None:
    """One entry: before and after, votes, evidence, receipts; every signature is checked anew."""
    from swarmd.cli import answers, wallet_report
    from swarmd.cli.invoice import receipts_of
    from swarmd.protocols.control import as_json

    session = session_of(ctx)
    result = session.ask("explain", entry=entry)
    view = answers.explain(result)
    behind = [receipts_of(session, each.payer, each.lane, number) for each in view.evidence for number in each.vouchers]
    if json:
        return emit({**result, "receipts": [as_json(each) for each in behind]})
    console().print(wallet_report.explain(view, behind))


@wallet.command("pay")
def pay(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A whole peer id, as `swarmd id` prints it there.")],
    amount: Amount,
    note: Annotated[str, typer.Option(metavar="TEXT", help="For your own history; nobody else sees it.")] = "",
    yes: Yes = False,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Pay a peer id that was never seen here without being asked.")
    ] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> int:
    """Give credits to a peer. It asks first on a terminal, and cannot be taken back."""
    from swarmd.cli import payees, units
    from swarmd.cli.writing import Writing, write
    from swarmd.protocols.ledger.amounts import parse_credits

    micro = parse_credits(amount)
    session, sum_ = session_of(ctx), units.credits(micro)
    payee = payees.find(session, peer)
    asks = not (yes or json) and sys.stdin.isatty()
    if not (payee.seen or unseen or asks):
        raise payees.never_seen(peer, amount)
    if asks and not typer.confirm(payees.question(payee, sum_), err=True):
        words("nothing was paid")
        return 0
    done = f"{sum_} paid to {payees.shown(payee)}"
    return write(session.paths, Writing("pay", "the payment", done), wait=not no_wait, as_json=json,
                 peer=peer, amount=micro, note=note)  # fmt: skip


@wallet.command("stake")
def stake(ctx: typer.Context, amount: Amount, no_wait: NoWait = False, json: Json = False) -> int:
    """Set credits aside as a surety for this node's work and votes."""
    return _stake(ctx, "stake", "staked", amount, no_wait, json)


@wallet.command("unstake")
def unstake(ctx: typer.Context, amount: Amount, no_wait: NoWait = False, json: Json = False) -> int:
    """Take stake back; it comes after the network's cooldown."""
    return _stake(ctx, "unstake", "unstaked, to come back after the cooldown", amount, no_wait, json)


@ledger.command("status")
def status(ctx: typer.Context, json: Json = False) -> None:
    """The committee, how many accounts there are, and where all credits are."""
    result = session_of(ctx).ask("ledger")
    if json:
        return emit(result)
    from swarmd.cli import answers, ledger_report

    console().print(ledger_report.status(answers.ledger(result)))


@ledger.command("members")
def members(ctx: typer.Context, json: Json = False) -> None:
    """Who votes, with what weight, and who answers now."""
    result = session_of(ctx).ask("ledger")
    if json:
        return emit({name: result[name] for name in _OF_MEMBERS})
    from swarmd.cli import answers, ledger_report

    console().print(ledger_report.members(answers.ledger(result)))


def _stake(ctx: typer.Context, method: str, words_: str, amount: str, no_wait: bool, json: bool) -> int:
    from swarmd.cli import units
    from swarmd.cli.writing import Writing, write
    from swarmd.protocols.ledger.amounts import parse_credits

    micro = parse_credits(amount)
    writing = Writing(method, "it", f"{units.credits(micro)} {words_}")
    return write(session_of(ctx).paths, writing, wait=not no_wait, as_json=json, amount=micro)
