"""The migrations, run from nothing, make what `tables` says."""

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from proxy.ledger.migrate import MIGRATIONS, create, upgrade
from proxy.ledger.tables import HEAD, metadata


def test_head_is_the_newest() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrations_and_tables_are_the_same_schema() -> None:
    for make in (upgrade, create):
        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            make(connection)
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert context.get_current_revision() == HEAD
            assert compare_metadata(context, metadata) == []
        engine.dispose()
