"""What the provider's API can do with a droplet."""

from opsctl.cloud.connect import connect_cloud

__all__ = ["connect_cloud"]
