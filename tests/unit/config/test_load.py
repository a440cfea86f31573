"""From files to settings: whole reports with exact positions, merging, files that are named, schema and effective values."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from edge_agent.config.load import MAX_FILE_BYTES, check, check_text, effective, json_schema, load, load_text
from edge_agent.config.settings import InfluxRoute, JsonRoute, MqttSettings, NumberRoute, Settings
from edge_agent.errors import ConfigError

FULL_OF_MISTAKES = """\
gateway:
  id: Pump_House
mqtt:
  hst: 10.0.0.1
  port: 70000
  keepalive_s: "30"
  tls:
    cert_file: /nowhere/cert.pem
routes:
  - topic: a/#/b
    format: json
  - topic: sensors/+/x
    format: jsn
  - format: number
  - topic: sensors/#
    format: json
    stream: "{2}/{fild}"
    value: temperature
  - topic: sensors/y
    format: number
    qos: 2
    timezone: x
  - topic: sensors/y
    format: number
    topic: again
writer:
  timezone: Europe/Berln
detect: 3
"""
ITS_PROBLEMS = """\
X:2:7: gateway.id: `Pump_House` does not fit: lower-case letters, digits and -
X:4:3: mqtt.hst: unknown key; did you mean `host`?
X:5:9: mqtt.port: is 70000; must be at most 65535
X:6:16: mqtt.keepalive_s: needs a whole number, without quotes, not "30"
X:8:16: mqtt.tls.cert_file: no file /nowhere/cert.pem
X:8:16: mqtt.tls.cert_file: is given without `key_file`; a client certificate needs both
X:10:12: routes[0].topic: `a/#/b` has `#` where it may not stand: only alone, as the last level
X:13:13: routes[1].format: `jsn` is no format; did you mean `json`?
X:14:5: routes[2]: `topic` is missing
X:17:13: routes[3].stream: has the unknown placeholder `{fild}`; this format offers `{topic}`, `{field}`, `{1}`, `{-1}`
X:18:12: routes[3].value: needs a list, such as [temperature], not the text `temperature`
X:21:10: routes[4].qos: is 2; must be at most 1
X:22:5: routes[4].timezone: unknown key; valid here: `format`, `qos`, `stream`, `topic`, `unit`
X:25:5: topic: duplicate key; it stands on line 23 already
X:27:13: writer.timezone: no time zone `Europe/Berln`; did you mean `Europe/Berlin`?
X:28:9: detect: needs keys and values, not the text `3`
"""


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """The main file, empty, with an empty folder for drop-ins beside it."""
    (tmp_path / "conf.d").mkdir()
    file = tmp_path / "edge-agent.yaml"
    file.touch()
    return file


def drop_in(main: Path, name: str, text: str) -> Path:
    file = main.parent / "conf.d" / name
    file.write_text(text)
    return file


def test_every_problem_at_once_each_at_its_place(main: Path) -> None:
    main.write_text(FULL_OF_MISTAKES)
    report = check(main)
    assert report.settings is None
    assert "\n".join(report.problems) + "\n" == ITS_PROBLEMS.replace("X", str(main))
    with pytest.raises(ConfigError) as caught:
        load(main)
    assert caught.value.problems == report.problems


def test_a_wrong_format_hides_no_other_problem_of_its_route() -> None:
    text = """routes:
  - topic: plant/#/x
    format: nummer
    qos: 7
    stream: "{2/{3}"
    bogus: 1
    value: [a]
  - topic: ""
"""
    found = [problem.partition(": ")[2].partition(":")[0] for problem in check_text(text).problems]
    assert found == [
        "routes[0].topic",
        "routes[0].format",
        "routes[0].qos",
        "routes[0].stream",
        "routes[0].bogus",
        "routes[1]",
        "routes[1].topic",
    ]


def test_an_empty_file_is_all_defaults(main: Path) -> None:
    assert load(main) == Settings()
    report = check(main)
    assert report.warnings == (f"{main}:1:1: routes: there are none, so nothing is listened to",)
    assert report.files == (str(main),)


def test_sections_of_comments_alone_are_defaults() -> None:
    assert load_text("mqtt:\n  # host: x\nroutes:\ngateway:\n") == Settings()


def test_settings_are_read() -> None:
    text = "mqtt: {host: b, protocol: 5}\nroutes:\n- {topic: a, format: number}\n- {topic: b, format: json, value: [x.y]}\n"
    settings = load_text(text)
    assert settings.mqtt == MqttSettings(host="b", protocol="5")
    assert settings.routes == (NumberRoute(topic="a"), JsonRoute(topic="b", value=("x.y",)))


def test_files_are_merged_in_order(main: Path) -> None:
    main.write_text("gateway: {id: a}\nmqtt: {host: one, port: 1}\nroutes:\n- {topic: a, format: number}\n")
    drop_in(main, "20.yaml", "mqtt: {host: three}\nroutes:\n- {topic: c, format: number}\n")
    drop_in(main, "10.yaml", "gateway:\nmqtt: {host: two, port: 2}\nroutes:\n- {topic: b, format: influx}\n")
    drop_in(main, ".hidden.yaml", "gateway: {id: hidden}")
    drop_in(main, "30.yml", "gateway: {id: other-ending}")
    report = check(main)
    assert report.settings is not None
    assert report.settings.gateway.id == "a"
    assert (report.settings.mqtt.host, report.settings.mqtt.port) == ("three", 2)
    assert report.settings.routes == (NumberRoute(topic="a"), InfluxRoute(topic="b"), NumberRoute(topic="c"))
    assert [Path(file).name for file in report.files] == ["edge-agent.yaml", "10.yaml", "20.yaml"]


def test_a_problem_names_the_file_whose_value_it_is(main: Path) -> None:
    main.write_text("mqtt: {port: 0, keepalive_s: 1}\nroutes:\n- {topic: a, format: number}\n")
    first = drop_in(main, "a.yaml", "mqtt:\n  port: -1\nroutes:\n- {topic: a++, format: number}\n")
    second = drop_in(main, "b.yaml", "mqtt: [broken\n")
    assert list(check(main).problems) == [
        f"{main}:1:30: mqtt.keepalive_s: is 1; must be at least 5",
        f"{first}:2:9: mqtt.port: is -1; must be at least 1",
        f"{first}:4:11: routes[1].topic: `a++` has `+` beside other characters; it stands for one whole level",
        f"{second}:2:1: syntax: expected ',' or ']', but got '<stream end>' (while parsing a flow sequence)",
    ]


def test_a_routes_topic_that_another_file_takes_first_is_a_warning(main: Path) -> None:
    main.write_text("routes:\n- {topic: a/#, format: number}\n")
    file = drop_in(main, "a.yaml", "routes:\n- {topic: a/b, format: number}\n")
    assert check(main).warnings == (
        f"{file}:2:11: routes[1].topic: never gets a message: routes[0] takes them all; put this one before it",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: \xff\n", "1:4: syntax: a byte that is not UTF-8 stands here"),
        ("ok: é\n é\n".encode() + b"\xff", "3:1: syntax: a byte that is not UTF-8 stands here"),
        (b"- a\n", "1:1: file: needs keys and values at its top, such as `mqtt:`"),
        (b"hello\n", "1:1: file: needs keys and values at its top, such as `mqtt:`"),
        (b"#" * (MAX_FILE_BYTES + 1), f"1:1: file: is longer than {MAX_FILE_BYTES} bytes"),
    ],
)
def test_files_that_are_no_configuration(main: Path, content: bytes, problem: str) -> None:
    main.write_bytes(content)
    assert check(main).problems == (f"{main}:{problem}",)


def test_a_byte_order_mark_is_let_pass(main: Path) -> None:
    main.write_bytes(b"\xef\xbb\xbfgateway: {id: x}\n")
    assert load(main).gateway.id == "x"


def test_files_that_cannot_be_read(main: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert check(missing).problems == (f"{missing}:1:1: file: cannot be read: No such file or directory",)
    fifo = main.parent / "conf.d" / "fifo.yaml"
    os.mkfifo(fifo)
    (main.parent / "conf.d" / "folder.yaml").mkdir()
    assert [problem.split(": ")[2] for problem in check(main).problems] == ["cannot be read"] * 2


def test_named_files_are_found_and_their_paths_made_whole(main: Path) -> None:
    secret = main.parent / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    main.write_text("mqtt: {username: u, password_file: secret}\nroutes: [{topic: a, format: number}]\n")
    report = check(main)
    assert report.problems == report.warnings == ()
    assert report.settings is not None
    assert report.settings.mqtt.password_file == str(secret)
    secret.chmod(0o644)
    (warning,) = check(main).warnings
    assert warning == f"{main}:1:36: mqtt.password_file: {secret} can be read by every user of this machine; `chmod o-r` it"
    secret.unlink()
    assert check(main).problems == (f"{main}:1:36: mqtt.password_file: no file {secret}",)


def test_a_path_in_a_drop_in_is_relative_to_the_drop_in(main: Path) -> None:
    (main.parent / "conf.d" / "ca.pem").write_text("x")
    drop_in(main, "tls.yaml", "mqtt: {tls: {ca_file: ca.pem}}")
    tls = load(main).mqtt.tls
    assert tls is not None
    assert tls.ca_file == str(main.parent / "conf.d" / "ca.pem")


def test_credentials_of_systemd(main: Path, tmp_path: Path) -> None:
    main.write_text("mqtt: {username: u, password_file: 'credential:pw'}\nroutes: [{topic: a, format: number}]\n")
    report = check(main)
    assert report.problems == ()
    assert "only when systemd runs the agent" in report.warnings[0]
    assert check(main, credentials_dir=str(tmp_path)).problems == (f"{main}:1:36: mqtt.password_file: no file {tmp_path}/pw",)
    (tmp_path / "pw").write_text("x")
    assert load(main, credentials_dir=str(tmp_path)).mqtt.password_file == f"{tmp_path}/pw"


def test_a_text_from_afar_does_not_make_the_agent_look_at_files() -> None:
    settings = load_text("mqtt: {username: u, password_file: /etc/shadow-that-is-not-there}")
    assert settings.mqtt.password_file == "/etc/shadow-that-is-not-there"


def test_aliases_of_aliases_stay_small() -> None:
    lines = ["x0: &x0 [a, a]"] + [f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in range(1, 40)]
    report = check_text("\n".join(lines) + "\nroutes: *x39\n")
    assert report.settings is None
    assert len(report.problems) < 100


def test_problems_have_an_end() -> None:
    report = check_text("routes:\n" + "- {topic: 'a+', format: x}\n" * 1_000)
    assert len(report.problems) < 250
    assert "only the first 200" in report.problems[-1]


def test_effective_values_are_plain_and_hold_no_secret() -> None:
    settings = load_text(
        "mqtt: {username: operator-7, tls: {ca_file: /ca.pem}}\nroutes: [{topic: a, format: json, units: {x: K}}]"
    )
    values = effective(settings)
    assert json.loads(json.dumps(values)) == values
    assert values["mqtt"]["username"] == "(set)"
    assert values["routes"][0]["format"] == "json"
    assert "operator-7" not in json.dumps(values)
    assert effective(Settings())["mqtt"]["username"] == ""
    openai = "{url: 'https://m.example/v1?key=secret-1&v=2', model: m, headers: {x-key: secret-2}}"
    values = effective(load_text(f"escalation: {{openai: {openai}}}"))
    assert values["escalation"]["openai"]["url"] == "https://m.example/v1?(set)"
    assert values["escalation"]["openai"]["headers"] == {"x-key": "(set)"}
    assert "secret" not in json.dumps(values)
    assert msgspec.convert(effective(Settings()), Settings) == Settings()


def test_the_schema_speaks_of_every_section_and_format() -> None:
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    text = json.dumps(schema)
    for name in (*Settings.__struct_fields__, *JsonRoute.__struct_fields__, "influx", "senml", "number"):
        assert f'"{name}"' in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mqtt:\n  root: a/#\n", "2:9: mqtt.root: has a wildcard; it is the first part of every topic"),
        ("mqtt:\n  host: ''\n", "2:9: mqtt.host: is empty"),
        ("mqtt: {backoff_max_s: 2,\n  backoff_min_s: 3}\n", "2:18: mqtt.backoff_min_s: is more than `backoff_max_s`, 2"),
        ("mqtt:\n  tls:\n    key_file: /k\n", "3:15: mqtt.tls.key_file: is given without `cert_file`"),
        ("state_dir: ''\n", "1:12: state_dir: is empty"),
        ("routes:\n- topic: edge/gateway-1/#\n  format: json\n", "2:10: routes[0].topic: takes topics below `edge/gateway-1`"),
        ("routes:\n- topic: ''\n  format: json\n", "2:10: routes[0].topic: is empty"),
        ("routes:\n- format: json\n  topic: a\n  value: [b, c, b]\n", "4:17: routes[0].value[2]: `b` stands twice"),
        ("routes:\n- format: json\n  topic: a\n  time: a..b\n", "4:9: routes[0].time: `a..b` has an empty step"),
        ("routes:\n- format: json\n  topic: a\n  timezone: Mras\n", "4:13: routes[0].timezone: no time zone `Mras`"),
        (
            "routes:\n- format: json\n  topic: a\n  stream: a}\n",
            "4:11: routes[0].stream: has a `}` without its partner at character 2",
        ),
        ("routes:\n- {topic: a, format: number}\n- x\n", "3:3: routes[1]: needs a map, not the text `x`"),
        ("log_level: verbose\n", "1:12: log_level: is `verbose`; valid here: `debug`, `error`, `info`, `warning`"),
        ("gateway:\n  id: -a\n", "2:7: gateway.id: `-a` does not fit: lower-case letters, digits and -"),
        ("gateway: {id: " + "a" * 64 + "}\n", "1:15: gateway.id: `aaaa"),
        ("mqtt:\n  port: 1883\n  port: 1884\n", "3:3: port: duplicate key; it stands on line 2 already"),
        ("mqtt:\n\tport: 1883\n", "2:1: syntax: a tab stands here; indent with spaces"),
        ("routes: &r [*r]\n", "1:13: syntax: `*r` refers to nothing before it"),
        ("mqtt: {tls: {insecure_skip_hostname: maybe}}\n", "1:38: mqtt.tls.insecure_skip_hostname: needs true or false"),
        ("writer: {device: gpu}\n", "1:18: writer.device: is `gpu`; "),
    ],
)
def test_each_problem_at_its_place(text: str, problem: str) -> None:
    problems = check_text(text, "f").problems
    assert len(problems) >= 1
    assert any(line.startswith(f"f:{problem}") for line in problems), problems
