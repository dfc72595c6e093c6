"""The tester: what the gateway would do, and what a peer shows, as values to look at.

    explain         the tree of decisions for one recipient domain, from what a walk of the delivery's own steps found
    explain_rules   its first branch: destination entry, settings, smtp route
    explain_dns     its second: look-ups, DNSSEC, TLSA records, MTA-STS policies
    explain_hosts   its third: each host with the plan that follows, in plain words
    explain_calls   its last: what a host showed when it was called, and the verdict
    tree            how such values become JSON

No rule of `policy` or `pki` is written down here a second time: they are asked.
"""
