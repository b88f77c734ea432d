"""Programs that are run to their end: what they print, and how their failures read."""

from __future__ import annotations

import pytest

from tools.programs import ProgramError, output, run, succeeds


def test_a_program_fails_with_its_own_words() -> None:
    """They stand in the text for a person, and alone for whoever reads them."""
    with pytest.raises(ProgramError, match="failed with 3:\nno luck") as caught:
        run(["sh", "-c", "echo no luck >&2; exit 3"])

    assert caught.value.said == "no luck"


def test_what_failed_without_words_says_what_it_printed() -> None:
    """Some programs complain on standard output."""
    with pytest.raises(ProgramError) as caught:
        run(["sh", "-c", "echo no luck; exit 3"])

    assert caught.value.said == "no luck"


def test_a_program_that_is_missing_is_named() -> None:
    """Whoever reads it can install it."""
    with pytest.raises(ProgramError, match="no-such-program is not installed here") as caught:
        run(["no-such-program"])

    assert caught.value.said == ""


def test_a_program_that_takes_too_long_is_ended() -> None:
    """Otherwise a release would hang for as long as its registry does."""
    with pytest.raises(ProgramError, match="took more than 0 s"):
        run(["sleep", "60"], timeout_s=0.1)


def test_a_program_reads_what_it_is_given() -> None:
    """And its bytes come back as they are, be they text or not."""
    assert run(["cat"], given=b"read") == "read"
    assert output(["cat"], given=b"\xff\x00") == b"\xff\x00"


def test_a_program_may_be_asked_for_its_success_alone() -> None:
    """No error is raised then."""
    assert succeeds(["true"])
    assert not succeeds(["false"])
