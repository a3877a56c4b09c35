"""The network: one transport interface, its libp2p and in-memory forms, and what is built on it."""
