"""The only SQL. SQLite and PostgreSQL through one set of tables, migrations and tests."""
