"""hawkBit, end to end: the operator's bundle, a server over a socket, a real agent with its children, and a broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from edge_ota import bundle

from tests.agent import Watcher, eventually
from tests.mosquitto import Mosquitto
from tests.system.updating import OTHER_WRITER, UpdatingAgent, outcomes, told_by
from tests.update.hawkbit_stub import hawkbit
from tests.update.whole_updates import Fleet


@pytest.mark.timeout(240)
def test_a_deployment_is_fetched_tried_and_kept_and_the_server_knows(tmp_path: Path, mosquitto: Mosquitto) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.publish(1, OTHER_WRITER)
    made, token = tmp_path / "release.tar", tmp_path / "token"
    assert bundle.main([str(fleet.repository), str(made), "--group", "canary"]) == 0
    token.write_text("secret\n")
    token.chmod(0o600)
    with hawkbit() as server:
        server.sleep = "00:00:05"
        action = server.assign(bundle=made.read_bytes())
        settings = {"url": server.url, "controller_id": "gw-1", "token_file": str(token), "allow_http": True, "poll_min_s": 5.0}
        update = {"repository": {"url": ""}, "hawkbit": settings}
        with (
            UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, update=update) as agent,
            Watcher(mosquitto.port) as watcher,
        ):
            agent.start()
            assert watcher.ask("update-check", {})["status"] == "ok"
            agent.until_ended()
            assert told_by(watcher, "after") == "fleet-1"
            eventually(lambda: not action.is_active, "the server is told")
            eventually(lambda: outcomes(watcher), "the broker is told")
            eventually(lambda: server.attributes.get("edge-agent.release") == "fleet-1", "the device says what it runs")
            assert agent.stop() == 0
    assert outcomes(watcher) == [("fleet-1", "committed")]
    said = [feedback[1:3] for feedback in action.feedback]
    assert said[0] == ("proceeding", "none")
    assert said[-1] == ("closed", "success")
    assert server.authorizations == {"TargetToken secret"}
    # What is small is read by and by, what is large in one request each.
    assert action.downloads < 30
