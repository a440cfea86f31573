"""Commands that look at an agent's files from outside, or use a part of it once: what `cli` dispatches to, by subject.

Rules: they read and print; nothing here writes into the state folder, and all of it works while the agent runs.
"""
