"""The benchmarks: that the load is what it says, that requests are real, and that ratios are taken right."""
