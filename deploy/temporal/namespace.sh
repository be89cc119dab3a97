#!/bin/sh
# Creates the namespace with its retention when the server answers. An existing namespace
# keeps its retention, because an operator may have changed it.
set -eu

until temporal operator cluster health >/dev/null 2>&1; do
	echo "waiting for Temporal at $TEMPORAL_ADDRESS"
	sleep 2
done
if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
	echo "namespace $TEMPORAL_NAMESPACE exists already"
else
	temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi
