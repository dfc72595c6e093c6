"""What became of the mail: from events to log files, and back from log files to answers.

One way leads through this room. `journal.WorkerJournal` takes the events of one worker in order, keeps those
back that wait for a commit, and hands what may be seen to its sinks; `mail_log` and `json_log` turn
events into the classic text log and into JSON lines; `log_files.LogFile` appends both to files that all
processes share and rotate together. `find` and `follow` read the text log again, `event_reader` the JSON lines, from where it stopped.

What may be lost, and what not: an event that belongs to a commit is in the spool until `journal` says that
it is safe in the files; after a crash it is replayed. Free events (a connection came, TLS failed)
of the last half second are lost with the worker. A full disk loses lines, counts them and says so, and stops nothing.

Nothing here decides anything about mail, and nothing here knows the spool, the relay or a socket.
"""
