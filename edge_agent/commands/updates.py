"""`edge-agent update status|check|apply|cancel|rollback|history|trust-anew`: releases, from the command line of the device.

Rules: where an agent runs, it is asked, by a file in its update folder, and its record is watched; it alone changes anything.
Where none runs, the same worker does the same work here, up to the trial, which the agent's next start begins. A terminal sees a
bar, anything else a line for each change. Ctrl-C ends the watching, and the update where it is done here; it goes on later.
"""

from __future__ import annotations

import os
import pwd
import sys
import time
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.commands.update_bar import Bar, standing
from edge_agent.config.settings import Settings
from edge_agent.errors import RecordLostError, RequestError, StorageError
from edge_agent.messages import UpdateState, encode, format_time, update_document
from edge_agent.metrics import Metrics
from edge_agent.update.machine import RUNS_ALREADY, speaks
from edge_agent.update.orders import Apply, Cancel, Check, Order, Orders, RollBack
from edge_agent.update.record import Ended, Held, Record
from edge_agent.update.sources import INBOX
from edge_agent.update.trust import Trust
from edge_agent.workers.keeper import FOLDER, TRUST, Keeper, read_record, record_state
from edge_agent.workers.status_file import read_status, status_paths
from edge_agent.workers.update import UpdateWorker
from edge_agent.workers.updating import sources_for

WATCH_S = 0.25
TAKEN_S = 30.0
"""How long a running agent may take to take up an order."""
LOOK_S = 120.0
"""How long a look may take until something is found."""
FOLDER_LOOK_S = 10.0
"""The same where there is nothing to look at but a folder of this machine."""
SHOWN_OUTCOMES = 3
OFF = "updates are off: `update.group` is not set"


def show_update(settings: Settings, *, as_json: bool) -> int:
    """Print how the update stands. Raises StorageError."""
    state = _state(settings)
    if as_json:
        sys.stdout.flush()
        sys.stdout.buffer.write(msgspec.json.format(encode(update_document(state)), indent=2) + b"\n")
        return 0
    counter = "" if state.counter is None else f", counter {state.counter}"
    print(f"release     {state.release or 'the one inside the package'}{counter}")
    print(f"state       {state.state}" + (f": {state.reason}" if state.reason else ""))
    if state.candidate:
        print(f"candidate   {state.candidate}, counter {state.candidate_counter}, from {state.source}")
    if state.looked_s is not None:
        print(f"last look   {format_time(state.looked_s)}: {state.looked}")
    _print_outcomes(state, SHOWN_OUTCOMES)
    if not settings.update.group:
        print(OFF)
    return 0


def show_history(settings: Settings, *, as_json: bool) -> int:
    """Print how the last updates ended. Raises StorageError."""
    state = _state(settings)
    if as_json:
        sys.stdout.flush()
        sys.stdout.buffer.write(msgspec.json.format(encode(update_document(state)["outcomes"]), indent=2) + b"\n")
    elif not state.outcomes:
        print("no update has ended on this device")
    else:
        _print_outcomes(state, len(state.outcomes))
    return 0


def check(settings: Settings, *, again: bool) -> int:
    """Look at the sources now, and watch what comes of it; the exit code. Raises StorageError, RequestError."""
    _need_group(settings)
    return _ordered(settings, Check(again=again))


def apply(settings: Settings, file: Path) -> int:
    """Take the release in a bundle; the exit code. Raises StorageError, RequestError."""
    _need_group(settings)
    record = _record(settings)
    if record.stage == "trial" and record.candidate is not None and _agent_runs(settings):
        raise RequestError(
            "on-trial",
            f"{record.candidate.held.release} is on trial, and nothing else is taken until that has ended: wait, or end it with"
            " `edge-agent update cancel`",
        )
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "is no regular file" if file.exists() else "there is no such file"
        raise RequestError("no-file", f"{file}: {what}; name a bundle that `edge-ota bundle` made")
    return _ordered(settings, Apply(path=str(file.resolve())))


def cancel(settings: Settings) -> int:
    """Give up what is on its way in, or on trial; the exit code. Raises StorageError, RequestError."""
    candidate = read_record(Path(settings.state_dir)).candidate
    if candidate is None:
        raise RequestError("nothing", "no release is on its way in, or on trial")
    return _ordered(settings, Cancel(ends=candidate.held.manifest_sha256))


def roll_back(settings: Settings) -> int:
    """Go back to the release before the one that runs; the exit code. Raises StorageError, RequestError."""
    leaves = speaks(read_record(Path(settings.state_dir)))
    if leaves is None:
        raise RequestError("nothing", "the release inside the package runs: there is nothing to go back to")
    return _ordered(settings, RollBack(leaves=leaves.manifest_sha256))


def trust_anew(settings: Settings) -> int:
    """Forget what was trusted and start from the factory root; the exit code. Raises StorageError, ReleaseError, RequestError."""
    _need_group(settings)
    if _agent_runs(settings):
        raise RequestError("runs", "the agent runs: stop it first, so that nothing looks meanwhile")
    _need_its_user(settings)
    folder = Path(settings.state_dir) / FOLDER / TRUST
    keeper = Keeper.open(Path(settings.state_dir), SystemClock())
    try:
        Trust(folder, Path(settings.update.root_file).read_bytes()).start_anew()
    except OSError as error:
        raise StorageError(f"{settings.update.root_file}: cannot be read: {error.strerror}") from error
    finally:
        keeper.close()
    print("the repository is trusted from the factory root on; states that this device saw before still bar older ones")
    return 0


def _ordered(settings: Settings, order: Order) -> int:
    """Have an order carried out, by the agent or here, and watch what comes of it."""
    before = _record(settings)
    bar = Bar(sys.stdout)
    try:
        carry_out = _by_the_agent if _agent_runs(settings) else _here
        after = carry_out(settings, order, before, bar)
    finally:
        bar.close()
    return _told(settings, order, before, after)


def _by_the_agent(settings: Settings, order: Order, before: Record, bar: Bar) -> Record:
    orders = Orders(Path(settings.state_dir) / FOLDER)
    name = orders.give(order, SystemClock())
    given_s = time.monotonic()
    untaken, record = before, before
    while orders.is_waiting(name):
        untaken = record
        if time.monotonic() - given_s > TAKEN_S:
            raise RequestError("not-taken", f"the agent did not take the order within {TAKEN_S:g} s; see `edge-agent status`")
        time.sleep(WATCH_S)
        record = _record(settings)
    # A look that ended before the order was taken says nothing of it.
    before = replace(before, looked_count=untaken.looked_count)
    return _watched(settings, order, before, bar)


def _watched(settings: Settings, order: Order, before: Record, bar: Bar) -> Record:
    """The record when what the running agent does about the order is over."""
    until_s = time.monotonic() + _look_s(settings, order)
    while True:
        record = _record(settings)
        bar.show(record_state(record, settings.gateway.id, None), *standing(_folder(settings), record))
        busy = record.stage not in ("idle", "trial")
        if _is_over(order, before, record) or (not busy and time.monotonic() > until_s):
            return record
        time.sleep(WATCH_S)


def _here(settings: Settings, order: Order, before: Record, bar: Bar) -> Record:
    """Carry the order out in this process; the record when that is over, or waits for the agent."""
    _need_its_user(settings)
    clock = SystemClock()
    keeper = Keeper.open(Path(settings.state_dir), clock)
    worker = UpdateWorker(
        keeper=keeper,
        settings=settings.update,
        sources=sources_for(settings, keeper, clock),
        live=None,
        gateway=settings.gateway.id,
        device=settings.writer.device,
        metrics=Metrics(),
        clock=clock,
    )
    try:
        done = worker.ask(order)
        until_s = time.monotonic() + _look_s(settings, order)
        while True:
            worker.step(WATCH_S)
            record = keeper.record
            bar.show(worker.state(), *standing(keeper.folder, record))
            waits = record.stage in ("idle", "trial") and done.done() and not worker.busy
            if done.done() and (_is_over(order, before, record) or (waits and time.monotonic() > until_s)):
                return record
    finally:
        worker.finish()


def _is_over(order: Order, before: Record, now: Record) -> bool:
    """Whether there is nothing more to watch: an outcome, a trial, or a look that found nothing to take."""
    looks = isinstance(order, Check | Apply)
    looked = _looked(before, now)
    if now.stage == "trial" and looks:
        # While a trial is under way nothing is looked at; one that waits for the agent gives way to what is newer.
        return looked or _held(now) != _held(before) or (isinstance(order, Check) and now.boot != "")
    # What was on its way before may end first; whoever named another bundle waits for that one.
    return now.stage == "idle" and (looked if looks else bool(_new(before, now)))


def _told(settings: Settings, order: Order, before: Record, after: Record) -> int:
    """Say what came of it; the exit code."""
    new = _new(before, after)
    for ended in new:
        print(f"{ended.result}: {ended.held.named}" + (f": {ended.reason}" if ended.reason else ""))
    if after.stage == "trial" and after.candidate is not None:
        runs = f"for {settings.update.soak_s:g} s" if _agent_runs(settings) else "from the agent's next start on"
        print(f"on trial: {after.candidate.held.named}, {runs}")
        if isinstance(order, Apply) and _held(after) == _held(before):
            return _told_of_another(order, before, after)
        if isinstance(order, Check) and _held(after) == _held(before) and _looked(before, after):
            print(after.looked)
            return 1 if after.looked_failed else 0
        if isinstance(order, Check | Apply):
            return 0  # what ended gave way to it
    elif not new or (isinstance(order, Apply) and all(ended.held == _held(before) for ended in new)):
        return _told_of_nothing(settings, order, before, after)
    wanted = ("cancelled", "rolled-back") if isinstance(order, Cancel | RollBack) else ("committed",)
    return 0 if new and new[-1].result in wanted else 1


def _told_of_another(order: Apply, before: Record, after: Record) -> int:
    """Say what became of a bundle while a release waits for its trial, or is on it; the exit code: 0 where it holds that one."""
    looked = _looked(before, after)
    held = _held(after)
    if looked and held is not None and after.looked.endswith(held.named):
        return 0
    if looked:
        print(f"{order.path} was not taken: {after.looked}")
    else:
        print(f"{order.path} waits: it is looked at when that trial has ended")
    return 1


def _told_of_nothing(settings: Settings, order: Order, before: Record, after: Record) -> int:
    """Say why nothing was taken; the exit code. Whoever names a bundle wants it to run: that it cannot be taken is a failure."""
    if _looked(before, after):
        print(after.looked)
        wanted = after.looked.endswith(RUNS_ALREADY) if isinstance(order, Apply) else not after.looked_failed
        return 0 if wanted else 1
    if isinstance(order, Cancel | RollBack):
        print("that was done before")
        return 0
    if isinstance(order, Check) and _has_only_a_folder(settings):
        print(f"no bundle waits in {settings.update.inbox or _folder(settings) / INBOX}")
        return 0
    print(f"nothing was found within {_look_s(settings, order):g} s; `edge-agent status` says what stands in the way")
    return 1


def _look_s(settings: Settings, order: Order) -> float:
    return FOLDER_LOOK_S if isinstance(order, Check) and _has_only_a_folder(settings) else LOOK_S


def _has_only_a_folder(settings: Settings) -> bool:
    return not settings.update.repository.url and not settings.update.hawkbit.url


def _record(settings: Settings) -> Record:
    """What is known; nothing where the record was lost, as it is to the agent: the next release begins a new one."""
    try:
        return read_record(Path(settings.state_dir))
    except RecordLostError:
        return Record()


def _held(record: Record) -> Held | None:
    """The release on its way in, or on trial."""
    return None if record.candidate is None else record.candidate.held


def _looked(before: Record, now: Record) -> bool:
    """Whether a look was written down since."""
    return now.looked_count != before.looked_count


def _new(before: Record, now: Record) -> list[Ended]:
    """What ended since; that something was told or reported meanwhile is no new end."""
    known = {(each.held, each.at_s) for each in before.ended}
    return [each for each in now.ended if (each.held, each.at_s) not in known]


def _state(settings: Settings) -> UpdateState:
    return record_state(read_record(Path(settings.state_dir)), settings.gateway.id, None)


def _print_outcomes(state: UpdateState, most: int) -> None:
    for outcome in state.outcomes[-most:]:
        why = f": {outcome.reason}" if outcome.reason else ""
        print(f"{outcome.outcome:<11} {outcome.release}, counter {outcome.counter}, {format_time(outcome.at_s)}{why}")


def _need_group(settings: Settings) -> None:
    if not settings.update.group:
        raise RequestError("updates-off", f"{OFF}; see docs/updates.md")


def _need_its_user(settings: Settings) -> None:
    """Raises RequestError where root would write what the agent, whose state folder it is, could not read afterwards."""
    folder = Path(settings.state_dir)
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat().st_uid) == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise RequestError(
        "other-user",
        f"the agent does not run, and {folder} is {name}'s, who could not read what root writes there: start the agent first,"
        f" or run this command as that user, with `runuser -u {name} -- edge-agent update ...`",
    )


def _agent_runs(settings: Settings) -> bool:
    paths = status_paths(settings.runtime_dir, settings.state_dir, settings.gateway.id)
    return read_status(paths, settings.state_dir) is not None


def _folder(settings: Settings) -> Path:
    return Path(settings.state_dir) / FOLDER
