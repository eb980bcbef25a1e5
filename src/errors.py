"""Errors that speak to the user."""


class UserError(Exception):
    """One line for the user: what is wrong, where (file or key), and what to do about it."""
