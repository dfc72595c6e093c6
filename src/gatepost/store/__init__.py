"""What survives: the spool, configuration versions, secrets, identifiers, and the limits shared by workers.

This room holds the only SQL and the only spool code of the product, and it takes no decisions: it keeps what it is
given, says what it found, and raises when it could not keep its promise. Every promise is about durability and is
written at the head of the file that makes it.

`spool/`           accepted messages and their state, on disk before they are acknowledged (architecture 5)
`ids`              identifiers that never repeat
`config_store`     configuration versions, candidates and history
`secrets`          the master key and what is sealed with it
`home`             the home folder, its lock and its layout
`limits`           the table of counters that all workers share
"""
