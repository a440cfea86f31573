"""An Eclipse hawkBit server as a source of bundles (Direct Device Integration API, version 1; see `ddi`).

    poll -> deploymentBase -> lead -> ... the record ... -> ended -> feedback `closed`
         -> cancelAction   -> withdrawn -> ended -> the cancellation is confirmed; or it is rejected, because it came too late
         -> configData     -> what this device is

Rules:
* hawkBit decides when a bundle is tried and is told how that ended; whether the bundle is believed is none of its business, and
  its checksums are not looked at.
* `closed` is said of what the record says ended, or of what never came into it: a bundle that cannot be used, or runs already. It
  is said until the server takes it, over weeks and restarts. A server that neither knows the action nor offers it needs no
  telling.
* Nothing is kept here over a restart: what counts stands in the record, and the server shows the rest again.
* The token goes to the configured server alone. A bundle elsewhere is fetched without it, and without this device's certificate.
* One exchange at a time, begun and taken up in passing (`courier`): no call here waits.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections import deque
from collections.abc import Callable, Mapping

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import HawkbitSettings
from edge_agent.errors import RepositoryRefusedError
from edge_agent.update import Lead, Verdict, ddi
from edge_agent.update.artifact import place_of
from edge_agent.update.closings import LATER, Closing, Closings, Part
from edge_agent.update.courier import Courier, Reply, Request
from edge_agent.update.pace import Pace, Uniform
from edge_agent.update.record import Ended

NAME = "hawkbit"
POLL_S = 300.0
"""Where the server does not say how often it wants to be asked."""
MAX_POLL_S = 86_400.0
RETRY_MIN_S = 15.0
RETRY_MAX_S = 3_600.0
MAX_REFUSALS = 3
"""After so many a bundle that is not believed is given up."""
MAX_NOTES = 20
"""Words on its way said of one action. A server takes only so many of one."""
MAX_COMPLAINTS = 64
MAX_TAG_CHARACTERS = 200
_SCHEMES: Mapping[str, str] = {"target": "TargetToken", "gateway": "GatewayToken"}
_OK, _NOT_MODIFIED = 200, 304

_log = logging.getLogger(__name__)


class _Errand(Struct, frozen=True):
    """An exchange, and what follows."""

    request: Request
    then: Callable[[Reply], None]


class _Work:
    """What is known of the one action that is worked on. Begun anew with each action, and with each start."""

    def __init__(self, id: str, pace: Pace) -> None:
        self.id = id
        self.pace = pace
        self.refusals = 0
        self.given_up = ""
        """Why it ends without having become a candidate, in words; empty while it goes on."""
        self.finished: ddi.Finished = "failure"
        self.notes: set[str] = set()


class Hawkbit:
    """See `update.Source`."""

    name = NAME

    def __init__(
        self,
        settings: HawkbitSettings,
        controller_id: str,
        clock: Clock,
        rng: Uniform,
        attributes: Callable[[], Mapping[str, str]],
    ) -> None:
        """`settings.url` is given. `attributes` says what the server may know of this device."""
        self._settings = settings
        self._base = f"{settings.url.rstrip('/')}/{settings.tenant}/controller/v1/{settings.controller_id or controller_id}"
        self._mark = f"{zlib.crc32(self._base.encode()):08x}"
        """Of the server, tenant and device that numbers of actions belong to."""
        self._clock = clock
        self._rng = rng
        self._attributes = attributes
        self._scheme = _SCHEMES[settings.token_kind] if settings.token_file else ""
        self._courier = Courier(
            clock, tls=settings.tls, authorization_file=settings.token_file, authorization_scheme=self._scheme
        )
        self._then: Callable[[Reply], None] | None = None
        self._errands: deque[_Errand] = deque()
        self._pace = Pace(
            clock, rng, max(POLL_S, settings.poll_min_s), retry_min_s=RETRY_MIN_S, retry_max_s=RETRY_MAX_S
        )  # fmt: skip
        self._closings = Closings(clock, rng)
        self._work: _Work | None = None
        self._offer: ddi.Deployment | None = None
        self._seen: tuple[str, ddi.Deployment] | None = None
        """The last deployment, with its entity tag."""
        self._wants_offer = False
        self._out = ""
        """The action that a lead was given for and not told about."""
        self._in_hand = ""
        self._hand_is_fresh = False
        self._cancels = ""
        """The action that the server wants to be cancelled."""
        self._said: dict[str, str] | None = None
        self.trouble = ""
        self._failing = ""
        """Why the last poll failed, in words; empty where it did not."""
        self._polled_s = -math.inf
        self._complaints: set[str] = set()

    def lead(self) -> Lead | None:
        """See `Source.lead`. What ended was told before, in the same step, so that it is known here."""
        self._step()
        self._close_given_up()
        self._confirm_unknown()
        offer, self._offer = self._offer, None
        if offer is None or self._out or self._closings.knows(offer.id):
            return None
        work = self._working_on(offer.id)
        if work.given_up:
            return None
        if not offer.starts:
            self._note(work, "scheduled", "waits for its maintenance window")
            return None
        if not work.pace.is_due():
            self._wants_offer = True
            return None
        try:
            place = place_of(offer, self._settings, self._scheme)
        except RepositoryRefusedError as error:
            self._finish(work, "failure", error.detail)
            return None
        self._out = offer.id
        work.pace.asks()
        self._note(work, "proceeding", f"{offer.name} is looked at")
        ticket = f"{offer.id}.{self._mark}"
        return Lead(source=NAME, ticket=ticket, place=place, tell=lambda verdict, words="": self._told(work, verdict, words))

    def withdrawn(self, ticket: str) -> str:
        """See `Source.withdrawn`."""
        id = self._in_hand = self._id_in(ticket)
        self._hand_is_fresh = True
        self._step()
        if not id:
            return ""
        if id == self._cancels:
            return f"hawkBit cancelled the action {id}"
        return self._work.given_up if self._work is not None and self._work.id == id else ""

    def ended(self, ended: Ended) -> bool:
        """See `Source.ended`."""
        id = self._id_in(ended.ticket)
        if not id or self._closings.was_told(id):
            return True
        if self._out == id:
            self._out = ""
        words = (f"{ended.held.release} (counter {ended.held.counter}): {ended.result}", ended.reason)
        closes = Part("deployment", "closed", "success" if ended.result == "committed" else "failure", words)
        parts: tuple[Part, ...]
        match ended.result:
            case "committed" if id == self._cancels:
                parts = (Part("cancel", "rejected", "failure", ("it came too late",)), closes)
            case "cancelled":
                # Where the server did not ask for that, it has nothing to confirm, and takes it as a failure.
                parts = (Part("cancel", "closed", "success", words), closes)
            case _:
                parts = (closes,)
        self._close(Closing(id, parts))
        self._step()
        return self._closings.was_told(id)

    def hint(self) -> None:
        """See `Source.hint`."""
        self._pace.hint()

    def close(self) -> None:
        """See `Source.close`."""
        self._courier.close()

    def _id_in(self, ticket: str) -> str:
        """The number of the action that a ticket of this server stands for; empty for another's."""
        id, _, mark = ticket.partition(".")
        return id if mark == self._mark and ddi.is_action(id) else ""

    def _step(self) -> None:
        """Take up the exchange under way where it has ended, then begin the next."""
        if self._then is not None:
            reply = self._courier.take()
            if reply is None:
                return
            then, self._then = self._then, None
            then(reply)
        errand = self._next()
        if errand is not None:
            self._then = errand.then
            self._courier.send(errand.request)

    def _next(self) -> _Errand | None:
        due = self._closings.next()
        if due is not None:
            closing, part = due
            return _Errand(self._feedback(closing.id, part), lambda reply: self._closings.answered(closing, reply))
        if self._errands:
            return self._errands.popleft()
        if self._pace.is_due() or self._asks_again():
            self._pace.asks()
            self._polled_s = self._clock.monotonic_s()
            self._wants_offer = False
            return _Errand(Request(url=self._base), self._polled)
        return None

    def _asks_again(self) -> bool:
        """Whether a deployment is waited for that was not carried out. However many there are, the server's pace is kept."""
        work = self._work
        is_wanted = self._wants_offer and work is not None and work.pace.is_due() and not self._pace.is_failing
        return is_wanted and self._clock.monotonic_s() - self._polled_s >= self._settings.poll_min_s

    def _polled(self, reply: Reply) -> None:
        if reply.status != _OK:
            self._fails(reply)
            return
        try:
            root = ddi.parse_root(reply.body)
        except RepositoryRefusedError as error:
            self._fails(Reply(problem=error.detail))
            return
        self._complaints.discard(self._failing)
        self._failing = self.trouble = ""
        asked_s = root.sleep_s if root.sleep_s is not None else POLL_S
        self._pace.every_s = min(max(asked_s, self._settings.poll_min_s), MAX_POLL_S)
        self._pace.answered()
        if root.waits_for_confirmation:
            self._complain("hawkBit waits for a confirmation, which this agent does not give: activate auto-confirmation there")
        for action in (root.cancel, root.deployment):
            if action is not None:
                self._closings.offered(action.id)
        if self._offer is not None and (root.deployment is None or root.deployment.id != self._offer.id):
            self._offer = None
        if root.cancel is None:
            self._cancels = ""
        elif root.cancel.id != self._cancels:
            self._errands.append(_Errand(Request(url=f"{self._base}/cancelAction/{root.cancel.id}"), self._cancelled))
        if root.deployment is not None:
            self._ask_deployment(root.deployment)
        self._tell_attributes(wanted=root.wants_attributes)

    def _cancelled(self, reply: Reply) -> None:
        if reply.status != _OK:
            return
        try:
            self._cancels = ddi.parse_cancel(reply.body)
        except RepositoryRefusedError as error:
            self._complain(error.detail)

    def _ask_deployment(self, action: ddi.Action) -> None:
        """See what is to be deployed, unless it is known to have ended."""
        if self._closings.knows(action.id):
            return
        url = f"{self._base}/deploymentBase/{action.id}" + (f"?c={action.resource}" if action.resource else "")
        same = self._seen is not None and self._seen[1].id == action.id
        headers = {"If-None-Match": self._seen[0]} if self._seen is not None and same and self._seen[0] else {}
        self._errands.append(_Errand(Request(url=url, headers=headers), lambda reply: self._deployment(action.id, reply)))

    def _deployment(self, id: str, reply: Reply) -> None:
        if reply.status == _NOT_MODIFIED and self._seen is not None and self._seen[1].id == id:
            self._offer = self._seen[1]
            return
        if reply.status in LATER or reply.status >= 500:
            self._pace.rests(reply.retry_after_s)  # with each poll it is asked for once
            self._complain(self._why(reply))
            return
        if reply.status != _OK:
            return  # it is gone, or is being cancelled: the next poll tells
        try:
            self._offer = ddi.parse_deployment(reply.body, id)
        except RepositoryRefusedError as error:
            if error.reason == ddi.UNSUITABLE:
                self._finish(self._working_on(id), "failure", error.detail)
            else:
                self._complain(error.detail)  # whatever stands between us and the server may have said it
            return
        self._seen = reply.tag if len(reply.tag) <= MAX_TAG_CHARACTERS else "", self._offer

    def _tell_attributes(self, *, wanted: bool) -> None:
        values = dict(self._attributes())
        if wanted or (self._said is not None and self._said != values):
            request = Request(
                method="PUT", url=f"{self._base}/configData", body=ddi.attributes(values, ddi.time_of(self._clock.now_s()))
            )
            self._errands.append(_Errand(request, lambda reply: self._said_attributes(values, reply)))

    def _said_attributes(self, values: dict[str, str], reply: Reply) -> None:
        if reply.status == _OK:
            self._said = values

    def _told(self, work: _Work, verdict: Verdict, words: str) -> None:
        self._out = ""
        self._hand_is_fresh = False
        match verdict:
            case Verdict.taken:
                self._note(work, "downloaded", words)
            case Verdict.runs:
                self._finish(work, "success", words or "it runs already")
            case Verdict.nothing:
                self._finish(work, "failure", words or "the bundle has no release for this device's group")
            case Verdict.unwanted:
                self._finish(work, "failure", words or "the release is not taken")
            case Verdict.refused if work.refusals + 1 >= MAX_REFUSALS:
                self._finish(work, "failure", words)
            case Verdict.refused | Verdict.failed:
                work.refusals += verdict is Verdict.refused
                work.pace.failed()
                self._wants_offer = True
                self._note(work, "proceeding", words)

    def _finish(self, work: _Work, finished: ddi.Finished, words: str) -> None:
        """The action ends, by what is found here and not by the record."""
        work.given_up, work.finished = words, finished

    def _close_given_up(self) -> None:
        """Say so of the action that ended here. One that is a candidate is withdrawn first, and ends by the record."""
        work = self._work
        if work is not None and work.given_up and self._hand_is_fresh and work.id != self._in_hand:
            self._close(Closing(work.id, (Part("deployment", "closed", work.finished, (work.given_up,)),)))

    def _confirm_unknown(self) -> None:
        """A cancellation of what was never begun, or came to nothing, is confirmed."""
        id = self._cancels
        if id and self._hand_is_fresh and id not in (self._in_hand, self._out) and not self._closings.knows(id):
            self._close(Closing(id, (Part("cancel", "closed", "success", ("it was not begun",)),), may_come_again=True))
            self._cancels = ""

    def _close(self, closing: Closing) -> None:
        if self._closings.knows(closing.id):
            return
        self._closings.add(closing)
        if self._offer is not None and self._offer.id == closing.id:
            self._offer = None

    def _working_on(self, id: str) -> _Work:
        if self._work is None or self._work.id != id:
            pace = Pace(self._clock, self._rng, 0.0, retry_min_s=RETRY_MIN_S, retry_max_s=RETRY_MAX_S)
            self._work = _Work(id, pace)
        return self._work

    def _note(self, work: _Work, execution: ddi.Execution, words: str) -> None:
        """Say how it goes, once and no more often than needs be: it does not matter whether that arrives."""
        note = f"{execution} {words}"
        if note not in work.notes and len(work.notes) < MAX_NOTES:
            work.notes.add(note)
            part = Part("deployment", execution, "none", (words,))
            self._errands.append(_Errand(self._feedback(work.id, part), lambda reply: None))

    def _feedback(self, id: str, part: Part) -> Request:
        resource = "cancelAction" if part.to == "cancel" else "deploymentBase"
        body = ddi.feedback(id, part.execution, part.finished, part.details, ddi.time_of(self._clock.now_s()))
        return Request(method="POST", url=f"{self._base}/{resource}/{id}/feedback", body=body)

    def _fails(self, reply: Reply) -> None:
        self._pace.failed(reply.retry_after_s)
        self._failing = self._why(reply)
        if reply.status in _FOR_PEOPLE:
            self.trouble = self._failing
        self._complain(self._failing)

    def _why(self, reply: Reply) -> str:
        return reply.problem or f"{self._settings.url}: status {reply.status}{_WHY.get(reply.status, '')}"

    def _complain(self, text: str) -> None:
        """Tell people, once."""
        if text not in self._complaints:
            if len(self._complaints) >= MAX_COMPLAINTS:
                self._complaints.clear()
            self._complaints.add(text)
            _log.warning("hawkbit: %s", text)


_WHY: Mapping[int, str] = {
    401: ": it does not know the token; see `update.hawkbit.token_file` and `token_kind`",
    403: ": it does not let this device in",
    404: ": it knows no such tenant or device; see `update.hawkbit.tenant` and `controller_id`",
    429: ": it is asked too often; see `update.hawkbit.poll_min_s`",
}
_FOR_PEOPLE = frozenset({401, 403, 404})
"""What does not pass by waiting."""
