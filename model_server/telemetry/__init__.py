"""Metrics, request log and structured logging."""
