"""A handful of hosts with home-like links on one Linux machine, without netem.

Every host is a network namespace, ``lab0``, ``lab1`` and so on, at 10.77.0.1, 10.77.0.2 and so on. Each has one TUN
device; a router in this process carries packets between them, and gives every host an uplink and a downlink
rate, a one-way delay, a bounded buffer (tail drop) and a loss probability. Root is needed.

    python -m benchmarks.netlab --hosts 4 --up 100 --down 100 --delay 10 -- ./my-benchmark.sh
    python -m benchmarks.netlab --spec hosts.toml --json -- python bench.py

The command runs in this process's own namespace, with NETLAB_HOSTS=4 set, and starts a program on a host with
``ip netns exec lab0 PROGRAM``. When it ends, the namespaces go; its exit status is returned, and what
crossed each link is told on standard error. While it runs, a line written to the FIFO that NETLAB_CONTROL names
changes the network:

    set 2 up=20 delay=80      # Mbit/s, ms, loss in [0, 1]
    cut 2                     # nobody reaches host 2
    cut 0 1                   # only the path between 0 and 1
    heal                      # every cut is undone

A spec file holds a table per host, in order, with the options' names:

    [[host]]
    up = 40          # Mbit/s
    down = 200
    delay = 15       # ms, added once for the sender and once for the receiver
    loss = 0.001
    buffer = 100     # ms of queue at the link's rate
    nat = true       # only replies to its own flows get in (address-restricted)
"""
