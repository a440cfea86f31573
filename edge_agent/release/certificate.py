"""A release's certificate: on which machine the writer's published texts were measured, and how few of them were wrong.

Rules: pure; a certificate speaks of one writer with one tokenizer, lexicon, confidence rule, prompt and verifier, and of the
processors that it was measured on; of anything else it says nothing. Its own counts must bear out the threshold it names. How
it is measured stands in `docs/formats/release.md`; the test is that of Angelopoulos et al. 2021, "Learn then Test".
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import ReleaseError
from edge_agent.release.manifest import Manifest, Sha256

CERTIFICATE_NAME = "certificate.json"
MAX_CERTIFICATE_BYTES = 1 << 20
STILL = "the verifier still decides every sentence"
"""What holds where a certificate does not."""

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]


class Speaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides a writer's texts, apart from the machine that it runs on."""

    writer_sha256: Sha256
    """Of `writer/model.bin`."""
    tokenizer_sha256: Sha256
    lexicon_sha256: Sha256
    rule_sha256: Sha256
    """Of `confidence.json`."""
    compute_type: str
    prompt_version: int
    verifier_version: int


class Machine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a writer runs on: INT8 answers may differ between these."""

    instruction_set: str
    """Processor family, vector instructions and matrix library, such as `x86_64/avx2/dnnl-avx2`."""
    runtime: str
    """The inference library with major and minor version, such as `ctranslate2 4.8`."""


class Key(Struct, frozen=True):
    """What a certificate has to be about in order to hold for a running engine."""

    speaker: Speaker
    machine: Machine


class Counted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was counted with one threshold."""

    threshold: Annotated[float, Meta(ge=0, le=1)]
    texts: Count
    """Texts with at least one sentence of the writer."""
    wrong: Count
    """Those of them in which the judge found an unsupported statement."""
    by_writer: Count
    """Those of them of which the writer wrote every sentence."""


class Measured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The measurement on one machine. `counts` are in the order of the test, the strictest threshold first."""

    machine: Machine
    runtime_version: str
    incidents: Count
    incidents_sha256: Sha256
    seed: int
    generator_version: int
    counts: tuple[Counted, ...]
    threshold: Annotated[float, Meta(ge=0, le=1)]
    """The least strict threshold that the counts certify."""


class Certificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With confidence 1 - delta, at most a share alpha of the texts with sentences of this writer says anything unsupported."""

    format: Literal["edge-agent-certificate/1"] = "edge-agent-certificate/1"
    alpha: Share
    delta: Share
    speaker: Speaker
    measured: tuple[Measured, ...]


def parse_certificate(data: bytes, source: str) -> Certificate:
    """Parse a certificate and check that its counts bear it out. Raises ReleaseError that names `source` and what is wrong."""
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise ReleaseError(f"{source}: larger than {MAX_CERTIFICATE_BYTES} bytes: not a certificate")
    try:
        certificate = msgspec.json.decode(data, type=Certificate)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{source}: not a certificate: {error}") from error
    for measured in certificate.measured:
        borne_out = certified_threshold(measured.counts, certificate.alpha, certificate.delta)
        if borne_out != measured.threshold:
            raise ReleaseError(
                f"{source}: names the threshold {measured.threshold} for {measured.machine.instruction_set}; its counts certify"
                f" {'none' if borne_out is None else borne_out}"
            )
    return certificate


def encode_certificate(certificate: Certificate) -> bytes:
    """The canonical bytes of a certificate."""
    return msgspec.json.format(msgspec.json.encode(certificate, order="sorted"), indent=1) + b"\n"


def speaker_of(manifest: Manifest, compute_type: str, prompt_version: int, verifier_version: int) -> Speaker:
    """What decides the texts of a release when it is run by this agent."""
    components = manifest.components
    return Speaker(
        writer_sha256=components["writer/model.bin"].sha256,
        tokenizer_sha256=components["tokenizer.json"].sha256,
        lexicon_sha256=components["lexicon.txt"].sha256,
        rule_sha256=components["confidence.json"].sha256,
        compute_type=compute_type,
        prompt_version=prompt_version,
        verifier_version=verifier_version,
    )


def measured_for(certificate: Certificate, key: Key) -> Measured | None:
    """The measurement that holds for a running engine, or None."""
    if certificate.speaker != key.speaker:
        return None
    return next((measured for measured in certificate.measured if measured.machine == key.machine), None)


def differs(certificate: Certificate, key: Key) -> str:
    """Why a certificate says nothing of a running engine, in words; empty where it holds."""
    for name, certified in msgspec.structs.asdict(certificate.speaker).items():
        if getattr(key.speaker, name) != certified:
            what = name.removesuffix("_sha256").replace("_", " ")
            return f"the certificate was measured with another {what}; {STILL}"
    if measured_for(certificate, key) is not None:
        return ""
    machines = " and ".join(f"{m.machine.instruction_set} with {m.machine.runtime}" for m in certificate.measured) or "no machine"
    here = f"{key.machine.instruction_set} with {key.machine.runtime}"
    return f"the certificate was measured on {machines}, not on {here} as here; {STILL}"


def certified_threshold(counts: tuple[Counted, ...], alpha: float, delta: float) -> float | None:
    """The least strict threshold certified by fixed-sequence testing, or None.

    The thresholds are tested in their order, each at level delta, until one is not certified; the order and the thresholds are
    fixed before anything is measured, so that no correction is needed for testing several (Angelopoulos et al. 2021, 3.2).
    """
    certified = None
    for one in counts:
        if chance_of_so_few(one.texts, one.wrong, alpha) > delta:
            break
        certified = one.threshold
    return certified


def chance_of_so_few(texts: int, wrong: int, share: float) -> float:
    """The binomial probability of at most `wrong` wrong ones among `texts` if `share` of all were wrong: the exact p-value."""
    if wrong >= texts:
        return 1.0
    logs = (
        math.lgamma(texts + 1)
        - math.lgamma(k + 1)
        - math.lgamma(texts - k + 1)
        + k * math.log(share)
        + (texts - k) * math.log1p(-share)
        for k in range(wrong + 1)
    )
    return min(1.0, math.fsum(math.exp(value) for value in logs))
