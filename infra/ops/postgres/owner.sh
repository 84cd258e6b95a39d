#!/bin/sh
# Run once, when the database server is made: the owner of Fieldlog's database is no superuser.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$OWNER_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
create role fieldlog_owner login createrole password :'password';
create database fieldlog owner fieldlog_owner;
SQL
