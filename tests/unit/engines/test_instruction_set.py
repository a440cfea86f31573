"""The name of what the writer computes with: as CTranslate2 itself chooses, and different wherever its answers may differ."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import pytest

from edge_agent.engines.instruction_set import instruction_set, name_of
from edge_agent.engines.loading import FACTORY

AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu sse avx avx2 avx512bw\n"
INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse avx avx2 avx512bw avx512_vnni\n"
ATOM = "vendor_id\t: GenuineIntel\nflags\t\t: fpu sse sse2\n"
PI4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
PI5 = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "environ", "name"),
    [
        ("x86_64", AMD, {}, "x86_64/avx2/dnnl-avx512"),
        ("x86_64", INTEL, {}, "x86_64/avx2/mkl-avx512vnni"),
        ("x86_64", INTEL, {"CT2_USE_MKL": "0"}, "x86_64/avx2/dnnl-avx512vnni"),
        ("x86_64", AMD, {"CT2_USE_MKL": "1", "CT2_FORCE_CPU_ISA": "GENERIC"}, "x86_64/generic/mkl-avx512"),
        ("x86_64", ATOM, {}, "x86_64/generic/mkl-sse"),
        ("aarch64", PI4, {}, "aarch64/neon/ruy"),
        ("aarch64", PI5, {}, "aarch64/neon/ruy-dotprod"),
        ("aarch64", "", {}, "aarch64/unknown"),
    ],
)
def test_a_processor_has_a_name(machine: str, cpuinfo: str, environ: dict[str, str], name: str) -> None:
    assert name_of(machine, cpuinfo, environ) == name


def test_a_gpu_is_another_machine() -> None:
    assert instruction_set("cuda") == "cuda"


def _chosen(**environ: str) -> tuple[str, str]:
    """The instruction set and the INT8 matrix library that CTranslate2 says it chose, in small letters."""
    load = f"import ctranslate2; ctranslate2.Generator({str(FACTORY / 'writer')!r}, device='cpu', compute_type='int8')"
    told = subprocess.run(
        [sys.executable, "-c", load],
        env={**os.environ, "CT2_VERBOSE": "1", **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr
    kernels, library = re.search(r"Selected ISA: (\w+)", told), re.search(r"GEMM_S8 backend: (\w+)", told)
    assert kernels is not None
    assert library is not None
    return kernels[1].lower(), library[1].lower()


def test_the_choice_is_the_one_that_the_library_makes() -> None:
    kernels, library = _chosen()
    here = instruction_set().split("/")
    assert here[:2] == [platform.machine(), kernels]
    assert here[2].partition("-")[0] == library


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable names instruction sets of x86")
def test_a_choice_that_was_overruled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT2_FORCE_CPU_ISA", "GENERIC")
    kernels, _ = _chosen(CT2_FORCE_CPU_ISA="GENERIC")
    assert instruction_set().split("/")[1] == kernels == "generic"
