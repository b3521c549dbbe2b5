"""The application's scheduled tasks."""
