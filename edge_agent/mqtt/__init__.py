"""The MQTT side of the agent: one connection to one broker, in both directions.

`link` keeps a connection up and is what other parts use. `connection` is one connection's life, `packets` what it puts into
its packets; these two alone import paho. `inbox` and `outgoing` are the queues between the network thread and the workers.
`pace` and `fates` are the pure part: when to try again, with which protocol, whether a connection that looks alive still
hears anything, and what it means that a message was not confirmed.
"""

from __future__ import annotations

from edge_agent.mqtt.fates import Fate, fate
from edge_agent.mqtt.inbox import Request
from edge_agent.mqtt.link import LinkCounters, MqttLink
from edge_agent.mqtt.outgoing import UserProperties

__all__ = ["Fate", "LinkCounters", "MqttLink", "Request", "UserProperties", "fate"]
