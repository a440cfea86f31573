"""The command line: `edge-agent run | demo | check | status | incidents | dead-letters | explain | egress | audit |
update | replay | bench`.

Rules: what a command needs is imported when it runs, so that `--help` is quick; results go to standard output, what is
wrong to standard error; exit codes are 0, 1 failed, 2 usage, 78 bad configuration (EX_CONFIG of sysexits.h). A closed pipe
and Ctrl-C end a command quietly.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import edge_agent
from edge_agent.errors import ChildFailedError, ConfigError, EdgeAgentError, InputError

if TYPE_CHECKING:
    from edge_agent.config.settings import Settings

FAILED = 1
USAGE = 2
BAD_CONFIG = 78
INTERRUPTED = 130
DEFAULT_CONFIG = "/etc/edge-agent/edge-agent.yaml"
EXIT_CODES = "exit codes: 0 done, or nothing to do; 1 failed; 2 wrong usage; 78 wrong configuration; 130 Ctrl-C"
WATCHING = "Ctrl-C ends the watching: a running agent goes on, and `edge-agent update cancel` gives the release up."
OWN_OPTIONS = ("demo", "bench", "replay")
"""Commands that read their own options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Raises SystemExit(2) for wrong usage, as argparse does."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the locale cannot write is shown with escapes; it does not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    code = 0
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return BAD_CONFIG
    except EdgeAgentError as error:
        # The stable word before the sentence is for counters and for programs that read answers.
        sentence = error.detail if isinstance(error, InputError | ChildFailedError) else ""
        print(f"edge-agent: {sentence or error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough.
        _forget_output()
    except OSError as error:
        if arguments[:1] == ["run"]:
            raise  # the log of a service says where
        _forget_output()
        print(f"edge-agent: {_refused_by_the_system(error)}", file=sys.stderr)
        return FAILED
    return code


def _forget_output() -> None:
    """See that the interpreter does not stumble once more, when it ends, over output that nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused_by_the_system(error: OSError) -> str:
    """What the system refused a command, and what to do; most often the state folder is another user's."""
    what = f"{error.filename}: " if error.filename is not None else ""
    advice = "; run this as the agent's user, or as root" if isinstance(error, PermissionError) else ""
    return f"{what}{error.strerror or error}{advice}"


def _dispatch(argv: list[str]) -> int:
    if argv and argv[0] in OWN_OPTIONS:
        return _own_options(argv[0], argv[1:])
    if argv[:2] == ["audit", "replay"]:
        from edge_agent.replay.compare import main as compare

        return compare(argv[2:])
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def _own_options(command: str, argv: list[str]) -> int:
    if command == "demo":
        from edge_agent.demo.run import main as demo

        return demo(argv)
    if command == "bench":
        from edge_agent.bench.run import main as bench

        return bench(argv)
    from edge_agent.replay.command import main as replay

    return replay(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-agent", description=edge_agent.__doc__, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"edge-agent {edge_agent.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, text: str, command: Callable[[argparse.Namespace], int] | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EXIT_CODES)
        sub.set_defaults(command=command)
        return sub

    run = add("run", "run the agent in the foreground until SIGTERM or Ctrl-C", _run)
    _add_config(run)
    add("demo", "show the agent at work on this host's own metrics and a simulated pump line (`demo --help`)")
    check = add("check", "check a configuration file and print every problem as file:line:col: key: problem", _check)
    check.add_argument("file", type=Path, help="the configuration file, usually " + DEFAULT_CONFIG)
    status = add("status", "say how the agent is, whether it runs or not", _status)
    status.description = f"{status.description} Ends with 1 where it does not run."
    incidents = add("incidents", "list the newest incidents with their sentences, or show one", _incidents)
    incidents.add_argument("id", nargs="?", help="show this incident in full, as JSON")
    incidents.add_argument("--limit", type=int, default=20, metavar="N", help="how many to list (20)")
    incidents.add_argument("--state", choices=("open", "closed"), help="only these")
    letters = add("dead-letters", "list the messages that the broker will never take, and why", _dead_letters)
    letters.add_argument("--limit", type=int, default=100, metavar="N", help="how many to list, newest first (100)")
    for sub in (status, incidents, letters):
        _add_config(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")
    explain = add("explain", "write the sentences of an incident given as JSON, as published on incident/<id>", _explain)
    explain.add_argument("file", help="the incident's JSON file; - for standard input")
    explain.add_argument("--template", action="store_true", help="without the writer: the template's sentences")
    explain.add_argument(
        "--config", type=Path, metavar="FILE", help="with the release that speaks on the gateway of this configuration"
    )
    explain.add_argument("--timezone", default="UTC", metavar="NAME", help="IANA time zone of the times in sentences (UTC)")
    _add_egress(add("egress", "show what would leave for a stronger model, to the byte, and what did"))
    _add_audit(add("audit", "show that the log of decisions is whole, and that what was said would be said again"))
    _add_update(add("update", "take releases of models over the air: look, apply, go back, and what came of it"))
    add("replay", "run the agent over a recording in CSV, strictly online (`replay --help`)")
    add("bench", "measure this machine (`bench --help`)")
    return parser


def _add_egress(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, text: str, command: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EXIT_CODES)
        sub.set_defaults(command=command)
        _add_config(sub)
        return sub

    preview = add("preview", "print the exact bytes that would leave for an incident; nothing is sent", _egress_preview)
    which = preview.add_mutually_exclusive_group()
    which.add_argument("id", nargs="?", help="the incident's id; without it the newest that was to be asked about")
    which.add_argument("--file", metavar="INCIDENT.json", help="an incident as published on incident/<id>; - for standard input")
    which.add_argument("--telemetry", action="store_true", help="instead of a question the telemetry document")
    preview.add_argument("--backend", choices=("openai", "mqtt", "spool"), help="as if this were configured")
    log = add("log", "list what left: when, where to, how much, and its hash", _egress_log)
    log.add_argument("--json", action="store_true", help="print one JSON object a line")
    log.add_argument("--limit", type=int, default=1_000_000, metavar="N", help="only the newest N")
    verify = add(
        "verify", "check that the log of what left is whole and in order; prints its newest hash, the head", _egress_verify
    )
    verify.add_argument("--head", type=_hash, metavar="HASH", help="a head noted earlier, which the log must still hold")


def _add_update(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EXIT_CODES)
        sub.set_defaults(command=_update, task=name)
        _add_config(sub)
        return sub

    for name, text in (("status", "say how the update stands"), ("history", "list how the last updates ended")):
        add(name, text).add_argument("--json", action="store_true", help="print JSON")
    look = add("check", "look at the sources now, and watch what comes of it")
    look.add_argument("--again", action="store_true", help="what failed here before may be taken once more")
    look.description = f"{look.description} {WATCHING}"
    take = add("apply", "take the release in a bundle, such as one on a stick, and watch what comes of it")
    take.add_argument("file", type=Path, metavar="BUNDLE", help="a file that `edge-ota bundle` made")
    take.description = f"{take.description} {WATCHING}"
    add("cancel", "give up the release that is on its way in, or on trial")
    add("rollback", "go back to the release before the one that runs")
    add("trust-anew", "after a loss of what was trusted: trust the repository from the factory root on, once more")
    key_text = "make this device's key for encrypted releases; prints its public part"
    key = commands.add_parser("key", help=key_text, description=f"{key_text.capitalize()}.", epilog=EXIT_CODES)
    key.set_defaults(command=_update_key)
    key.add_argument(
        "file", type=Path, metavar="FILE", help="where the key is kept, or stands already; name it in update.key_file"
    )


def _add_audit(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    verify_text = "check that a log is whole and that the stored summaries are what it says; prints its newest hash, the head"
    verify = commands.add_parser("verify", help=verify_text, description=f"{verify_text.capitalize()}.", epilog=EXIT_CODES)
    verify.set_defaults(command=_audit_verify)
    verify.add_argument("file", nargs="?", type=Path, metavar="FILE", help="an exported log, instead of the journal's")
    verify.add_argument("--head", type=_hash, metavar="HASH", help="a head noted earlier, which the log must still hold")
    verify.add_argument("--explain", action="store_true", help="write the sentences of closed incidents again and compare")
    export_text = "write a log as JSON, one entry a line, so that it can be verified elsewhere"
    export = commands.add_parser("export", help=export_text, description=f"{export_text.capitalize()}.", epilog=EXIT_CODES)
    export.set_defaults(command=_audit_export)
    for sub in (verify, export):
        _add_config(sub)
        sub.add_argument(
            "--log", choices=("audit", "egress"), default="audit", help="of decisions (audit), or of what left (egress)"
        )
    commands.add_parser("replay", help="decide anew over a recording and compare with a recorded log (`audit replay --help`)")


def _hash(text: str) -> bytes:
    from edge_agent.messages.log_lines import parse_hash

    try:
        return parse_hash(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=f"({DEFAULT_CONFIG})")


def _settings(path: Path) -> Settings:
    from edge_agent.config.load import load

    return load(path, credentials_dir=os.environ.get("CREDENTIALS_DIRECTORY"))


def _run(options: argparse.Namespace) -> int:
    import faulthandler

    from edge_agent.config.load import check
    from edge_agent.service import run

    report = check(options.config, credentials_dir=os.environ.get("CREDENTIALS_DIRECTORY"))
    if report.settings is None:
        raise ConfigError(report.problems)
    # The service manager ends a hung service with SIGABRT: the log then says where each thread stood.
    faulthandler.enable(2)
    logging.basicConfig(level=report.settings.log_level.upper(), stream=sys.stderr, format=_log_format(os.environ))
    for warning in report.warnings:
        logging.getLogger("edge_agent.config").warning("%s", warning)
    return run(report.settings, options.config, os.environ)


def _log_format(environ: Mapping[str, str]) -> str:
    """Where the journal of the system keeps the time and the unit, they are not written twice."""
    return (
        "%(levelname)s %(name)s: %(message)s"
        if "JOURNAL_STREAM" in environ
        else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _check(options: argparse.Namespace) -> int:
    from edge_agent.config.load import check

    report = check(options.file, credentials_dir=os.environ.get("CREDENTIALS_DIRECTORY"))
    for line in (*report.problems, *(f"{warning} (warning)" for warning in report.warnings)):
        print(line)
    if report.settings is None:
        return BAD_CONFIG
    routes = len(report.settings.routes)
    print(f"{options.file}: OK, gateway {report.settings.gateway.id}, {routes} route{'' if routes == 1 else 's'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from edge_agent.commands.show import show_status

    return show_status(_settings(options.config), as_json=options.json)


def _incidents(options: argparse.Namespace) -> int:
    from edge_agent.commands.show import show_incident, show_incidents

    settings = _settings(options.config)
    if options.id is not None:
        return show_incident(settings, options.id)
    return show_incidents(settings, limit=options.limit, state=options.state, as_json=options.json)


def _egress_preview(options: argparse.Namespace) -> int:
    if options.telemetry:
        from edge_agent.commands.telemetry_preview import preview_telemetry

        return preview_telemetry(_settings(options.config))
    from edge_agent.commands.preview import preview

    return preview(_settings(options.config), incident_id=options.id, file=options.file, backend=options.backend)


def _egress_log(options: argparse.Namespace) -> int:
    from edge_agent.commands.egress import show_log

    return show_log(_settings(options.config), limit=max(1, options.limit), as_json=options.json)


def _egress_verify(options: argparse.Namespace) -> int:
    from edge_agent.commands.logs import verify_log

    return verify_log(_settings(options.config), "egress", options.head)


def _update(options: argparse.Namespace) -> int:
    from edge_agent.commands import updates

    # What the worker warns of is said by the command itself, once.
    logging.basicConfig(level="ERROR", stream=sys.stderr, format="edge-agent: %(message)s")
    settings = _settings(options.config)
    match options.task:
        case "status":
            return updates.show_update(settings, as_json=options.json)
        case "history":
            return updates.show_history(settings, as_json=options.json)
        case "check":
            return updates.check(settings, again=options.again)
        case "apply":
            return updates.apply(settings, options.file)
        case "cancel":
            return updates.cancel(settings)
        case "rollback":
            return updates.roll_back(settings)
        case _:
            return updates.trust_anew(settings)


def _update_key(options: argparse.Namespace) -> int:
    from edge_agent.device_key import make_device_key
    from edge_agent.release.group_keys import encode_device

    print(encode_device(make_device_key(options.file).public_key()))
    return 0


def _dead_letters(options: argparse.Namespace) -> int:
    from edge_agent.commands.dead_letters import show_dead_letters

    return show_dead_letters(_settings(options.config), limit=max(1, options.limit), as_json=options.json)


def _audit_verify(options: argparse.Namespace) -> int:
    from edge_agent.commands.audit import verify, verify_file

    if options.file is not None:
        if options.explain:
            print("edge-agent audit verify: --explain reads the journal; leave FILE out", file=sys.stderr)
            return USAGE
        return verify_file(options.file, head=options.head)
    return verify(_settings(options.config), options.log, head=options.head, explain=options.explain)


def _audit_export(options: argparse.Namespace) -> int:
    from edge_agent.commands.audit import export

    return export(_settings(options.config), options.log)


def _explain(options: argparse.Namespace) -> int:
    from edge_agent.commands.explain_file import explain_file

    settings = None if options.config is None else _settings(options.config)
    return explain_file(options.file, options.timezone, template_only=options.template, settings=settings)


if __name__ == "__main__":
    sys.exit(main())
