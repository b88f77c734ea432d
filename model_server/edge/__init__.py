"""The edge: everything that speaks HTTP, gRPC or KServe; the one importer of their libraries."""
