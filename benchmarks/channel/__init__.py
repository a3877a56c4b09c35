"""The tensor channel beside others: two processes on loopback, interleaved rounds.

    python -m benchmarks.channel [--json] [--short] [--hivemind PATH_TO_VENV | --no-hivemind]

Contestants: ``raw``, a blocking socket and a thread at each end, without TLS, headers or trio: the most the
machine gives; ``libp2p``, a default py-libp2p stream; ``hivemind``, a binary stream through the daemon of
hivemind 1.1.12, which is installed into a virtual environment under ~/.cache/swarmd-bench when none is named;
``link``, a tensor link with frames of 1 MiB and an acknowledgement for each on the link back; ``link+roots``, which
also hashes every frame at both ends, as a run does; ``link16``, with frames of 16 MiB.

The second part (alone with ``--beside``) sends 100 kB messages over a link, with nothing beside them and while the
same sender gives a gibibyte over a bulk link: round trips, p50 and p99, without a rate cap and with one.

MB/s depend on the machine: quote only ratios within one run. With ``--json`` the last line is one JSON object.
"""
