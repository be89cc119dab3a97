#!/bin/sh
# Brings Temporal's two databases to the schema of this image. Each step leaves alone
# what is there already, so that every start of the stack may run it.
set -eu

upgrade() {
	database=$1 schema=$2
	temporal-sql-tool --database "$database" create-database
	temporal-sql-tool --database "$database" setup-schema --version 0.0
	temporal-sql-tool --database "$database" update-schema \
		--schema-dir "/etc/temporal/schema/postgresql/v12/$schema/versioned"
}

upgrade temporal temporal
upgrade temporal_visibility visibility
