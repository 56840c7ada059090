"""Parsl on one machine as its documentation configures it: HighThroughputExecutor with LocalProvider, commands as bash apps.

Argument: how many workers, also beyond the cores; all else is left as it comes. Says its version; then answers each line `COUNT COMMAND ARGUMENT…`
with the seconds from the first call until the last result, each with exit code 0.
"""

import os
import sys
import time
from importlib.metadata import version

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


@parsl.bash_app
def run(command):
    return command


executor = HighThroughputExecutor(
    address="127.0.0.1",
    max_workers_per_node=int(sys.argv[1]),
    cores_per_worker=0.01,  # else there are no more workers than cores
    provider=LocalProvider(init_blocks=1, max_blocks=1),
)
# Answers alone go to standard output, whatever the library prints there.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

with parsl.load(Config(executors=[executor])):
    print(version("parsl"), file=answers, flush=True)
    for line in sys.stdin:
        count, command = line.strip().split(" ", 1)
        started = time.perf_counter()
        for future in [run(command) for _ in range(int(count))]:
            future.result()
        print(time.perf_counter() - started, file=answers, flush=True)
