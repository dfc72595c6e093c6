"""The message's way through the gateway, one file a step.

    accept    connection -> Session            who is it, may it speak, over TLS or not
    receive   MAIL, RCPT, DATA/BDAT -> Message  streamed, never whole in memory beyond the small-message limit
    spool     Message -> Spooled               on disk, then 250: the promise is made here and nowhere else
    schedule  Spooled -> Due                   which recipients are due, and how many connections a destination gets
    resolve   Due -> list[Hop]                 smtp routes, MX, addresses
    secure    Hop -> TlsOutcome                what TLS must be like here, and what it turned out to be
    deliver   Due, Hop -> Outcome              one transaction on a connection that is opened, reused and closed here
    settle    Outcome -> Delivered | Deferred | Bounced, and events

Every step asks `policy` for the choice and obeys; every step reports through the journal. One worker
process has the whole way of a message, so no message crosses a process. State changes (`settle`, `schedule`)
contain no await, so that cancellation cannot tear them.
"""
