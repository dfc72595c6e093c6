"""Which jobs the desk has, made from what it works with."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.app.auth_job import AuthJob
from gatepost.app.clear_notice_job import ClearNoticeJob
from gatepost.app.crl_job import CrlJob
from gatepost.app.dane_job import DaneJob
from gatepost.app.endings_job import EndingsJob
from gatepost.app.expiry_job import ExpiryJob
from gatepost.app.jobs import Job
from gatepost.app.name_server_job import NameServerJob
from gatepost.app.own_sts_job import OwnStsJob
from gatepost.app.proof_job import ProofJob
from gatepost.app.received_reports_job import ReceivedReportsJob
from gatepost.app.records_job import RecordsJob
from gatepost.app.renewal_job import RenewalJob
from gatepost.app.reputation_job import ReputationJob
from gatepost.app.required_tls_job import RequiredTlsJob
from gatepost.app.tls_report_job import TlsReportJob
from gatepost.app.webhook_job import WebhookJob
from gatepost.certs.order_challenges import Ports
from gatepost.control.ports import Gateway, Operations
from gatepost.core.ports import AlertPort, Clock
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import Keeper
from gatepost.track.event_reader import EventReader


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job may use: it changes nothing but through `operations`, as `Caller.gateway()`."""

    home: Home
    store: ConfigStore
    keeper: Keeper
    gateway: Gateway
    operations: Operations
    clock: Clock
    alerts: AlertPort
    ports: Ports


def make_jobs(tools: Tools) -> tuple[Job, ...]:
    """All of them."""
    events = EventReader(tools.home.logs, tools.home.event_log.name)  # it remembers nothing: one is enough
    return (
        ExpiryJob(tools.store, tools.alerts, tools.gateway.emit, tools.clock),
        CrlJob(tools.store, tools.gateway, tools.operations, tools.alerts, tools.clock),
        ProofJob(tools.store, tools.gateway, tools.operations, tools.clock, tools.alerts),
        DaneJob(tools.store, tools.alerts, tools.clock),
        OwnStsJob(tools.store, tools.operations, tools.alerts, tools.clock),
        ReceivedReportsJob(tools.home, tools.store, tools.alerts, tools.gateway.emit, tools.clock),
        RequiredTlsJob(tools.store, events, tools.alerts, tools.gateway.emit, tools.clock),
        AuthJob(tools.store, events, tools.alerts, tools.clock),
        RecordsJob(tools.home, tools.store, tools.gateway.emit, tools.clock),
        NameServerJob(tools.store, tools.alerts, tools.clock),
        ReputationJob(tools.store, tools.alerts, tools.clock),
        EndingsJob(tools.store, tools.alerts, tools.clock),
        ClearNoticeJob(tools.store, tools.gateway, tools.clock),
        TlsReportJob(tools.home, tools.store, tools.keeper, tools.gateway, events, tools.clock),
        WebhookJob(tools.store, tools.keeper, tools.gateway.emit, tools.clock),
        RenewalJob(
            tools.store,
            tools.keeper,
            tools.gateway,
            tools.operations,
            tools.clock,
            tools.alerts,
            tools.ports,
        ),
    )
