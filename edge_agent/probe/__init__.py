"""The probe: a release is loaded, tried and measured in a process of its own, before the agent runs it.

A release that is signed and whole may still be bad: built from the wrong weights, with engines that crash, leak or crawl on this
device, or with golden cases that were written by a model that was already broken. What the probe finds is one value, and what
kills the probe kills nothing else. `edge_agent.update.child` starts it as `python -m edge_agent.probe`.

Rules:
* Nothing imports this package. It reads one `ProbeJob` and says one `Probed`; it writes no file and opens no socket.
* What is refused is told in words a person can act on. Where the agent itself would go on without a part, the probe does too.
* A release is judged by what it does: by the golden cases that it brings and by incidents of our own, of every kind.
"""
