"""A peer-to-peer GPU swarm daemon: find peers, advertise a GPU, train one model together."""

__version__ = "0.1.0"
