"""One thread each: screen, explain, deliver, requests, health. Each is an object with a public `step()`, run by one shared loop.

Rules: a worker owns what it changes; workers speak through the journal, through events that only wake, and through the one
queue by which an operator's closing reaches the open incidents.
"""
