"""Simulated power cuts: what a real process wrote and synced is recorded, and the disk after a cut at any point is made up.

`trace` runs a program under strace and keeps every write, size change, name change and sync in order. `disk` is the model
of what a disk holds after a cut: what was synced, and by chance what was not. `workload` is the program that is recorded,
`claims` what must be true of a journal on such a disk.
"""
