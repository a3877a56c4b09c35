"""The compute process: torch in a child of the daemon, tensors in shared memory, headers on a socket pair.

A CUDA error or an out-of-memory kill ends the child, not the daemon. The child watches its end of the
socket pair: end of file means the daemon is gone, whatever killed it, and the child ends at once.
"""
