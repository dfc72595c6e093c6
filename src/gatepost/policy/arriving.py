"""What can be said of a connection before its host name and its score are known (C27).

The look-ups take up to two seconds, and the mail flow policy may depend on them. So that a flood of connections cannot wait
there without a limit, those of one address are bounded meanwhile by the most generous policy that the address may come to.
"""

from __future__ import annotations

from gatepost.config.inbound import PolicyAction
from gatepost.core.address import IPAddress
from gatepost.policy.admit import EffectivePolicy, ListenerRules

_WELCOME = frozenset({PolicyAction.ACCEPT, PolicyAction.RELAY})


def may_come_to(rules: ListenerRules, address: IPAddress, *, scored: bool) -> tuple[EffectivePolicy, ...]:
    """The policies that the HAT may choose for an address; `scored` says whether its score will be asked for."""
    groups = rules.hat.candidates(address, named=rules.reverse, scored=scored)
    return tuple(rules.policies[number] for number in sorted(groups))


def most_connections(policies: tuple[EffectivePolicy, ...]) -> int:
    """How many connections of the address can become sessions at most; never none, since each must be let come to be told.

    Policies that refuse count only where there are no others: whom they refuse needs no more room than the rest.
    """
    welcome = [policy for policy in policies if policy.action in _WELCOME]
    return max((policy.max_connections_per_ip for policy in welcome or policies), default=1)


def refused_unseen(policies: tuple[EffectivePolicy, ...]) -> bool:
    """Is the connection to be dropped whatever its name and its score are?"""
    return len(policies) == 1 and policies[0].action is PolicyAction.TCPREFUSE
