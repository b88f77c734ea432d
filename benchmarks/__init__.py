"""Benchmarks of the server beside its peers, on one machine in one run; no part of what is served."""
