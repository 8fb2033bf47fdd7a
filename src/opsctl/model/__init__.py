"""Words, contracts and ports: imports nothing from the other rooms."""
