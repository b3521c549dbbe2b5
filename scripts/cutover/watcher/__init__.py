"""The automatic rollback: watches the trigger alarms, and runs the emergency that they name."""
