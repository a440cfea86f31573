"""The measurements of `edge-agent bench`: each figure beside its comparison, taken in the same run on the same machine.

Rules: the agent that is measured is the real process on a real broker; load comes from a process of its own that cannot be
the bottleneck; a figure carries its unit and how many samples stand behind it; what could not be measured is said, never
left out.
"""
