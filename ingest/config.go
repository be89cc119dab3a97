package ingest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// The librdkafka settings that this file names more than once.
const (
	statisticsSetting  = "statistics.interval.ms"
	protocolSetting    = "group.protocol"
	offsetResetSetting = "auto.offset.reset"
	oauthMethodSetting = "sasl.oauthbearer.method"
)

// reservedSettings are the prefixes of the librdkafka settings that KAFKA_OPTIONS may not
// contain, each with the reason. auto.commit.enable and metadata.broker.list are
// librdkafka's other names of two of these settings.
var reservedSettings = []struct{ prefix, reason string }{
	{"enable.auto.", "ingest commits offsets by itself"},
	{"auto.commit.enable", "ingest commits offsets by itself"},
	{"enable.partition.eof", "ingest needs it to commit the end of a partition"},
	{offsetResetSetting, "KAFKA_AUTO_OFFSET_RESET decides it"},
	{"group.id", "KAFKA_GROUP_ID decides it"},
	{"bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS decides it"},
	{"metadata.broker.list", "KAFKA_BOOTSTRAP_SERVERS decides it"},
	{"go.", "it changes what the Kafka client returns to ingest"},
}

// CheckExtra returns the first error in extra librdkafka settings, or nil. It connects to
// nothing. The error contains no secret.
func CheckExtra(extra map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		for _, reserved := range reservedSettings {
			if strings.HasPrefix(name, reserved.prefix) {
				return fmt.Errorf("%s may not be set here, because %s", name, reserved.reason)
			}
		}
	}
	if interval, ok := extra[statisticsSetting]; ok {
		// Readiness comes from the statistics and must be correct within 20 s.
		if n, err := strconv.Atoi(interval); err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("%s is %q, but it must be from 1 to 10000, because /readyz depends on it", statisticsSetting, interval)
		}
	}
	// The protocol "consumer" rebalances in another way, for which commits on revocation
	// were not built. librdkafka would reject it too, but its message would blame
	// session.timeout.ms, so reject it here.
	if protocol, ok := extra[protocolSetting]; ok && !strings.EqualFold(strings.TrimSpace(protocol), "classic") {
		return fmt.Errorf("%s is %q, but ingest supports only classic", protocolSetting, protocol)
	}
	connection := Connection{SecurityProtocol: "PLAINTEXT", Extra: extra}
	config := ConsumerConfig("check", connection)
	delete(config, "bootstrap.servers")
	c, err := kafka.NewConsumer(&config)
	if err != nil {
		return connection.RedactError(err)
	}
	return c.Close()
}

// CheckOAuthBearer returns the first setting that OAUTHBEARER needs and extra lacks, or "".
// librdkafka would miss it only when it connects.
func CheckOAuthBearer(extra map[string]string) string {
	if !strings.EqualFold(extra[oauthMethodSetting], "oidc") {
		return oauthMethodSetting + "=oidc"
	}
	const credentials = "sasl.oauthbearer.client.credentials." // the prefix of librdkafka's other names of id and secret
	needed := [][]string{{"sasl.oauthbearer.token.endpoint.url"}}
	if grant := extra["sasl.oauthbearer.grant.type"]; grant == "" || grant == "client_credentials" {
		needed = append(needed,
			[]string{"sasl.oauthbearer.client.id", credentials + "client.id"},
			[]string{"sasl.oauthbearer.client.secret", credentials + "client.secret"})
	}
	for _, names := range needed {
		if !slices.ContainsFunc(names, func(name string) bool { return extra[name] != "" }) {
			return names[0]
		}
	}
	return ""
}

// ConsumerConfig returns librdkafka's settings for a member of the consumer group. They
// include the secrets of the connection.
func ConsumerConfig(group string, c Connection) kafka.ConfigMap {
	m := kafka.ConfigMap{
		"bootstrap.servers": c.BootstrapServers,
		"security.protocol": c.SecurityProtocol,
		"group.id":          group,
		"client.id":         "genesys-fanout",

		"go.logs.channel.enable": true,

		// ingest commits offsets by itself, and librdkafka stores none.
		"enable.auto.commit":       false,
		"enable.auto.offset.store": false,

		// ingest decides by itself where a partition is read from (choosePosition).
		// librdkafka resets a position only if Kafka no longer has it or does not have it
		// yet, and then nothing is lost by reading from the beginning.
		offsetResetSetting: "earliest",
		// librdkafka reports the end of a partition even if it returned no message before
		// it, as behind an aborted transaction.
		"enable.partition.eof": true,

		// A backlog of any size stays in Kafka. At most 4 MiB are prefetched, and 2 MiB of a
		// fetch are in flight per broker. Measured with 100,000 events of 1 KB and 256
		// starts in flight, without the Temporal client: at most 96 MB of memory; 125 MB
		// with twice the limits, 136 MB with four times, each at the same 4,000 events per
		// second.
		"queued.max.messages.kbytes": 4 << 10,
		"fetch.max.bytes":            2 << 20,

		// With these a broker that is cut off without a reset is noticed within the 20 s of
		// /readyz.
		statisticsSetting:          int(statisticsInterval / time.Millisecond),
		"socket.timeout.ms":        10_000,
		"socket.keepalive.enable":  true,
		"reconnect.backoff.max.ms": 5_000,
		// A topic or partition that is created later is found within this time.
		"topic.metadata.refresh.interval.ms": 30_000,

		// The group gives the partitions of a member that was killed to others after this
		// time.
		"session.timeout.ms": 15_000,
	}
	if strings.HasPrefix(c.SecurityProtocol, "SASL_") {
		m["sasl.mechanisms"] = c.SASLMechanism
		if c.SASLMechanism != OAuthBearer {
			m["sasl.username"] = c.SASLUsername
			m["sasl.password"] = c.SASLPassword
		}
	}
	if c.CALocation != "" {
		m["ssl.ca.location"] = c.CALocation
	}
	for name, value := range c.Extra {
		m[name] = value
	}
	return m
}
