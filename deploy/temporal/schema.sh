#!/bin/sh
# Brings Temporal's two databases to the schema of this image. It may run any
# number of times: each start of the stack does.
set -eu

upgrade() {
	database=$1 schema=/etc/temporal/schema/postgresql/v12/$2/versioned
	temporal-sql-tool --database "$database" create-database
	# Version 0.0 says "nothing yet" and would be refused on top of a newer one.
	if ! temporal-sql-tool --database "$database" update-schema --schema-dir "$schema"; then
		temporal-sql-tool --database "$database" setup-schema --version 0.0
		temporal-sql-tool --database "$database" update-schema --schema-dir "$schema"
	fi
}

upgrade temporal temporal
upgrade temporal_visibility visibility
