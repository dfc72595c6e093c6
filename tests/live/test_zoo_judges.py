"""DANE verdicts of the zoo's table against three programs of others: Postfix's posttls-finger, openssl s_client, and ldns-dane.

They run in the zoo's network, against the same hosts and the same DNS. What counts is whether the host is verified. Where a judge cannot
judge, or is known to differ, the table of `judges` says so with the reason; a judge that is said to differ has to.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.live.peers.processes import Program, need, need_root, run

from gatepost.app.zoo.table import Column, Inhabitant, Verdict
from gatepost.app.zoo.table.judges import DISSENTS, JUDGED
from gatepost.app.zoo.table.shape import Judge

COMMAND = (sys.executable, "-P", "-m", "gatepost")
FEWEST = {Judge.POSTTLS_FINGER: 80, Judge.OPENSSL: 50, Judge.LDNS_DANE: 65}
"""Comparisons that there are at least, so that nothing passes by comparing nothing."""

_RECORD = re.compile(r"[0-9]+ [0-9]+ [0-9]+ [0-9A-F]+")
_CHAIN = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


@dataclass(frozen=True)
class Opinion:
    """`verified` None: there is nothing to judge for this program."""

    verified: bool | None
    said: str = ""


@dataclass(frozen=True)
class Scene:
    """What the judges who do not look up everything themselves are told: the TLSA base domain, the host's address, the records."""

    base: str
    address: str
    records: tuple[str, ...] = ()


class Court:
    """The zoo, and the programs in its network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "main.cf").write_text("compatibility_level = 3.6\n")
        words = [word for one in JUDGED for word in ("--inhabitant", one.name)]
        self._zoo = Program([*COMMAND, "zoo", "start", "--level", "dane", *words], name="zoo")
        self._zoo.output.wait_for(r"^Up until Ctrl-C\.$", timeout=120)
        self._inside = [need("nsenter", "util-linux"), "-t", str(self._zoo.pid), "-n", "-m"]

    def close(self) -> None:
        self._zoo.signal(signal.SIGINT)
        self._zoo.wait()
        self._zoo.kill()

    def _run(self, *command: str, text: bytes = b"") -> tuple[int, bytes]:
        done = run(
            [*self._inside, *command], text=text, environment={"MAIL_CONFIG": str(self._folder)}, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    def _dig(self, kind: str, name: str) -> tuple[list[str], bool]:
        """The records' texts, and whether the zoo's resolver has validated them."""
        _, said = self._run(need("dig", "bind9-dnsutils"), "+tries=1", "+nosplit", kind, name)
        head, _, rest = said.decode().partition(";; ANSWER SECTION:")
        lines = [line.split(None, 4) for line in rest.partition("\n\n")[0].splitlines() if line]
        secure = re.search(r"^;; flags:[a-z ]* ad[ ;]", head, re.MULTILINE) is not None
        return [words[4] for words in lines if words[3] == kind], secure

    def scene(self, one: Inhabitant) -> Scene:
        """The first mail exchanger, or the domain itself, with the TLSA records that may be heeded (RFC 7672 §2.2)."""
        exchangers = sorted(
            (int(text.split()[0]), text.split()[1]) for text in self._dig("MX", one.domain)[0]
        )
        host = exchangers[0][1].rstrip(".") if exchangers else one.domain
        addresses = self._dig("A", host)[0]
        for base in [*(alias.rstrip(".") for alias in self._dig("CNAME", host)[0]), host]:
            records, secure = self._dig("TLSA", f"_25._tcp.{base}")
            if records and secure:
                known = tuple(record for record in records if _RECORD.fullmatch(record))
                return Scene(base, addresses[0] if addresses else "", known)
        return Scene(host, addresses[0] if addresses else "")

    def ask(self, one: Inhabitant) -> dict[Judge, Opinion]:
        """What each of the three says."""
        scene = self.scene(one)
        return {
            Judge.POSTTLS_FINGER: self.posttls_finger(one),
            Judge.OPENSSL: self.openssl(scene),
            Judge.LDNS_DANE: self.ldns_dane(scene),
        }

    # --- the judges ------------------------------------------------------------------------------------

    def posttls_finger(self, one: Inhabitant) -> Opinion:
        _, said = self._run(
            need("posttls-finger", "postfix"),
            "-c",
            "-t",
            "10",
            "-T",
            "10",
            "-l",
            "dane",
            "-L",
            "summary",
            one.domain,
        )
        return Opinion(b"Verified TLS connection established" in said, said.decode(errors="replace"))

    def openssl(self, scene: Scene) -> Opinion:
        if not scene.records or not scene.address:
            return Opinion(None)
        words = [word for record in scene.records for word in ("-dane_tlsa_rrdata", record)]
        _, said = self._s_client(
            scene, "-brief", "-dane_tlsa_domain", scene.base, "-dane_ee_no_namechecks", *words
        )
        good = b"Verification: OK" in said and b"DANE TLSA" in said
        return Opinion(good, said.decode(errors="replace"))

    def ldns_dane(self, scene: Scene) -> Opinion:
        chain = _CHAIN.findall(self._s_client(scene, "-showcerts")[1]) if scene.address else []
        if not chain:
            return Opinion(None)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".pem") as file:
            file.write(b"".join(chain))
            file.flush()
            program = need("ldns-dane", "ldnsutils")
            status, said = self._run(program, "-r", "127.0.0.1", "-c", file.name, "verify", scene.base, "25")
        return Opinion(status == 0 and b"dane-validated successfully" in said, said.decode(errors="replace"))

    def _s_client(self, scene: Scene, *more: str) -> tuple[int, bytes]:
        words = (
            "s_client",
            "-starttls",
            "smtp",
            "-connect",
            f"{scene.address}:25",
            "-servername",
            scene.base,
        )
        # Without STARTTLS it waits for ever.
        limited = (need("timeout", "coreutils"), "15", need("openssl", "openssl"))
        return self._run(*limited, *words, *more, text=b"QUIT\r\n")


@pytest.fixture(scope="module")
def opinions() -> Iterator[dict[str, dict[Judge, Opinion]]]:
    """What each judge says of each inhabitant; several at a time."""
    need_root("the zoo's network")
    need("unbound", "unbound")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(6) as pool:
        court = Court(Path(folder))
        try:
            asked = {one.name: pool.submit(court.ask, one) for one in JUDGED}
            yield {name: future.result() for name, future in asked.items()}
        finally:
            court.close()


@pytest.mark.parametrize("judge", Judge)
def test_the_judge_comes_to_the_verdict_of_the_table(
    opinions: dict[str, dict[Judge, Opinion]], judge: Judge
) -> None:
    dissents = {one.inhabitant: one for one in DISSENTS if one.judge is judge}
    compared, wrong = 0, []
    for one in JUDGED:
        ours, theirs = one.expected[Column.DANE].verdict is Verdict.VERIFIED, opinions[one.name][judge]
        dissent = dissents.pop(one.name, None)
        if theirs.verified is None or (dissent is not None and not dissent.differs):
            continue
        compared += 1
        if (theirs.verified is ours) is (dissent is not None):
            wrong.append(
                {"inhabitant": one.name, "ours": ours, "theirs": theirs.verified, "said": theirs.said[-600:]}
            )
    assert not wrong, json.dumps(wrong, indent=1)
    assert not dissents, f"nobody of that name is judged: {sorted(dissents)}"
    assert compared >= FEWEST[judge], compared
