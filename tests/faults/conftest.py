"""The parts of the data tools' and the fleet's tests, for runs that take minutes."""

from tests.data_tools.conftest import account, aws, cluster, database, site
from tests.fleet.conftest import deployed, lab

__all__ = ["account", "aws", "cluster", "database", "deployed", "lab", "site"]
