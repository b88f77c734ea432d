"""The HTTP side: connections, exchanges and the routes that are answered without KServe's app."""
