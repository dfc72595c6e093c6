"""Certificates by ACME: our own client of RFC 8555 (decision 0026), asynchronous, every wait bounded.

    errors        what goes wrong, in the CA's words, and whether trying again helps
    ports         what the client is given: HTTP, challenges, a journal of orders
    client        one CA: nonces, signed requests, refusals, polling
    account       an account: found by its key or made, bound to an outside account, its key changed
    challenges    the proofs of control as values: http-01, dns-01, tls-alpn-01
    authorizing   one name proved: challenge chosen, presented, validated, withdrawn
    issuing       `obtain`: from an order, new or resumed, to a chain that was looked at
    accepting     what a chain must be before it is taken
    renewal_info  when the CA would like a renewal (RFC 9773)
    dns_hook      records for dns-01 by a program
    dns_update    records for dns-01 by dynamic update with TSIG (RFC 2136, RFC 8945)
    propagation   waiting until the authoritative servers show a record

Messages are `wire.acme`'s, the moments of renewal `policy.renew`'s, sockets `net`'s. Nothing here stores anything or opens a port:
that is done by those who call.
"""
