"""Policy: what the owner of a registry asks of whoever changes production; knows names, not versions or gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from model_server.errors import describe
from training.errors import BadConfig, NotApproved

if TYPE_CHECKING:
    from pathlib import Path

FILE = "policy.yaml"


class Policy(BaseModel):
    """The content of a registry's ``policy.yaml``.

    Attributes:
        approver: Who may change production: ``anyone``, who is then recorded by the account unless ``--who`` says
            otherwise, or ``named``, a person whom ``--who`` names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    approver: Literal["anyone", "named"]

    def approver_of(self, who: str, account: str) -> str:
        """Say who goes into the history.

        Args:
            who: The name that was given, or empty.
            account: The account of the process.

        Raises:
            NotApproved: A person is wanted, and none was named.
        """
        name = " ".join(who.split())
        if self.approver == "anyone":
            return name or account
        if _is_person(name, account):
            return name
        told = f"{name!r} is an account" if name else "nobody was named"
        raise NotApproved(
            f"this registry wants the name of the person who decides ({FILE}: approver: named), and {told}: "
            "say who decides with --who, for example --who 'Ada Lovelace'"
        )


def _is_person(name: str, account: str) -> bool:
    # An account is whatever the machine or the pipeline runs under; several people may be behind it, or none.
    accounts = {"root", "nobody", account.casefold()}
    return any(map(str.isalpha, name)) and name.casefold() not in accounts and not name.startswith("uid ")


def load(root: Path) -> Policy:
    """Read the policy of a registry.

    Args:
        root: The registry's folder.

    Returns:
        The policy; without a file, anyone may change production.

    Raises:
        BadConfig: The file is not a valid policy. Nothing is promoted then, for nobody knows what is asked.
    """
    path = root / FILE
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Policy.model_validate(content if isinstance(content, dict) else {})
    except FileNotFoundError:
        return Policy(approver="anyone")
    except ValidationError as error:
        raise BadConfig(f"{path}: {describe(error)}; write 'approver: named' or 'approver: anyone'") from error
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8
        raise BadConfig(f"{path}: cannot be read ({type(error).__name__})") from error
