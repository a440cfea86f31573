"""The MQTT side of the agent: one connection to one broker, in both directions.

`link` keeps a connection up and is what other parts use. `connection` is one connection's life and the only module that
imports paho. `inbox` and `outgoing` are the queues between the network thread and the workers. `pace` is the pure part:
when to try again, with which protocol, and whether a connection that looks alive still hears anything.
"""

from __future__ import annotations

from edge_agent.mqtt.inbox import Request
from edge_agent.mqtt.link import LinkCounters, MqttLink

__all__ = ["LinkCounters", "MqttLink", "Request"]
