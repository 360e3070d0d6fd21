"""The real services in one process, on virtual time, with everything that can go wrong.

A seed decides the order of steps, every delay and every fault; the same seed is the same run, byte
for byte, in any interpreter. `loop`, `network`, `world`, `process`, `runtime` and `files` are the
world; `cluster` puts the services into it; `people` use them, `nemesis` breaks them; `checker` and
`event_log` judge what callers saw.

Not simulated: real processes of jobs, fsync of SQLite itself (a committed transaction is taken to
be on the disk), errors of the disk, two threads at once, TLS. System tests are for those.
"""
