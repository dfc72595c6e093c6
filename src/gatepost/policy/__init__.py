"""Every decision, as a pure function from what is known to a value that says why.

Nothing here reads a clock, a socket, a file or a random source: times, host names, DNS answers and random
numbers are arguments. So a decision seen in production can be taken again from its inputs.

The way in: `hat` (who connects), `rat` and `mailboxes` (for whom), `tls_in` (over TLS or not), and `admit`, which
compiles a configuration to rules and asks the other three at each gate of a session. The way out: `route` (where to),
`mx` (in which order, and to which addresses never), `destinations` and `tls_out` (with which TLS; `hop` is what they speak of), `retry` (when again).
"""
