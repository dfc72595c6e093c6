"""`make run`: the gateway at work on this machine, with one message sent through it.

    demo       the run itself, from the empty folder to Ctrl-C
    stage      the home, and the version of the configuration that the show runs
    places     which ports, and the route to the sink; pure
    gateway    `gatepost start` as a child process
    sink       an SMTP server that stands in for the protected mail server
    visitor    sends one message to the gateway
    command    what `make run` was asked for, and how its end is told
    screen     what is told, in lines of at most 80 columns

The gateway is the real one, with all its processes, on a home of its own. Only the two ends are ours: the visitor
who sends and the sink that receives. Both are built from the product's own engines and streams.
"""
