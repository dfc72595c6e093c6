"""Real peers for live tests: daemons with their own folders and ports, and a receiver that misbehaves on command.

* `processes`  starting a program, following what it writes, ending it
* `ports`      free ports that parallel test processes do not share
* `postfix`, `exim`  as receiver (keeps mail in a Maildir) and as sender (hands mail on to a next hop)
* `receiver`   a scripted SMTP receiver: every way in which STARTTLS can go wrong
* `clients`    swaks, `openssl s_client`, and Python's own client
* `gateway`    Gatepost itself, as its administrator would start it

A test waits for an event (a line, a message, a process's end), never for time to pass. A peer that is not
installed fails the test and says what to install.
"""
