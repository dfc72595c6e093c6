"""The only sockets of the product: listeners, the dialer, the TLS transport, DNS, and HTTP out.

How it works. A `Reactor` belongs to one event loop and holds what its connections share: the sweeper that
enforces deadlines once a second, one receive buffer, and the places that bound simultaneous handshakes. A
`Listener` accepts on an inherited descriptor, `dial` connects; both lead to a `Stream`, which has one
coroutine for its owner: `read`, `write`, `drain`, `start_tls`, `close`. TLS runs in pyOpenSSL over memory
buffers (`tls_stream`), so no byte reaches a peer or an engine except through `Stream`.

What it trusts. Nothing that a peer sends. No decision is made here: the peer's chain is handed out as it
came (`TlsSession.peer_chain`) and judged by `pki`; a context verifies nothing by itself. Addresses
learnt from DNS are only reported, with the word whether they were proven (`DnsAnswer.secure`).

Limits. 64 KiB of unread input and 64 KiB of unsent output a connection, 30 s and 64 KiB a handshake,
100 handshakes at once a worker, 1 s for a peer's close_notify, a bounded DNS cache.

Private parts of the TLS binding are touched in `openssl_private` and nowhere else.
"""
