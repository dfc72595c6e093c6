"""What one incoming session is held to: the engine's settings by its policy, and what a commit changes of them.

A session keeps the configuration it began with; `follow_commit` asks again, at the first MAIL behind a commit. Where the listener, the access
rule or the TLS level changed, or who has proven to be a user is none any more, the session may not go on.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gatepost.config.smtp_auth import AuthLevel
from gatepost.core.tls import InboundTls
from gatepost.policy.admit import Admission, ListenerRules, still_holds
from gatepost.policy.auth import authenticated
from gatepost.policy.hat import NoScore
from gatepost.relay.arrival import admission_of, name_of
from gatepost.relay.services import Runtime
from gatepost.wire.server_commands import ServerSettings
from gatepost.wire.smtp_server import ServerEngine

if TYPE_CHECKING:
    from gatepost.relay.accept import Session


def make_engine(session: Session, admission: Admission) -> ServerEngine:
    """The engine of a session that is about to be greeted."""
    runtime, rules = session.runtime, session.rules
    settings = settings_of(runtime, rules, admission)
    engine = ServerEngine(settings, tls_active=session.stream.tls is not None)
    policy = admission.policy
    engine.starttls_offered = (
        policy is not None
        and policy.tls_rule.offers_starttls(tls_active=engine.tls_active)
        and rules.name in runtime.server_contexts
    )
    return engine


def settings_of(runtime: Runtime, rules: ListenerRules, admission: Admission) -> ServerSettings:
    """What the engine must know of listener and policy."""
    policy = admission.policy
    if policy is None:
        return _settings(rules.hostname, 1, False, (), False)
    auth = () if policy.smtp_auth is AuthLevel.OFF else runtime.auth.mechanisms
    required = policy.tls is InboundTls.REQUIRED
    return _settings(rules.hostname, policy.max_message_size, required, auth, rules.requiretls)


def follow_commit(session: Session) -> bool:
    """Take up the configuration in force; False when this session may not go on under it."""
    services = session.services
    runtime = services.runtime
    rules = runtime.rules.listeners.get(session.rules.name)
    if rules is None or (rules.address, rules.port) != (session.rules.address, session.rules.port):
        return False
    before = session.admission
    assert before is not None
    score = before.score if runtime.scores.asked else NoScore.NOT_ENABLED
    admission = admission_of(services, rules, session.stream.peer.host, name_of(session.host), score)
    if not still_holds(before, admission):
        return False
    if before.user:
        if session.auth is None or not session.auth.still_holds(runtime, before.user):
            return False
        admission = authenticated(admission, before.user)
    session.runtime, session.rules, session.admission = runtime, rules, admission
    assert session.engine is not None
    session.engine.use(settings_of(runtime, rules, admission))
    return True


@lru_cache(maxsize=64)  # sessions share them: they differ by policy only
def _settings(
    hostname: str, size: int, require_tls: bool, auth: tuple[str, ...], requiretls: bool
) -> ServerSettings:
    return ServerSettings(hostname, size, require_tls=require_tls, auth=auth, requiretls=requiretls)
