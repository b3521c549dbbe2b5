"""A Pulumi provider that stands where pulumi-aws's plugin stands, and speaks to the AWS stand-in.

The plugin cannot be had in the rehearsal, so it is replaced at its gRPC border; program, SDK and CLI are the
real ones. A resource type is one small class (see `resource`) that `servicer.RESOURCE_TYPES` lists.
"""

from rehearsal.provider.launch import MonitoringPlace, serving

__all__ = ["MonitoringPlace", "serving"]
