"""The service: HTTP in, answers of the current release out. ``python3 agent.pyz --root DIR serve``.

connection  one client: its requests one after the other, bounded in time and size
routes      what is asked → what is answered
desk        questions and prompts that wait for the runtime, bounded
pen         writes one text at a time, as long as it may and somebody reads it
events      such a text as server-sent events
answers     the cache of exact answers
loaded      one release in a child process
keeper      which release answers: loads the next one beside it, and a new one in place of a dead one
server      sockets, and the end of all of it
command     all of it, from start to end
unit        the systemd unit that starts it
"""
