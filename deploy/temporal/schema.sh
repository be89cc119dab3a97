#!/bin/sh
# Creates Temporal's two databases, or upgrades them, to the schema version of this image.
# A step does nothing if its work is done already, so every start of the stack may run it.
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
