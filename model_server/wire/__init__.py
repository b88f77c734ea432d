"""Bytes and documents of each protocol <-> ``Call`` and ``Answer``; one file a protocol, both directions."""
