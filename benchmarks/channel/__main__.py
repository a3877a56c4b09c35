"""``python -m benchmarks.channel``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import benchmarks.channel
from benchmarks.channel.processes import Figures, converse, transfer
from benchmarks.channel.rival import NoRival, hivemind_python

MIB = {"raw": 512, "link": 256, "link+roots": 256, "link16": 256, "hivemind": 128, "libp2p": 64}
AIMS = {"link/raw": 0.18, "link/libp2p": 4.0, "link/hivemind": 1.0}


def main() -> None:
    """Measure, and print a table or an object."""
    options = _options()
    if options.beside:
        report = {"beside": messages(options.short)}
        _finish(report, options.json)
        return
    rival, missing = _rival(options)
    contestants = [name for name in MIB if name != "hivemind" or rival]
    rounds = [_round(contestants, rival, 4 if options.short else 1) for _ in range(5)]
    report = summary(rounds)
    if missing:
        report["hivemind"] = {"missing": missing}
    report["beside"] = messages(options.short)
    _print(report)
    _finish(report, options.json)


def messages(short: bool) -> dict[str, Any]:
    """Round trips of 100 kB messages alone and beside bulk, without a cap and with one of 40 Mbit/s."""
    free, _ = converse("beside", (256 if short else 1024) << 20)
    capped, _ = converse("beside-capped", 64 << 20)
    report: dict[str, Any] = {"uncapped": free, "capped": capped}
    for each in report.values():
        each["ratio"] = round(each["beside"]["p99_ms"] / each["alone"]["p99_ms"], 2)
    return report


def _finish(report: dict[str, Any], as_json: bool) -> None:
    for name, each in report["beside"].items():
        alone, beside = (f"{each[when]['p50_ms']} / {each[when]['p99_ms']} ms" for when in ("alone", "beside"))
        print(f"100 kB messages, {name}, p50 / p99: alone {alone}, beside bulk {beside}: {each['ratio']} times (aim 5)")
    if as_json:
        print(json.dumps(report))


def summary(rounds: list[dict[str, Figures]]) -> dict[str, Any]:
    """Medians of each contestant, and medians of the ratios within each round."""
    report: dict[str, Any] = {"rounds": len(rounds)}
    for name in rounds[0]:
        each = [asdict(taken[name]) | {"cpu": taken[name].cpu} for taken in rounds]
        report[name] = {field: round(median(one[field] for one in each), 3) for field in each[0]}
    for pair in AIMS:
        ours, other = pair.split("/")
        if other in rounds[0]:
            report[pair] = round(median(taken[ours].mb_s / taken[other].mb_s for taken in rounds), 3)
    return report


def _round(contestants: list[str], rival: str | None, shorter: int) -> dict[str, Figures]:
    taken = {}
    for name in contestants:
        total = (MIB[name] << 20) // shorter
        if name == "hivemind":
            taken[name] = transfer(name, total, str(rival), "benchmarks.channel.daemon_end")
        else:
            taken[name] = transfer(name, total)
    return taken


def _rival(options: argparse.Namespace) -> tuple[str | None, str]:
    if options.no_hivemind:
        return None, "not asked for"
    try:
        return hivemind_python(options.hivemind), ""
    except NoRival as error:
        print(f"without hivemind: {error}")
        return None, str(error)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.channel",
        description=benchmarks.channel.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--short", action="store_true", help="a quarter of the bytes")
    parser.add_argument("--hivemind", type=Path, metavar="VENV", help="a virtual environment that has hivemind 1.1.12")
    parser.add_argument("--beside", action="store_true", help="only messages beside bulk")
    parser.add_argument("--no-hivemind", action="store_true", help="leave it out")
    return parser.parse_args()


def _print(report: dict[str, Any]) -> None:
    print(f"{'':<11} {'MB/s':>7} {'CPU-s/GB: send':>15} {'receive':>8} {'both':>6}")
    for name in MIB:
        if "mb_s" in report.get(name, {}):
            row = report[name]
            print(
                f"{name:<11} {row['mb_s']:>7.0f} {row['send_cpu']:>15.2f} {row['receive_cpu']:>8.2f} {row['cpu']:>6.2f}"
            )
    for pair, aim in AIMS.items():
        if pair in report:
            print(f"{pair}: {report[pair]:.2f} (aim {aim:g})")


if __name__ == "__main__":
    main()
