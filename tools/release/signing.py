"""Signatures: knows how to ask cosign for them, keyless; keeps no key and decides nothing."""

from collections.abc import Sequence

from tools.programs import run

#: Who vouches for the identity of a workflow.
ISSUER = "https://token.actions.githubusercontent.com"


def sign(references: Sequence[str]) -> None:
    """Sign each digest as whoever the environment's identity token says.

    Args:
        references: Names with digests; a tag could be another image a moment later.

    Raises:
        ProgramError: cosign is not here, or it failed.
    """
    for reference in references:
        run(["cosign", "sign", "--yes", reference])
        print(f"signed: {reference}")


def verify(reference: str, signer: str) -> None:
    """Make sure that a workflow signed a digest.

    Args:
        reference: The name with its digest.
        signer: The workflow's identity: its address, file and ref.

    Raises:
        ProgramError: cosign is not here, or there is no such signature.
    """
    run(["cosign", "verify", "--certificate-identity", signer, "--certificate-oidc-issuer", ISSUER, reference])
    print(f"verified: {reference} is signed by {signer}")
