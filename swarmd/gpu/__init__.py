"""The device: what it is, what it can do, what it is doing."""
