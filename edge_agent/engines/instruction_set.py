"""What the writer computes with here: the processor's vector instructions and the matrix library, as one name.

INT8 answers are the same from run to run, but not from one of these to another, so that what was measured on one says nothing
of the next. CTranslate2 does not tell its choice except in its log; this module makes the same choice from the same facts: the
processor's flags and the two variables by which CTranslate2 can be overruled, `CT2_FORCE_CPU_ISA` and `CT2_USE_MKL`.

Rules: files are read here and nowhere else in it; what cannot be read makes the name `unknown`, which no certificate has.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_NVIDIA = ("/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu")
"""One of these is there where there is a GPU that `auto` would take."""
_MATRIX_UNITS = (
    ("amx_int8", "amx"),
    ("avx512_vnni", "avx512vnni"),
    ("avx_vnni", "avxvnni"),
    ("avx512bw", "avx512"),
    ("avx2", "avx2"),
)
"""Flags by which the matrix libraries choose their INT8 code, the widest first."""


def instruction_set(device: str = "cpu") -> str:
    """The name for this machine. `device` is `cpu`, `cuda` or `auto`, as for the writer."""
    if device == "cuda" or (device == "auto" and any(Path(node).exists() for node in _NVIDIA)):
        return "cuda"
    try:
        cpuinfo = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    return name_of(platform.machine(), cpuinfo, os.environ)


def name_of(machine: str, cpuinfo: str, environ: Mapping[str, str]) -> str:
    """The name for a processor, from the machine's name and the text of `/proc/cpuinfo`; such as `x86_64/avx2/dnnl-avx2`."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    if found is None:
        return f"{machine}/unknown"
    flags = set(found[1].split())
    if machine == "aarch64":
        return f"{machine}/neon/ruy{'-dotprod' if 'asimddp' in flags else ''}"
    kernels = environ.get("CT2_FORCE_CPU_ISA", "").lower() or next((isa for isa in ("avx2", "avx") if isa in flags), "generic")
    unit = next((name for flag, name in _MATRIX_UNITS if flag in flags), "sse")
    return f"{machine}/{kernels}/{_library(cpuinfo, environ)}-{unit}"


def _library(cpuinfo: str, environ: Mapping[str, str]) -> str:
    forced = environ.get("CT2_USE_MKL", "").lower()
    uses_mkl = forced in ("1", "true") if forced else re.search(r"^vendor_id\s*: GenuineIntel$", cpuinfo, re.MULTILINE)
    return "mkl" if uses_mkl else "dnnl"
