"""The MQTT topics of one gateway, below `<root>/<gateway>/`.

Rules: a stream's name keeps its `/` as topic levels; what may not stand in a topic that is published to is
percent-encoded (MQTT 5.0, sections 1.5.4 and 4.7), so that two streams never share a topic. Names that are too long for
a topic are cut and end in a hash of the whole.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from urllib.parse import unquote

from msgspec import Struct

MAX_STREAM_BYTES = 1_024
"""Longest escaped stream name in a topic; brokers refuse topics far shorter than the protocol's 65,535 bytes."""
_CUT_HASH_DIGITS = 16
_CUT = "%~"
"""Stands before the hash of a name that was cut. No name that is whole has it: its `%` is always followed by two digits."""
_PARTIAL_ESCAPE = re.compile("%[0-9A-F]?$")


class Topics(Struct, frozen=True):
    """The topics of the gateway `gateway` below `root`, which may have several levels."""

    root: str
    gateway: str

    @property
    def base(self) -> str:
        """What all topics of this gateway begin with, without a `/` at its end."""
        return f"{self.root}/{self.gateway}"

    @property
    def status(self) -> str:
        """`online`, `stopped` or `offline`; the Will's topic."""
        return f"{self.base}/status"

    @property
    def health(self) -> str:
        """The health document."""
        return f"{self.base}/health"

    @property
    def info(self) -> str:
        """The effective configuration and its schema."""
        return f"{self.base}/info"

    @property
    def summary(self) -> str:
        """The latest summary of any incident."""
        return f"{self.base}/summary"

    @property
    def drops(self) -> str:
        """What was given up, by reason."""
        return f"{self.base}/drops"

    @property
    def update(self) -> str:
        """The state of the update machine."""
        return f"{self.base}/update"

    @property
    def update_outcome(self) -> str:
        """How each update ended, once."""
        return f"{self.base}/update/outcome"

    @property
    def question(self) -> str:
        """Where questions to a stronger model are published, unless another topic is configured for them."""
        return f"{self.base}/question"

    @property
    def telemetry(self) -> str:
        """Counts about the agent itself, where that is switched on."""
        return f"{self.base}/telemetry"

    @property
    def requests(self) -> str:
        """The filter to subscribe to for requests."""
        return f"{self.base}/request/+"

    def anomaly(self, stream: str) -> str:
        """Where the anomalies of a stream are published."""
        return f"{self.base}/anomaly/{escape_stream(stream)}"

    def incident(self, incident_id: str) -> str:
        """Where an incident is published."""
        return f"{self.base}/incident/{incident_id}"

    def summary_of(self, incident_id: str) -> str:
        """Where the summaries of one incident are published."""
        return f"{self.base}/summary/{incident_id}"

    def escalation(self, incident_id: str) -> str:
        """Where the fate of an incident's escalation is published."""
        return f"{self.base}/escalation/{incident_id}"

    def request(self, command: str) -> str:
        """Where a request for `command` is sent."""
        return f"{self.base}/request/{command}"

    def response(self, command: str) -> str:
        """Where a request for `command` is answered."""
        return f"{self.base}/response/{command}"

    def command_of(self, topic: str) -> str | None:
        """The command of a request that arrived on `topic`; None if it is no request's topic."""
        prefix = f"{self.base}/request/"
        command = topic.removeprefix(prefix)
        return command if topic.startswith(prefix) and command and "/" not in command else None


def escape_stream(stream: str) -> str:
    """A stream's name as topic levels. Different names give different results."""
    escaped = "".join(_escape(character) for character in stream)
    if stream.startswith("$"):
        escaped = "%24" + escaped[1:]
    if len(escaped.encode()) <= MAX_STREAM_BYTES:
        return escaped
    digest = sha256(stream.encode("utf-8", "surrogatepass")).hexdigest()[:_CUT_HASH_DIGITS]
    kept = escaped.encode()[: MAX_STREAM_BYTES - len(_CUT) - _CUT_HASH_DIGITS].decode("utf-8", "ignore")
    return _PARTIAL_ESCAPE.sub("", kept) + _CUT + digest


def unescape_stream(levels: str) -> str:
    """The stream's name from its topic levels; what `escape_stream` cut is not brought back."""
    return unquote(levels, errors="surrogatepass")


def _escape(character: str) -> str:
    if character in "+#%" or unicodedata.category(character) in ("Cc", "Cs"):
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
    return character
