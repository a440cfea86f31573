"""`edge-agent replay IN.csv`: the agent's own detection, grouping and sentences over a recording, to the byte.

`table` reads the recording, `run` detects and groups, `recorder` writes sentences and the log of decisions, `output` puts it into
files, `command` is the command, `compare` is `edge-agent audit replay`.

Rules: deterministic and strictly online: what is said of row n depends on rows up to n only, and the same file, settings and
release give the same bytes in every process on the same kind of processor. No journal, no memory, no clock is read.
"""
