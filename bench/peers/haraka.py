"""Haraka on node, from npm, with two cluster workers. Its look-ups of client names are answered "no such name"."""

from __future__ import annotations

import shutil

from bench.peers.base import UNPACKED, Peer, next_port
from bench.scenarios import Way
from bench.tools import run

MODULE = UNPACKED / "haraka" / "node_modules" / "Haraka"

NO_REVERSE_DNS = """\
const dns = require('dns');
const none = () => { const e = new Error('no such name'); e.code = 'ENOTFOUND'; return e; };
dns.reverse = (ip, done) => process.nextTick(() => done(none()));
dns.promises.reverse = async () => { throw none(); };
"""

ROUTE_PLUGIN = """\
exports.hook_get_mx = function (next, mail, domain) {{
    const many = /^d(\\d+)\\.bench\\.example$/.exec(domain);
    const exchange = many ? '127.0.1.' + many[1] : '127.0.0.1';
    next(OK, {{priority: 0, exchange: exchange, port: {next_port}}});
}};
"""


class Haraka(Peer):
    name = "haraka"
    port = 2540
    note = "one outgoing connection a message; client name look-ups stubbed out"

    def missing(self) -> str:
        if not shutil.which("node"):
            return "node is not installed"
        return "" if MODULE.exists() else "not installed (scripts/bench-packages)"

    def version(self) -> str:
        program = "process.stdout.write(require(process.argv[1] + '/package.json').version)"
        return f"{run(['node', '-e', program, str(MODULE)])}, {self.site.workers} workers"

    def configure(self, way: Way) -> None:
        self.empty_folder()
        config, plugins = self.empty_folder("config"), self.empty_folder("plugins")
        shutil.copy(MODULE / "config" / "connection.ini", config)
        self.empty_folder("queue")
        outgoing_tls = "false" if way is Way.CLEAR else "true"
        files = {
            "plugins": "tls\nrelay\nforce_mx\n",
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes={self.site.workers}\n",
            "relay.ini": "[relay]\nacl=true\n",
            "relay_acl_allow": "127.0.0.0/8\n",
            "tls.ini": "key=tls_key.pem\ncert=tls_cert.pem\n[outbound]\nrejectUnauthorized=false\n",
            "outbound.ini": f"local_mx_ok=true\nenable_tls={outgoing_tls}\nconcurrency_max=100\n",
            "me": "relay.example\n",
            "databytes": "50000000\n",
        }
        for name, text in files.items():
            (config / name).write_text(text)
        shutil.copy(self.site.tools.certificate, config / "tls_cert.pem")
        shutil.copy(self.site.tools.key, config / "tls_key.pem")
        shutil.copy(self.site.tools.dh_parameters, config / "dhparams.pem")
        (plugins / "force_mx.js").write_text(ROUTE_PLUGIN.format(next_port=next_port(way)))
        (self.folder / "nodns.js").write_text(NO_REVERSE_DNS)

    def environment(self) -> dict[str, str]:
        return {"NODE_OPTIONS": f"-r {self.folder}/nodns.js"}

    def command(self) -> list[str]:
        return ["node", str(MODULE / "bin" / "haraka"), "-c", str(self.folder)]
