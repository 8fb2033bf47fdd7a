"""A droplet on your laptop."""
