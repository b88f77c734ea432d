"""Adapters to KServe's own classes: model, data plane, registry and versioned routes."""
