"""A file on a web server that is read in pieces, by requests for a range of it (RFC 9110, section 14).

Rules:
* Many pieces are asked for at once and read one after the other, as they are wanted: a request for each costs a way there and
  back, and servers may count them (hawkBit writes each down, and takes a thousand for one deployment).
* A piece may come back shorter than asked for, where the connection broke off: what came is kept, and whoever reads asks for the
  rest. Who gets nothing is told why.
* The strong entity tag of the first answer goes with all later requests (`If-Range`): where it has changed, the file is not the
  one that was begun, which is said, and forgotten, so that whoever starts over gets the new one.
* A server that ignores ranges sends the file from its beginning: that is read on as long as the pieces follow each other. To get
  to a later place at most `MAX_SKIPPED_BYTES` are thrown away; a larger file is then fetched without a break or not at all.
* A server whose answers break off after a few bytes, again and again, is left alone for a while by whoever reads: each request
  costs more than it brings, and what connections cost stands in no allowance.
* Which bytes come is not believed: the status, `Content-Range` and the place must fit what was asked for, and that only saves
  time, because whoever reads compares digests.
"""

from __future__ import annotations

import http.client
import re

from edge_agent.errors import LinkError, RepositoryRefusedError
from edge_agent.update.exchange import Answer, Web, shown

MAX_SKIPPED_BYTES = 16 << 20
FEW_BYTES = 4_096
MAX_SHORT = 8
"""Answers in a row with less than `FEW_BYTES`, and less than was asked for."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:[0-9]{1,18}|\*)")


class Ranged:
    """One file. Whoever makes it closes it."""

    def __init__(self, web: Web, url: str) -> None:
        self._web = web
        self._url = url
        self._name = shown(url)
        self._tag = ""
        self._answer: Answer | None = None
        """The one that is read on."""
        self._offset = 0
        """Where that stands in the file."""
        self._left: int | None = None
        """How much of the file it still has; None: all that follows."""
        self._wanted, self._got = 0, 0
        """Bytes of the last answer."""
        self._short = 0

    def read(self, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """`length` bytes at most, at `offset`; one at least. `until`: as far as pieces will follow, where that is further on.

        Raises LinkError, RepositoryRefusedError (`changed`) where the file is not any more what was read before.
        """
        kept = self._answer if self._offset == offset else None
        if kept is not None:
            kept.renew(timeout_s)
        else:
            self.close()
        answer = kept or self._asked(offset, max(offset + length, until), timeout_s)
        data = bytearray()
        try:
            self._collect(answer, data, length)
        except LinkError as error:
            self.close()
            if kept is not None and not data and not isinstance(error.__cause__, TimeoutError):
                # It ended between two pieces, as a kept connection does: one more request tells whether the way is gone.
                return self.read(offset, length, timeout_s, until)
            if not data:
                raise
        if not data:
            self.close()
            raise LinkError(f"{self._name}: ended at {offset} or before")
        self._got += len(data)
        return bytes(data)

    def close(self) -> None:
        """The rest of the answer is not wanted. May be read from again."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def _collect(self, answer: Answer, data: bytearray, length: int) -> None:
        """Fill `data` from the answer; close the answer where it is at its end."""
        while len(data) < length and self._left != 0:
            part = answer.read(min(length - len(data), self._left or length))
            if not part:
                self._left = 0
            data += part
            self._offset += len(part)
            self._left = None if self._left is None else self._left - len(part)
        if self._left == 0:
            self.close()

    def _asked(self, offset: int, end: int, timeout_s: float) -> Answer:
        """A new answer, which stands at `offset`. Raises LinkError, also after too many that had next to nothing."""
        self._short = self._short + 1 if self._got < min(self._wanted, FEW_BYTES) else 0
        self._wanted = self._got = 0
        if self._short > MAX_SHORT:
            self._short = 0
            raise LinkError(f"{self._name}: breaks off after a few bytes, again and again")
        headers = {"Range": f"bytes={offset}-{end - 1}"}
        if self._tag:
            headers["If-Range"] = self._tag
        answer = self._answer = self._web.get(self._url, timeout_s, headers)
        try:
            self._same(answer)
            self._place(answer, offset, end)
        except BaseException:
            self.close()
            raise
        self._wanted = end - offset
        return answer

    def _place(self, answer: Answer, offset: int, end: int) -> None:
        """Get to `offset`. Raises LinkError."""
        if answer.status == http.client.PARTIAL_CONTENT:
            self._offset, self._left = offset, self._range(answer, offset, end)
        elif answer.status == http.client.OK:
            self._offset, self._left = 0, None
            self._skip(answer, offset)
        else:
            raise LinkError(f"{self._name}: status {answer.status}{_WHY.get(answer.status, '')}")

    def _same(self, answer: Answer) -> None:
        """Raises RepositoryRefusedError where this is not the file that was begun."""
        tag = answer.header("ETag")
        strong = tag if tag.startswith('"') else ""
        begun, self._tag = self._tag, strong or self._tag
        whole = answer.status == http.client.OK
        if begun and (strong or whole) and strong != begun and answer.status < http.client.MULTIPLE_CHOICES:
            self._tag = ""
            raise RepositoryRefusedError("changed", f"{self._name}: changed on the server while it was read")

    def _range(self, answer: Answer, offset: int, end: int) -> int:
        """How much of the file the answer has. Raises LinkError where it is not at the place that was asked for."""
        stated = answer.header("Content-Range")
        matched = _CONTENT_RANGE.fullmatch(stated)
        if matched is None or int(matched[1]) != offset or not offset <= int(matched[2]) < end:
            raise LinkError(f"{self._name}: {stated[:80]!r} is not the range that was asked for")
        return int(matched[2]) - offset + 1

    def _skip(self, answer: Answer, offset: int) -> None:
        """Read the file from its beginning and throw it away up to `offset`. Raises LinkError."""
        if offset > MAX_SKIPPED_BYTES:
            raise LinkError(
                f"{self._name}: the server knows no ranges: {offset} bytes would be fetched again; use one that does, or a bundle"
            )
        while self._offset < offset:
            part = answer.read(offset - self._offset)
            if not part:
                raise LinkError(f"{self._name}: ended at {self._offset}, before {offset}")
            self._offset += len(part)


_WHY: dict[int, str] = {
    301: ": redirects are not followed, name the address that it leads to",
    302: ": redirects are not followed, name the address that it leads to",
    307: ": redirects are not followed, name the address that it leads to",
    308: ": redirects are not followed, name the address that it leads to",
    401: ": it wants to know who asks",
    403: ": it does not let this gateway read",
    404: ": there is no such file",
    416: ": the file is shorter than what is looked for in it",
}
