"""Certificates of tournaments, with every interface of the application that the cutover relies on."""
