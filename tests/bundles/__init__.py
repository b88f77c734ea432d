"""Bundles for tests: a catalogue of small models, each really fitted, how to write others, and a server for one."""
