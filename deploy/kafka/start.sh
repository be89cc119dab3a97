#!/bin/bash
# Starts one Kafka node that is broker and controller. Its clients log in with
# SCRAM-SHA-512, as they do at Genesys Cloud. It uses no TLS, because the traffic does not
# leave the compose network.
set -euo pipefail

properties=/tmp/server.properties
cp /etc/genesys-fanout/server.properties "$properties"
# The broker connects to itself as the same user.
cat >>"$properties" <<END
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$KAFKA_SASL_USERNAME" password="$KAFKA_SASL_PASSWORD";
END

# The cluster id is fixed, so that the volume remains valid if the container is replaced.
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted \
	--cluster-id Z2VuZXN5cy1mYW5vdXQtMQ --config "$properties" \
	--add-scram "SCRAM-SHA-512=[name=$KAFKA_SASL_USERNAME,password=$KAFKA_SASL_PASSWORD]"
exec /opt/kafka/bin/kafka-server-start.sh "$properties"
