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
        acme_commands,
        alert_commands,
        bounce_key_commands,
        ca_commands,
        cert_commands,
        config_commands,
        dkim_commands,
        explain_command,
        log_commands,
        metrics_command,
        policy_commands,
        queue_commands,
        reputation_command,
        status_command,
        sts_commands,
        tlsrpt_commands,
        user_commands,
        verify_commands,
    )

    app = group("gatepost", "An e-mail security gateway whose heart is TLS and certificates done right.")
    app.command("status")(status_command.status)
    app.command("metrics")(metrics_command.metrics)
    app.command("explain")(explain_command.explain)
    app.command("tlsverify")(verify_commands.tlsverify)
    app.command("daneverify")(verify_commands.daneverify)
    app.command("reputation")(reputation_command.reputation)
    app.add_typer(config_commands.make(), name="config")
    app.add_typer(cert_commands.make(), name="cert")
    app.add_typer(acme_commands.make(), name="acme")
    app.add_typer(ca_commands.make(), name="ca")
    app.add_typer(user_commands.make(), name="user")
    app.add_typer(policy_commands.make(), name="policy")
    app.add_typer(queue_commands.make(), name="queue")
    app.add_typer(log_commands.make(), name="log")
    app.add_typer(alert_commands.make(), name="alert")
    app.add_typer(bounce_key_commands.make(), name="bounce-keys")
    app.add_typer(sts_commands.make(), name="sts")
    app.add_typer(dkim_commands.make(), name="dkim")
    app.add_typer(tlsrpt_commands.make(), name="tlsrpt")
    return app
