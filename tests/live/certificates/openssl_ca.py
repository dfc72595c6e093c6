"""An authority as an administrator runs one with openssl, and openssl itself as the reader of certificates.

ca = OpensslCa(folder)                      # a root and an intermediate below it
ca.sign(request, "mx.example.net")          # what the intermediate makes of a request
ca.sub_authority("issuing", ca.sub)         # one more step between root and host
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.live.peers.processes import need, run

_EXTENSIONS = """
[host]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:{name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[req]
distinguished_name = dn
[dn]
"""
_DATABASE = """\
[ca]
default_ca = it
[it]
database = {base}/index.txt
serial = {base}/serial
new_certs_dir = {base}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


class OpensslCa:
    """A root and an intermediate, both files with their keys beside them."""

    def __init__(self, folder: Path, name: str = "Openssl") -> None:
        folder.mkdir()
        self.folder = folder
        self.name = name
        self.root = self.sub_authority("root", None)
        self.sub = self.sub_authority("sub", self.root)

    def file(self, name: str) -> Path:
        return self.folder / name

    def _config(self, name: str) -> Path:
        config = self.file("openssl.cnf")
        config.write_text(_EXTENSIONS.format(name=name))
        return config

    def sub_authority(self, what: str, above: Path | None) -> Path:
        """One more authority, signed by the one above, or a root."""
        key, request, made = (self.file(f"{what}.{end}") for end in ("key", "csr", "crt"))
        config = self._config("unused.example")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl(
            "req", "-new", "-key", key, "-subj", f"/CN={self.name} {what}", "-out", request, "-config", config
        )
        signer = ["-signkey", key] if above is None else ["-CA", above, "-CAkey", above.with_suffix(".key")]
        openssl(
            "x509", "-req", "-in", request, *signer, "-days", "900", "-out", made,
            "-extfile", config, "-extensions", "authority",
        )  # fmt: skip
        return made

    def sign(
        self, request: Path, name: str, *options: str, sha: str = "-sha256", by: Path | None = None
    ) -> Path:
        """The request signed by the intermediate (or the authority `by`), as PEM without the chain."""
        made = request.with_suffix(".signed")
        when = options or ("-days", "90")
        above = by or self.sub
        openssl(
            "x509", "-req", "-in", request, "-CA", above, "-CAkey", above.with_suffix(".key"), sha,
            "-out", made, "-extfile", self._config(name), "-extensions", "host", *when,
        )  # fmt: skip
        return made

    def sign_dated(
        self, request: Path, name: str, start: str, end: str, *, by: Path | None = None, section: str = "host"
    ) -> Path:
        """The same with dates of its own (`openssl ca`, YYYYMMDDHHMMSSZ); `section` authority makes one."""
        made, base, above = request.with_suffix(".dated"), self.file("ca"), by or self.sub
        base.mkdir(exist_ok=True)
        (base / "index.txt").write_text("")
        (base / "serial").write_text(f"{time.time_ns():x}"[:16] + "\n")
        config = self.file("ca.cnf")
        config.write_text(_DATABASE.format(base=base) + _EXTENSIONS.format(name=name))
        openssl(
            "ca", "-batch", "-config", config, "-in", request, "-cert", above,
            "-keyfile", above.with_suffix(".key"), "-startdate", start, "-enddate", end,
            "-extensions", section, "-notext", "-out", made,
        )  # fmt: skip
        return made


def openssl(*words: str | Path) -> str:
    """What it says on standard output; fails the test when it fails."""
    done = run([need("openssl", "openssl"), *words])
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")


def fingerprint(file: Path) -> str:
    """SHA-256 of a certificate, as `gatepost cert show` writes it."""
    said = openssl("x509", "-in", file, "-noout", "-fingerprint", "-sha256")
    return said.partition("=")[2].strip().replace(":", "").lower()
