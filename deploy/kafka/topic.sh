#!/bin/bash
# Creates the topic of the demo. If the topic exists, it stays as it is.
set -euo pipefail

login=/tmp/client.properties
cat >"$login" <<END
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$KAFKA_SASL_USERNAME" password="$KAFKA_SASL_PASSWORD";
END
exec /opt/kafka/bin/kafka-topics.sh --bootstrap-server kafka:9092 --command-config "$login" \
	--create --if-not-exists --topic "$KAFKA_TOPIC" --partitions 6 --replication-factor 1
