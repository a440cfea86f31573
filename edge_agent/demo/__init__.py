"""The demonstration: live metrics of this host and a simulated pump line through a real broker into a real agent.

Rules: nothing here is used by the agent itself; everything that is started is stopped, whatever happens in between.
"""
