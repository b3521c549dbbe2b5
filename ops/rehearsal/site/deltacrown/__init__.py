"""The project of the stand-in site: settings, addresses, the WSGI entry."""
