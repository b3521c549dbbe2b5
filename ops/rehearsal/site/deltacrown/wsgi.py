"""What uWSGI loads: `module = deltacrown.wsgi:application`."""

# Nothing that is imported becomes garbage: looking for it makes a start, and so a rollback, a fifth longer.
import gc

gc.disable()

import os  # noqa: E402 (the collector rests from here on)

from django.core.wsgi import get_wsgi_application  # noqa: E402 (likewise)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "deltacrown.settings")

application = get_wsgi_application()
gc.freeze()  # what was imported stays shared with the processes that uWSGI forks
gc.enable()
