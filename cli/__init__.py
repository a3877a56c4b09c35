"""The thin command line: a client of the daemon over a unix socket."""
