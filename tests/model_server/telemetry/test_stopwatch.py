"""The stopwatch."""

from model_server.telemetry.stopwatch import Stopwatch


def test_a_stopwatch_runs_forward() -> None:
    """Its clock is one that nobody sets back."""
    watch = Stopwatch()
    first = watch.elapsed_s

    assert 0 <= first <= watch.elapsed_s < 10
