"""The settings of edge-agent as frozen structs: names, types, defaults, bounds and one line of description each.

Rules: no I/O; every number carries its unit in its name; a secret is a path to a file, never a value. The JSON Schema
and the commented default file follow from what stands here.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

Id: TypeAlias = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case letters, digits and -")]
PositiveFloat: TypeAlias = Annotated[float, Meta(gt=0)]
PositiveInt: TypeAlias = Annotated[int, Meta(gt=0)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
TimesOfDay: TypeAlias = Annotated[
    str, Meta(pattern="^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$", description="HH:MM-HH:MM, such as 22:00-06:00")
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every settings struct: frozen, by keyword, unknown keys refused."""


class TlsSettings(Section, frozen=True, kw_only=True):
    """TLS towards the broker. `cert_file` and `key_file` together make it mutual."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_hostname: bool = False


class MqttSettings(Section, frozen=True, kw_only=True):
    """The broker and how to talk to it."""

    host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Port = 1883
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """`auto` is MQTT 5 where the broker speaks it. At the highest rates 3.1.1 takes half the time a message."""
    client_id: str = ""
    """Empty: `edge-agent-<gateway>`."""
    username: str = ""
    password_file: str = ""
    tls: TlsSettings | None = None
    root: str = "edge"
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)] = 86_400
    max_queued_arrivals: Annotated[int, Meta(ge=1_000, le=1_000_000)] = 50_000
    max_payload_bytes: Annotated[int, Meta(ge=1, le=1_048_576)] = 131_072
    backoff_min_s: PositiveFloat = 1.0
    backoff_max_s: PositiveFloat = 60.0
    stable_after_s: PositiveFloat = 30.0
    canary_interval_s: PositiveFloat = 30.0
    """Pause between messages to ourselves, which show that the connection still hears."""
    canary_timeout_s: PositiveFloat = 10.0
    """A connection on which nothing arrives for this long after such a message is closed and opened again."""


class RouteSettings(Section, tag_field="format", frozen=True, kw_only=True):
    """What every route has: which topics, at which QoS, and how their streams are named."""

    topic: Annotated[str, Meta(min_length=1)]
    """An MQTT topic filter; `+` and `#` as in MQTT 5, section 4.7. The first route that fits a topic takes its messages."""
    stream: Annotated[str, Meta(min_length=1)] = "{topic}"
    """Name of the stream. `{topic}`, `{1}` (first topic level), `{-1}` (last) and what the format adds, such as `{field}`.
    A message of several values whose name has no `{field}` gets `/` and the field's name at its end."""
    qos: Annotated[int, Meta(ge=0, le=1)] = 0
    unit: Annotated[str, Meta(max_length=24)] = ""
    """Unit of the values, as it shall stand in sentences; a unit in the payload goes before it."""


class NumberRoute(RouteSettings, tag="number", frozen=True, kw_only=True):
    """The payload is one number as text."""


class TimedRoute(RouteSettings, frozen=True, kw_only=True):
    """What formats have whose payload may carry its own time: how far it may be from the arrival before it is not believed."""

    time_max_age_s: PositiveFloat = 604_800.0
    time_max_ahead_s: PositiveFloat = 86_400.0


class JsonRoute(TimedRoute, tag="json", frozen=True, kw_only=True):
    """The payload is JSON: a scalar, an object, or an array of samples. A path is `a.b.0.c`; `\\.` is a dot inside a name."""

    value: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    """Paths to the values. Empty: the scalar itself, or every numeric member of the object, nested ones as `a.b`."""
    samples: str = ""
    """Path to an array of samples; `value`, `time` and `unit_path` are looked up in each. Empty: an array at the top is one."""
    sample_interval_s: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds from one sample without a time of its own to the next; the last one has the message's time."""
    time: str = ""
    """Path to the time. Empty: `time`, `timestamp` or `ts` where present, else the time of arrival."""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    """Unit of a numeric time; `auto` tells it by its size."""
    timezone: str = "UTC"
    """IANA name of the time zone of a time text that names none."""
    unit_path: str = ""
    """Path to the unit."""
    units: dict[str, Annotated[str, Meta(max_length=24)]] = {}
    """Units by field, where they differ."""


class InfluxRoute(TimedRoute, tag="influx", frozen=True, kw_only=True):
    """The payload is InfluxDB line protocol.

    `{measurement}`, `{field}`, `{tag.NAME}` and `{tags}` (all tag values, by tag name, with `/` between) may stand in `stream`.
    """

    stream: Annotated[str, Meta(min_length=1)] = "{measurement}/{tags}/{field}"
    precision: Literal["s", "ms", "us", "ns"] = "ns"
    units: dict[str, Annotated[str, Meta(max_length=24)]] = {}
    """Units by field, where they differ."""


class SenmlRoute(TimedRoute, tag="senml", frozen=True, kw_only=True):
    """The payload is SenML JSON, RFC 8428. `{name}` is the record's resolved name."""

    stream: Annotated[str, Meta(min_length=1)] = "{name}"


Route: TypeAlias = NumberRoute | JsonRoute | InfluxRoute | SenmlRoute


class DetectSettings(Section, frozen=True, kw_only=True):
    """Detection, the same for every stream."""

    max_streams: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    warmup_readings: Annotated[int, Meta(ge=10, le=100_000)] = 64
    false_alarms_per_stream_day: PositiveFloat = 0.2
    silence_factor: Annotated[float, Meta(ge=2)] = 6.0
    """A stream is silent when nothing came for this many times its usual interval."""
    silence_min_s: PositiveFloat = 5.0


class IncidentSettings(Section, frozen=True, kw_only=True):
    """How anomalies become incidents."""

    join_within_s: PositiveFloat = 120.0
    """An anomaly joins its asset's open incident if it starts within this time of its last activity."""
    close_after_s: PositiveFloat = 60.0
    """An incident closes when all its anomalies have ended and nothing happened for this long."""
    max_open_s: PositiveFloat = 86_400.0
    max_listed_anomalies: Annotated[int, Meta(ge=4, le=256)] = 32
    storm_incidents: Annotated[int, Meta(ge=2)] = 8
    """More than this many incidents opened within `storm_window_s` is a storm: one site-wide incident takes in the rest."""
    storm_window_s: PositiveFloat = 60.0
    max_open_incidents: Annotated[int, Meta(ge=2, le=1_024)] = 64
    """While so many are open, the site-wide incident takes in what would open another."""


class JournalSettings(Section, frozen=True, kw_only=True):
    """The file that holds everything acknowledged."""

    max_bytes: Annotated[int, Meta(ge=1 << 20)] = 64 << 20
    max_outbox: Annotated[int, Meta(ge=100)] = 20_000
    max_message_age_s: Annotated[float, Meta(ge=60)] = 2_592_000.0
    """A message that waited for so long is given up."""
    keep_incidents: Annotated[int, Meta(ge=100)] = 10_000
    keep_log_entries: Annotated[int, Meta(ge=100)] = 20_000
    """Entries kept of each of the two logs, of decisions and of what left the device."""
    keep_dead_letters: Annotated[int, Meta(ge=0)] = 1_000
    max_write_bytes_per_day: Annotated[int, Meta(ge=0)] = 4 << 30
    """Wear of the flash memory; beyond it routine messages are not stored. 0: no limit."""
    min_free_bytes: Annotated[int, Meta(ge=0)] = 16 << 20
    """While the file system has less free, the file does not grow: the oldest of the least important makes room."""


class WriterSettings(Section, frozen=True, kw_only=True):
    """The language model."""

    enabled: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    timezone: str = "UTC"
    """IANA name of the time zone in which sentences give times."""


Allowed: TypeAlias = Literal["identifiers", "times", "values", "units", "severity"]


class OpenAiSettings(Section, frozen=True, kw_only=True):
    """A server that answers `POST <url>/chat/completions`, wherever it stands."""

    url: Annotated[str, Meta(max_length=2_000)] = ""
    """Base URL, such as https://models.example/v1; http:// only on loopback or with `allow_http`."""
    allow_http: bool = False
    model: Annotated[str, Meta(max_length=200)] = ""
    key_file: str = ""
    headers: dict[str, Annotated[str, Meta(max_length=2_000)]] = {}
    tls: TlsSettings | None = None
    answer_format: Literal["auto", "json_schema", "json_object", "plain"] = "auto"
    connect_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 60.0
    """The whole of one question, from connecting to the last byte of the answer."""
    max_answer_bytes: Annotated[int, Meta(ge=1_024, le=1_048_576)] = 65_536
    max_answer_tokens: Annotated[int, Meta(ge=16, le=8_192)] = 512
    price_in_per_million: Annotated[float, Meta(ge=0)] = 0.0
    """Money a million tokens of the question, in the currency of `money_per_day`."""
    price_out_per_million: Annotated[float, Meta(ge=0)] = 0.0


class MqttEscalationSettings(Section, frozen=True, kw_only=True):
    """Questions as CloudEvents on a topic of the same broker; answers come as requests with the command `answer`."""

    topic: str = ""
    """Empty: `<root>/<gateway>/question`."""


class SpoolSettings(Section, frozen=True, kw_only=True):
    """Questions as files, for a carrier; answers are put beside them."""

    folder: str = ""
    """Empty: `spool` in the state folder."""


class EscalationSettings(Section, frozen=True, kw_only=True):
    """What becomes of incidents whose sentence is not certain. Off by default: nothing leaves the device."""

    backend: Literal["none", "openai", "mqtt", "spool"] = "none"
    allow: tuple[Allowed, ...] = ()
    """What may leave besides the form of the incident. Names leave only as pseudonyms, operators' words never."""
    max_waiting: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    max_age_s: Annotated[float, Meta(ge=60)] = 604_800.0
    max_attempts: Annotated[int, Meta(ge=1)] = 20
    answer_within_s: Annotated[float, Meta(ge=60)] = 604_800.0
    """How long an answer that comes later (mqtt, spool) is waited for before the question is sent again."""
    backoff_min_s: PositiveFloat = 2.0
    backoff_max_s: PositiveFloat = 900.0
    breaker_failures: Annotated[int, Meta(ge=1)] = 5
    """Failures in a row after which only one question is tried now and then."""
    breaker_pause_s: PositiveFloat = 300.0
    windows: tuple[TimesOfDay, ...] = ()
    """Times of day, in `timezone`, at which questions may leave; empty: always."""
    timezone: str = "UTC"
    critical_severity: Fraction = 0.95
    """An incident at least so severe does not wait for a window."""
    requests_per_day: Annotated[int, Meta(ge=0)] = 200
    tokens_per_day: Annotated[int, Meta(ge=0)] = 400_000
    bytes_per_day: Annotated[int, Meta(ge=0)] = 4_000_000
    money_per_day: Annotated[float, Meta(ge=0)] = 1.0
    openai: OpenAiSettings = field(default_factory=OpenAiSettings)
    mqtt: MqttEscalationSettings = field(default_factory=MqttEscalationSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)


class TelemetrySettings(Section, frozen=True, kw_only=True):
    """Counts about the agent itself for whoever runs many. Off by default, and apart from escalation."""

    enabled: bool = False
    period_s: Annotated[float, Meta(ge=60)] = 86_400.0


class RepositorySettings(Section, frozen=True, kw_only=True):
    """A repository of releases, looked at now and then: a folder that any web server serves, or one of this machine."""

    url: Annotated[str, Meta(max_length=2_000)] = ""
    """Base URL, such as https://releases.example/edge; or file:///srv/releases. Empty: none."""
    allow_http: bool = False
    """What comes is verified either way; without TLS others see what is fetched, and can withhold it."""
    tls: TlsSettings | None = None
    poll_s: Annotated[float, Meta(ge=60)] = 3_600.0


class HawkbitSettings(Section, frozen=True, kw_only=True):
    """An Eclipse hawkBit server that hands out bundles (Direct Device Integration API)."""

    url: Annotated[str, Meta(max_length=2_000)] = ""
    """Such as https://hawkbit.example; empty: none."""
    tenant: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}$")] = "DEFAULT"
    controller_id: Annotated[str, Meta(pattern="^[A-Za-z0-9_.:-]{0,256}$")] = ""
    """Empty: the gateway's id."""
    token_file: str = ""
    token_kind: Literal["target", "gateway"] = "target"
    allow_http: bool = False
    tls: TlsSettings | None = None
    poll_min_s: Annotated[float, Meta(ge=5)] = 60.0
    """Whatever the server says, it is not asked more often."""


class UpdateSettings(Section, frozen=True, kw_only=True):
    """Where releases come from and how they are tried. Without a `group` there are no updates."""

    group: Annotated[str, Meta(pattern="^([a-z0-9][a-z0-9-]{0,40})?$", description="lower-case letters, digits and -")] = ""
    root_file: str = ""
    """The factory root: the fleet's first `root.json`. Everything is believed by way of it."""
    repository: RepositorySettings = field(default_factory=RepositorySettings)
    inbox: str = ""
    """A folder in which bundles are looked for, such as a USB stick's. Empty: `update/inbox` in the state folder."""
    hawkbit: HawkbitSettings = field(default_factory=HawkbitSettings)
    key_file: str = ""
    """This device's private key, where releases are encrypted."""
    decrypt_folder: str = ""
    """Where a sealed writer stands in the clear while it is loaded, such as on an encrypted file system. Empty: in memory."""
    soak_s: Annotated[float, Meta(ge=1, le=604_800)] = 600.0
    """How long a release is tried in the running agent before it counts as good."""
    looks_per_day: Annotated[int, Meta(ge=1)] = 200
    bytes_per_day: Annotated[int, Meta(ge=0)] = 2 << 30
    """Fetched for releases in a day; 0: no limit."""
    min_free_bytes: Annotated[int, Meta(ge=0)] = 64 << 20
    """What a release leaves free on the file system."""
    chunk_timeout_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    """A source that takes longer for one chunk, a mebibyte as a rule, is left alone for a while."""


class GatewaySettings(Section, frozen=True, kw_only=True):
    """Who this gateway is."""

    id: Id = "gateway-1"


def _no_routes() -> tuple[Route, ...]:
    return ()


class Settings(Section, frozen=True, kw_only=True):
    """Everything that can be configured."""

    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    routes: tuple[Route, ...] = field(default_factory=_no_routes)
    detect: DetectSettings = field(default_factory=DetectSettings)
    incidents: IncidentSettings = field(default_factory=IncidentSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    writer: WriterSettings = field(default_factory=WriterSettings)
    escalation: EscalationSettings = field(default_factory=EscalationSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    state_dir: str = "/var/lib/edge-agent"
    runtime_dir: str = "/run/edge-agent"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
