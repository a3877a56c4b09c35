"""What a job leaves to the swarm, chosen among described peers as a submission would among those it knows."""

from __future__ import annotations

from collections.abc import Mapping

from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobfile import JobFile
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.work import layer_operations
from swarmd.scheduler.batching import Swarm, for_one_sequence
from swarmd.scheduler.nearness import RoundTrip
from swarmd.scheduler.profiles import WorkerProfile
from swarmd.scheduler.settling import Settled, Wishes, settle
from swarmd.scheduler.wires import Declared
from swarmd.simulate.costs import BOTH_WAYS, profile_of
from swarmd.simulate.peers import DescribedPeer


def settled_for(
    job: JobFile, spec: JobSpec, known: Mapping[PeerId, DescribedPeer], round_trip: RoundTrip, efficiency: float
) -> Settled:
    """The spec that a submission among these peers would give, and why."""
    operations = BOTH_WAYS * layer_operations(spec)
    declared = [
        Declared(each.peer, int(operations / each.seconds_per_layer), each.uplink_bytes_per_s)
        for each in workers_of(known, job, spec, efficiency)
    ]
    one = workers_of(known, job, for_one_sequence(spec), efficiency)
    swarm = Swarm(tuple(one), round_trip, {identity: peer.downlink for identity, peer in known.items()})
    return settle(spec, Wishes(job.wire, job.batch, job.run), declared, swarm)


def workers_of(
    known: Mapping[PeerId, DescribedPeer], job: JobFile, spec: JobSpec, efficiency: float
) -> list[WorkerProfile]:
    """The peers as the planner takes them. Described seconds are of the job's micro-batch, or of one sequence where
    the job leaves its size open."""
    times = spec.batch.micro_batch_size if job.batch.open else 1
    return [profile_of(peer, identity, spec, efficiency, times=times) for identity, peer in known.items()]
