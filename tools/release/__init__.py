"""What publishes an image and a chart: one tag once, and a record of its digest."""
