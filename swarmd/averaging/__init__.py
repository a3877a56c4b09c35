"""Averaging of replicas: members exchange vectors, and end with the same mean or know that they did not.

Use: ``open_session`` once for a run, then ``await average(session, plan, vector)`` for each round.
"""

from __future__ import annotations

from swarmd.averaging.codecs import CODECS
from swarmd.averaging.opening import AveragingDesk, open_session
from swarmd.averaging.report import RoundFailed, RoundReport, SliceReport
from swarmd.averaging.rounds import Averaged, average
from swarmd.averaging.session import Session

__all__ = [
    "CODECS",
    "Averaged",
    "AveragingDesk",
    "RoundFailed",
    "RoundReport",
    "Session",
    "SliceReport",
    "average",
    "open_session",
]
