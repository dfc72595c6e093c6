"""The command line: the contract's one-line commands over `control.ops`, and nothing of its own.

    client     where an operation runs: the running gateway, or here under the home's lock
    options    options that many commands share
    screen     tables, lines and JSON on the terminal
    files      the operator's files as bytes; `-` is standard input or output
    *_commands the commands, one module a group

A command loads what it needs when it runs, so that `gatepost --help` and a question to a running gateway are quick. Faults
leave as `OperatorError`; `app.main` shows them and turns them into exit codes.
"""

from __future__ import annotations

import typer

from gatepost.control.shell.options import group


def make_app() -> typer.Typer:
    """The typer application with every command but `start`, which belongs to `app`."""
    from gatepost.control.shell import (
        explain_command,
        metrics_command,
        reputation_command,
        status_command,
        verify_commands,
    )

    app = group("gatepost", "An e-mail security gateway whose heart is TLS and certificates done right.")
    app.command("status")(status_command.status)
    app.command("metrics")(metrics_command.metrics)
    app.command("explain")(explain_command.explain)
    app.command("tlsverify")(verify_commands.tlsverify)
    app.command("daneverify")(verify_commands.daneverify)
    app.command("reputation")(reputation_command.reputation)
    _add_groups(app)
    return app


def _add_groups(app: typer.Typer) -> None:
    """The commands of several words, in the order of the help."""
    from gatepost.control.shell import (
        acme_commands,
        alert_commands,
        bounce_key_commands,
        ca_commands,
        cert_commands,
        config_commands,
        dkim_commands,
        log_commands,
        policy_commands,
        queue_commands,
        sts_commands,
        tlsrpt_commands,
        user_commands,
    )

    for name, commands in (
        ("config", config_commands),
        ("cert", cert_commands),
        ("acme", acme_commands),
        ("ca", ca_commands),
        ("user", user_commands),
        ("policy", policy_commands),
        ("queue", queue_commands),
        ("log", log_commands),
        ("alert", alert_commands),
        ("bounce-keys", bounce_key_commands),
        ("sts", sts_commands),
        ("dkim", dkim_commands),
        ("tlsrpt", tlsrpt_commands),
    ):
        app.add_typer(commands.make(), name=name)
