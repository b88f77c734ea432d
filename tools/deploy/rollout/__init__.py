"""A release on a cluster and who gets its requests: knows readiness, revisions and shares; makes no cluster, no bundle.

Of the rest of tools it uses programs, clients, objects and errors alone (tests/test_arrows.py), so that it can move.
"""
