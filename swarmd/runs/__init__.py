"""Runs: the coordinator on the submitter's node, the member on every node that holds a stage."""
