"""The benchmark: Gatepost beside the mail servers a user would pick instead, on one machine in one run.

`make bench` runs it (`python -m bench.bench --help` lists what can be chosen). Reading order:

* `scenarios`  what is sent: A to F, I and L
* `peers`      the servers, each with its own folder and configuration
* `tools`      building and running the load generator (`gen.c`) and the sink (`sink.c`)
* `measure`    a server's processes as one thing: CPU, memory, end
* `rounds`     who runs when, and how long
* `report`     medians, ratios and tables

All servers keep a message on the same disk before they acknowledge it, do no DNS, and share the machine's cores with
generator and sink. So messages a second understate every server, and CPU per message is the fairer figure.
"""
