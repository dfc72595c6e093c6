"""Gatepost from this checkout: a private listener for loopback, everything routed to the sinks."""

from __future__ import annotations

import os
import shutil

from bench.peers.base import PROJECT, Peer, next_port
from bench.scenarios import Way, domain_addresses
from bench.tools import run

PROGRAM = PROJECT / ".venv" / "bin" / "gatepost"

CONFIGURATION = """\
system: {{hostname: relay.example}}
interfaces:
  - {{name: Data 1, address: 127.0.0.1, hostname: relay.example}}
listeners:
  - name: Relay
    type: private
    interface: Data 1
    port: {port}
    tls: starttls
    certificate: bench
    host_access:
      - {{group: RELAYLIST, senders: ["127.0.0.0/8"], policy: RELAYED}}
      - {{group: ALL, policy: BLOCKED}}
mail_flow_policies:
  - {{name: RELAYED, action: relay, tls: preferred, max_connections_per_ip: 5000}}
  - {{name: BLOCKED, action: reject}}
destination_controls:
  default: {{tls: {level}, dane: none, mta_sts: false}}
smtp_routes:
{routes}
dns: {{servers: [], reverse: false}}
"""


class Gatepost(Peer):
    name = "gatepost"
    port = 2550

    @property
    def _home(self) -> str:
        return str(self.folder / "home")

    def missing(self) -> str:
        return "" if PROGRAM.exists() else "not set up (scripts/setup)"

    def version(self) -> str:
        done = run(
            [str(PROJECT / ".venv" / "bin" / "python"), "-c", "import gatepost; print(gatepost.__version__)"]
        )
        return f"{done.strip()}, {self.site.workers} workers"

    def environment(self) -> dict[str, str]:
        return {"GATEPOST_HOME": self._home}

    def configure(self, way: Way) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        targets = domain_addresses() if way is Way.MANY else []
        routes = [f'  - {{domain: {d}, hosts: ["[{a}]:{next_port(way)}"]}}' for d, a in targets]
        routes.append(f'  - {{domain: ALL, hosts: ["[127.0.0.1]:{next_port(way)}"]}}')
        document = CONFIGURATION.format(
            port=self.port, level="none" if way is Way.CLEAR else "preferred", routes="\n".join(routes)
        )
        file = self.folder / "gateway.yaml"
        file.write_text(document)
        environment = {**os.environ, **self.environment()}
        new = ["cert", "new", "bench", "--common-name", "relay.example", "--key", "p256"]
        run([str(PROGRAM), *new], environment=environment)
        run([str(PROGRAM), "config", "apply", str(file)], environment=environment)

    def command(self) -> list[str]:
        return [str(PROGRAM), "start", "--home", self._home, "--workers", str(self.site.workers)]
