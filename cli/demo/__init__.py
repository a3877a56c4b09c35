"""``swarmd demo``: a swarm of real daemons on this machine, a training run, and a score card."""
