"""What swarmd costs and carries, measured: each module or package here is run with ``python -m benchmarks.NAME``."""
