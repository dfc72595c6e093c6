"""The processes: builds the objects, picks the role, handles signals. Imported by nobody.

    main          the command `gatepost`, and the hidden roles
    start         `gatepost start`: home, privileges, then the supervisor
    supervisor    children, ports, keys, identifiers, activation, stop
    worker_main   the worker role around a mail worker
    desk          the desk role: control socket and operations
    channel       what they say to each other
    show          `make run`: the gateway at work, with one message sent through it

How they fit together and what each may do is written in `docs/operations.md` for the operator, and at
the head of each file for its reader. What one process may ask of another is in `roles` and `control.ports`.
"""
