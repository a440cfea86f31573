"""What every document that may leave has in common: it is built anew by type, or nothing of it leaves.

Rules: pure; fails closed. An error never quotes what was in the document: the text of an error goes to logs, which may leave the
device in other ways.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct

from edge_agent.errors import EgressError

_T = TypeVar("_T", bound=Struct)


def rebuilt(value: object, kind: type[_T], called: str) -> _T:
    """The value made again from plain values, by type: what is written of it holds nothing that the types do not name.

    `kind` refuses unknown members; it is given and not taken from the value, which may be of a wider type. `called` is what
    it is in errors. Raises EgressError for a member that `kind` does not know, or of another type.
    """
    try:
        return msgspec.convert(msgspec.to_builtins(value), kind)
    except (msgspec.MsgspecError, TypeError, RecursionError, UnicodeError):
        raise refusal(called, "has a member that the schema does not know, or of another type") from None


def refusal(called: str, what: str) -> EgressError:
    """The error about a document of ours that is not what its schema allows."""
    return EgressError(f"{called}: {what}; it did not leave. This is a defect of edge-agent, please report it")
