"""Power cuts during updates on a real file system: what survives is up to the kernel, not to a model of it.

`image` is a small ext4 image that can lose what was not synced; `device` is a gateway that takes a release with all work in one
process; `server` runs it, as often as it is asked to; `strace` kills it at a chosen system call.
"""
