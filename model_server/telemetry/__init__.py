"""What the server tells of itself: metrics, request lines, and every other log line."""
