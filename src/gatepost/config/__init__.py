"""What the operator wants: the configuration as one typed value, how it is written, and what is wrong with it.

`model` is the document (with `inbound` and `outbound` for its large sections), `values`, `senders`, `recipients` and
`hosts` are the scalars and small languages in it. `load` reads and writes the YAML and JSON forms, `examine` finds all
faults of a text at once, `check` holds references together and warns, `diff` compares and merges three ways,
`defaults` is the document of a new home. Everything is pure: no files, no clock, no database; the day and the names
of the certificates are arguments.
"""
