"""HyperQueue on one machine as its documentation starts it from Python: server and one worker in this process.

Argument: the worker's cores; all else is left as it comes. Says its version; then answers each line `COUNT COMMAND ARGUMENT…`
with the seconds from the submission of one job of so many tasks until its client has seen the last end, each with exit code 0.
"""

import os
import sys
import time
from importlib.metadata import version

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

# Answers alone go to standard output, whatever the library prints there.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

with LocalCluster(worker_config=WorkerConfig(cores=int(sys.argv[1]))) as cluster:
    client = cluster.client()
    print(version("hyperqueue"), file=answers, flush=True)
    for line in sys.stdin:
        count, *command = line.split()
        started = time.perf_counter()
        job = Job()
        for _ in range(int(count)):
            job.program(command)
        client.wait_for_jobs([client.submit(job)])
        print(time.perf_counter() - started, file=answers, flush=True)
