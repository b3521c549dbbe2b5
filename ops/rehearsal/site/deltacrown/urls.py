"""The addresses of the stand-in site."""

from apps.rehearsal import views
from django.urls import include, path

urlpatterns = [
    path("api/tournaments/certificates/", include("apps.tournaments.urls")),
    path("api/sign-in/", views.sign_in),
    path("rehearsal/slow/", views.slow),
    path("healthz", views.healthz),
]
