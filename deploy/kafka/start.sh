#!/bin/bash
# One Kafka node, broker and controller, whose clients log in with SCRAM-SHA-512 as
# they do at Genesys Cloud. Without TLS: nothing leaves the compose network.
set -euo pipefail

properties=/tmp/server.properties
cp /etc/genesys-fanout/server.properties "$properties"
# The broker talks to itself as the same user.
cat >>"$properties" <<END
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$KAFKA_SASL_USERNAME" password="$KAFKA_SASL_PASSWORD";
END

# A fixed cluster id: the volume stays valid when the container is made anew.
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted \
	--cluster-id Z2VuZXN5cy1mYW5vdXQtMQ --config "$properties" \
	--add-scram "SCRAM-SHA-512=[name=$KAFKA_SASL_USERNAME,password=$KAFKA_SASL_PASSWORD]"
exec /opt/kafka/bin/kafka-server-start.sh "$properties"
