"""The gRPC side: server and messages."""
