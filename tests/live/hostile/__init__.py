"""Gatepost under attack: hostile clients and hostile servers on real sockets against a running gateway.

Cases C1 to C34, C39 and C44 of the threats' list, by number in the tests' names. What a pure engine
test already proves is repeated here only as far as sockets, TLS, processes or the log take part.

After every test (`conftest.unharmed`) the gateway still has all its processes, a control message passes byte for byte,
no log line was forged or left open, no peer was shown the inside of an exception, and nothing arrived that was not accepted.
"""
