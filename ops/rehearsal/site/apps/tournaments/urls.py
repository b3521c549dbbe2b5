"""The addresses under /api/tournaments/certificates/."""

from django.urls import path

from apps.tournaments import views

urlpatterns = [
    path("", views.issue),
    path("<int:certificate_id>/", views.certificate),
    path("<int:certificate_id>/urls/", views.urls),
    path("verify/<uuid:verification_code>/", views.verify),
]
