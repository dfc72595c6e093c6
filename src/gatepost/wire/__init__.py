"""What peers say: the mail protocols as engines and parsers without I/O.

An engine is a value with state: bytes of the peer go in by `receive`, events come out of `next_event`,
what the owner decides goes in by a method, and the bytes to send come out of `take_output`. No engine
knows sockets, TLS, time or the spool, so every case can be played in a test byte by byte, and the same
code serves a connection, a tester and a fuzzer.

SMTP server (`smtp_server`, with `server_events`, `server_commands`, `server_body`)
    The session reads a piece from its stream, hands it to `ServerEngine.receive`, and takes events until
    `next_event` says None; then it sends `take_output` and reads again. Events that carry a question
    (`wants_answer`) hold everything behind them until `answer(reply)` came, so that replies leave in the
    order of the commands even when they were pipelined (RFC 2920). Syntax, sequence, sizes and everything
    that a peer could use to be read in two ways are the engine's: strict CRLF in commands and bodies, one
    end of data only, no byte behind STARTTLS. Who may send what to whom is the session's, through its answers.

Parts of the language (`smtp_syntax`, `received`)
    Paths, parameters and xtext are read in one place and written by the client from the same place. Text of
    a peer is never put into a header without `received.clean`.

What it trusts: nothing of the peer. Limits: a command line, a path, the header, the message, the number of
small chunks and of faults are all bounded; memory held by an engine is one line, or what one `receive` brought.
"""
