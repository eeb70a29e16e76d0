"""Django project in one module: a shop that publishes an order when it is paid."""

import os
from pathlib import Path

import django
from django.conf import settings
from django.contrib.auth import login, logout
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.django import asgi as asgi_with_bridge
from realtime_bridge.integrations.django import publish_on_commit, session_user
from realtime_bridge.integrations.django import wsgi as wsgi_with_bridge
from realtime_bridge.server import Bridge

DATABASE = Path(os.environ["SHOP_DATABASE"])

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a secret of the tests",
)
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402 -- Django has to be set up first

broadcaster = BlockingBroadcaster.from_env()


def enter(request: HttpRequest) -> HttpResponse:
    user, _ = User.objects.get_or_create(username=request.GET["name"])
    login(request, user)
    return HttpResponse(str(user.pk))


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def pay(request: HttpRequest) -> HttpResponse:
    """Publish the payment of an order; the parameter `fails` rolls the transaction back."""
    with transaction.atomic():
        number = int(request.GET["order"])
        publish_on_commit(broadcaster, f"user-{request.user.pk}", "order.paid", {"order": number})
        if "fails" in request.GET:
            return _roll_back()
    return HttpResponse()


def _roll_back() -> HttpResponse:
    transaction.set_rollback(True)
    return HttpResponse(status=402)


urlpatterns = [path("enter", enter), path("leave", leave), path("pay", pay)]

bridge = Bridge.from_env(authenticate=session_user)
asgi_application = asgi_with_bridge(get_asgi_application(), bridge)
wsgi_application = wsgi_with_bridge(get_wsgi_application(), bridge)
