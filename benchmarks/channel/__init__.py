"""The tensor channel beside others: two processes on loopback, interleaved rounds.

    python -m benchmarks.channel [--json] [--short] [--hivemind PATH_TO_VENV | --no-hivemind]

Contestants: ``raw``, a blocking socket and a thread at each end, without TLS, headers or trio: the most the
machine gives; ``libp2p``, a default py-libp2p stream; ``hivemind``, a binary stream through the daemon of
hivemind 1.1.12, which is installed into a virtual environment under ~/.cache/swarmd-bench when none is named;
``link``, a tensor link with an acknowledgement for each frame on the link back; ``link+roots``, which also
hashes every frame at both ends, as a run does; ``blob``, a blob fetched over a bulk link from disk to disk.

The second part sends 100 kB messages from one process to another with nothing beside them, and
while blobs of 1 GiB in all are fetched from the same node: round trips, p50 and p99.

MB/s depend on the machine: quote only ratios within one run. With ``--json`` the last line is one JSON object.
"""
