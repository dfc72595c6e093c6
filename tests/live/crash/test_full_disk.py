"""A spool whose disk is full: new mail gets 452, what was accepted is safe, and service comes back by itself.

The spool lies on a small file system in memory, inside a mount namespace of its own; it needs root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import WORKER, until
from tests.live.crash.judge import judge
from tests.live.crash.load import Client, Promise, Record, Refused
from tests.live.crash.messages import Maker

pytestmark = [pytest.mark.live]

SIZE = 640  # MiB; its reserve of 32 MiB is larger than the logs of the other shards can be
LEFT = 80 << 20  # octets that the tests begin with


class SmallDisk:
    """A mount namespace in which the spool is a small tmpfs; it lives as long as its holder process."""

    def __init__(self, spool: Path) -> None:
        if os.geteuid() != 0:
            pytest.fail("a small disk must be mounted by root: run the live tests as root")
        script = f'mount -t tmpfs -o size={SIZE}m none "$1" && echo ready && read answer'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(spool)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "the small disk could not be mounted"
        self.prefix = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--")
        self.spool = Path(f"/proc/{self._holder.pid}/root{spool}")
        self._ballast = self.spool / "ballast"
        with (self.spool / "begin").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free() - LEFT)

    def free(self) -> int:
        found = os.statvfs(self.spool)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Take every octet that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError:
                pass

    def relieve(self) -> None:
        self._ballast.unlink()

    def bodies(self) -> int:
        return len(list(self.spool.glob("*/body/*")))

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def disk(site: Site) -> Iterator[SmallDisk]:
    site.make()
    site.gateway.home.spool.mkdir(exist_ok=True)
    made = SmallDisk(site.gateway.home.spool)
    yield made
    site.gateway.close()
    made.close()


def _send_until_refused(site: Site, maker: Maker, record: Record, size: int) -> str:
    """Returns what the gateway said in the end."""
    for _ in range(LEFT // size // 100 + 2):
        client = Client(site.port, tls=True)
        try:
            for _ in range(100):
                message = maker.make(size)
                record.promised[message.name] = Promise(client.send(message), message.recipients, 0.0)
        except Refused as refusal:
            return str(refusal)
        finally:
            client.close()
    raise AssertionError("a full disk takes mail")


def _takes_mail(site: Site, maker: Maker, record: Record) -> bool:
    client = Client(site.port, tls=True)
    try:
        message = maker.make(2_000)
        record.promised[message.name] = Promise(client.send(message), message.recipients, 0.0)
        client.quit()
    except Refused as refusal:
        if refusal.code != 452:
            raise
        return False
    finally:
        client.close()
    return True


@pytest.mark.parametrize("size", [500_000, 20_000])
def test_a_full_disk_refuses_new_mail_and_keeps_the_old(
    site: Site, disk: SmallDisk, seed: int, size: int
) -> None:
    """Bodies in files, and bodies in the database."""
    gateway = site.gateway.start(workers=2, prefix=disk.prefix)
    site.sink.order(listen=False)
    maker, record = Maker(seed, "full"), Record()
    said = _send_until_refused(site, maker, record, size)
    assert said.startswith("452 4.3.1")
    _send_until_refused(site, maker, record, 2_000)  # what still fits beside the reserve
    waiting = len(record.promised)
    gateway.kill_all()
    gateway.start(workers=2, prefix=disk.prefix)  # in what the reserve left
    gateway.until_queue(waiting)
    disk.fill()
    assert not _takes_mail(site, maker, record)
    for pid in gateway.children(WORKER):
        gateway.kill(pid, WORKER)
    site.sink.order(listen=True)
    disk.relieve()
    until(lambda: _takes_mail(site, maker, record), "mail is taken again", 60)
    gateway.until_up()
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    assert len(record.promised) > waiting
    assert disk.bodies() == 0


def test_a_full_disk_does_not_stop_delivery(site: Site, disk: SmallDisk, seed: int) -> None:
    """Marks fit into the reserve; and with nothing free at all they wait, while mail still goes out."""
    gateway = site.gateway.start(workers=2, prefix=disk.prefix)
    site.sink.order(listen=False)
    maker, record = Maker(seed, "going"), Record()
    _send_until_refused(site, maker, record, 100_000)
    disk.fill()
    site.sink.order(listen=True)
    until(
        lambda: len({a["id"] for a in site.sink.arrivals()}) == len(record.promised), "all is delivered", 60
    )
    disk.relieve()
    gateway.until_queue(0)
    until(lambda: _takes_mail(site, maker, record), "mail is taken again", 30)
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    assert verdict.duplicates == 0
    assert disk.bodies() == 0


def test_a_disk_that_fills_up_inside_a_message_refuses_that_message(
    site: Site, disk: SmallDisk, seed: int
) -> None:
    gateway = site.gateway.start(workers=1, prefix=disk.prefix)
    maker, record = Maker(seed, "inside"), Record()
    client = Client(site.port, tls=True)
    for size in (900_000, 3_000):
        message = maker.make(size)
        client.envelope(message)
        disk.fill()
        with pytest.raises(Refused) as refusal:
            client.body(message)
        assert refusal.value.code == 452
        disk.relieve()
        until(lambda: _takes_mail(site, maker, record), "mail is taken again", 30)
    client.quit()
    gateway.until_queue(0)
    assert gateway.stop() == 0
    assert judge(record, site.sink.arrivals(), gateway).faults == []
    assert disk.bodies() == 0


def test_a_start_on_a_full_disk_says_so_and_speaks_of_no_damage(site: Site, disk: SmallDisk) -> None:
    gateway = site.gateway.start(workers=1, prefix=disk.prefix)
    assert gateway.stop() == 0
    for workers in (1, 2):
        disk.fill()
        with pytest.raises(AssertionError, match="no space left") as refusal:
            gateway.start(workers=workers, prefix=disk.prefix)
        assert gateway.process is not None
        assert gateway.process.wait(30) == 75
        assert "damaged" not in str(refusal.value)
        assert "move away" not in str(refusal.value)
        disk.relieve()
        assert gateway.start(workers=workers, prefix=disk.prefix).stop() == 0
