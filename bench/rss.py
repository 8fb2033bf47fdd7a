"""Run a command and tell on the last line of stderr its peak memory in bytes: the largest process of its tree.

Stands alone, so that it can be carried to a droplet. The kernel keeps a process's peak over `exec`, so whoever
measures must itself be small: this imports next to nothing.
"""

import resource
import subprocess
import sys

code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
sys.stderr.write(f"\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}\n")
sys.exit(code)
