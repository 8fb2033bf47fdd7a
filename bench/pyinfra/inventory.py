"""The one droplet, from the environment."""

import os

droplet = [
    (
        os.environ["BENCH_HOST"],
        {
            "ssh_port": int(os.environ["BENCH_PORT"]),
            "ssh_user": os.environ["BENCH_USER"],
            "ssh_key": os.environ["BENCH_KEY"],
            "ssh_known_hosts_file": os.environ["BENCH_KNOWN_HOSTS"],
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
        },
    )
]
