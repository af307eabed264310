"""The schema of each back end, as ordered steps that no release may change once it is out."""

from opendify.stores.base import StoreUnavailable


class SchemaTooNew(StoreUnavailable):
    """A later release wrote this store; the message names it, and the backup to go back to."""
